"""Simulated worlds: the interface of simulators, and controllers driven in them."""
