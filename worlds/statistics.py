"""Rates with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A proportion with the bounds of its 95 % interval; ``value`` is None without trials."""

    value: float | None
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """``{"value", "low", "high"}``."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def percent(self) -> str:
        """'12.5 % [8.1, 18.9]'."""
        if self.value is None:
            return "–"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def wilson(successes: float, trials: int, z: float = 1.959964) -> Rate:
    """Wilson's score interval (Wilson 1927) for ``successes`` of ``trials``.

    ``successes`` may be fractional: for a mean of values in [0, 1] the interval is conservative,
    since no such variable varies more than a Bernoulli variable of the same mean.
    """
    if trials == 0:
        return Rate(None, 0.0, 1.0)
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    margin = spread / (1 + z * z / trials)
    return Rate(p, max(0.0, min(p, centre - margin)), min(1.0, max(p, centre + margin)))
