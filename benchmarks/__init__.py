"""Benchmarks anyone can run: ``make bench NAME=verification``."""
