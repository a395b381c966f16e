"""The toy junction with cars that appear on green, for the registry of simulators."""

from toy_junction import make_late as make

__all__ = ["make"]
