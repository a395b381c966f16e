"""A crossing guard: somebody who holds up a stop sign again and again, where no cars cross."""

from __future__ import annotations

from typing import Protocol

RAISED = (6.0, 12.0)
"""Seconds for which the sign is up, or down."""


class Uniform(Protocol):
    """A source of randomness: ``random.Random`` or a generator of NumPy."""

    def uniform(self, low: float, high: float, /) -> float:
        """A number between the two."""
        ...


class Guard:
    """Raises and lowers the sign as time passes.

    Args:
        source: Of all randomness.
    """

    def __init__(self, source: Uniform) -> None:
        self._source = source
        self.raised = bool(source.uniform(0.0, 1.0) < 0.5)
        self._left = float(source.uniform(*RAISED))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._left -= seconds
        while self._left <= 0:
            self.raised = not self.raised
            self._left += float(self._source.uniform(*RAISED))
