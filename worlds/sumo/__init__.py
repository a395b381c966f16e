"""SUMO worlds: places simulated by an independent microscopic traffic simulator."""
