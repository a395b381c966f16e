"""Worlds learned from simulators: what was recorded, as a world, and how much of it was missed."""
