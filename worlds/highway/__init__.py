"""Simulated worlds on top of highway-env, also as gymnasium environments."""
