"""Perception: what a detector makes of a scene, how far to trust it, and what its errors cost."""
