"""The difference of two success rates on the same questions, with an interval."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worlds.statistics import wilson

_RESAMPLES = 4000


@dataclass(frozen=True)
class Paired:
    """Outcomes of two models on the same prompts and random numbers.

    Attributes:
        both: Pairs in which both succeed.
        lost: Only the first does.
        gained: Only the second does.
        neither: None does.
    """

    both: int
    lost: int
    gained: int
    neither: int

    @property
    def count(self) -> int:
        """Number of pairs."""
        return self.both + self.lost + self.gained + self.neither

    @property
    def difference(self) -> float | None:
        """Success rate of the second less that of the first; None without pairs."""
        return (self.gained - self.lost) / self.count if self.count else None

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference for independent pairs.

        Newcombe's square-and-add interval for paired proportions, from the two Wilson intervals
        and the correlation of the outcomes with a continuity correction (Newcombe 1998, Statistics
        in Medicine 17, 2635-2650, method 10).
        """
        n = self.count
        if not n:
            return -1.0, 1.0
        first, second = wilson(self.both + self.lost, n), wilson(self.both + self.gained, n)
        p, q = (self.both + self.lost) / n, (self.both + self.gained) / n
        correlation = self._correlation()
        down = _hypotenuse(q - second.low, first.high - p, correlation)
        up = _hypotenuse(second.high - q, p - first.low, correlation)
        return max(-1.0, q - p - down), min(1.0, q - p + up)

    def mcnemar(self) -> float:
        """Two-sided p-value of McNemar's exact test: lost and gained pairs are equally likely."""
        n, least = self.lost + self.gained, min(self.lost, self.gained)
        tail = sum(math.comb(n, k) for k in range(least + 1))
        return min(1.0, 2 * tail / 2**n)

    def to_json(self) -> dict[str, Any]:
        """Difference, interval, counts and p-value."""
        low, high = self.interval()
        return {
            "value": self.difference,
            "low": low,
            "high": high,
            "both": self.both,
            "lost": self.lost,
            "gained": self.gained,
            "neither": self.neither,
            "mcnemar": self.mcnemar(),
        }

    def _correlation(self) -> float:
        """Newcombe's estimate of the correlation of the outcomes."""
        a, b, c, d = self.both, self.lost, self.gained, self.neither
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        if not margins:
            return 0.0
        excess = a * d - b * c
        if excess > 0:
            excess = max(0.0, excess - self.count / 2)
        return excess / math.sqrt(margins)


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Count the outcomes of two models, in the same order."""
    pairs = list(zip(first, second, strict=True))
    return Paired(
        both=sum(a and b for a, b in pairs),
        lost=sum(a and not b for a, b in pairs),
        gained=sum(b and not a for a, b in pairs),
        neither=sum(not a and not b for a, b in pairs),
    )


def clustered_interval(
    differences: Mapping[str, Sequence[float]], seed: int = 0
) -> tuple[float, float]:
    """A 95 % interval of the mean difference where answers to one task are alike.

    The percentile bootstrap over tasks, each with all its answers (Davison and Hinkley 1997,
    Bootstrap Methods and their Application, section 3.8): several answers to a task count as
    little more than one if they agree.

    Args:
        differences: Task -> of each answer how much the second model is better, from -1 to 1.
        seed: Of the resampling.
    """
    sums = [(sum(values), len(values)) for values in differences.values() if values]
    if not sums:
        return -1.0, 1.0
    chance = random.Random(seed)
    means: list[float] = []
    for _ in range(_RESAMPLES):
        drawn = chance.choices(sums, k=len(sums))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    tail = round(0.025 * _RESAMPLES)
    return means[tail], means[-1 - tail]


def _hypotenuse(a: float, b: float, correlation: float) -> float:
    """sqrt(a² - 2 r a b + b²), for an r between -1 and 1."""
    return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))
