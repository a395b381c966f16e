"""How well confidences separate true from false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from worlds.perception.detections import Booleans, Detections, Floats
from worlds.statistics import Rate

_NOTHING = Rate(None, 0.0, 1.0)


@dataclass(frozen=True)
class Quality:
    """Of one proposition.

    Attributes:
        proposition: Its name.
        scenes: Number of scenes.
        base_rate: Share in which it holds.
        auc: Area under the ROC curve, with a 95 % interval by episodes; no value where the
            proposition always or never holds.
        average_precision: Mean precision over the true ones in order of confidence, likewise.
        misses: Share of the true ones that stay below the threshold; None without any.
        false_alarms: Share of the false ones that reach it; None without any.
    """

    proposition: str
    scenes: int
    base_rate: float
    auc: Rate
    average_precision: Rate
    misses: float | None
    false_alarms: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rates = {"auc": self.auc, "average_precision": self.average_precision}
        return vars(self) | {name: rate.to_json() for name, rate in rates.items()}


def quality_of(
    detections: Detections, threshold: float = 0.5, replicates: int = 500, seed: int = 0
) -> list[Quality]:
    """The quality of every proposition, in order.

    Args:
        detections: At least one of each proposition.
        threshold: Where confidences are read.
        replicates: Of the bootstrap over episodes.
        seed: Of the bootstrap.
    """
    found = []
    for name in detections.propositions:
        own = detections.of(name)
        seen = own.confidence >= threshold
        true, false = int(own.truth.sum()), int((~own.truth).sum())
        found.append(
            Quality(
                name,
                len(own),
                true / max(len(own), 1),
                _with_interval(area_under_curve, own, replicates, seed),
                _with_interval(average_precision, own, replicates, seed),
                int((~seen & own.truth).sum()) / true if true else None,
                int((seen & ~own.truth).sum()) / false if false else None,
            )
        )
    return found


def area_under_curve(confidence: Floats, truth: Booleans) -> float:
    """Probability that a true one has more confidence than a false one; ties count half.

    NaN if there is only one kind.
    """
    true = float(truth.sum())
    false = len(truth) - true
    if true == 0 or false == 0:
        return float("nan")
    ranks = float(rankdata(confidence)[truth].sum())
    return (ranks - true * (true + 1) / 2) / (true * false)


def average_precision(confidence: Floats, truth: Booleans) -> float:
    """Sum over distinct confidences, falling, of precision × gain in recall; NaN without true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(truth[order])[last]
    gains = np.diff(hits, prepend=0) / truth.sum()
    return min(float((hits / (last + 1) * gains).sum()), 1.0)  # sums of shares round up


def _with_interval(
    measure: Callable[[Floats, Booleans], float], own: Detections, replicates: int, seed: int
) -> Rate:
    value = measure(own.confidence, own.truth)
    if np.isnan(value):
        return _NOTHING
    numbers, index = np.unique(own.episode, return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(len(numbers))]
    chance = np.random.default_rng(seed)
    drawn = []
    for _ in range(replicates):
        rows = np.concatenate(
            [members[i] for i in chance.integers(len(members), size=len(members))]
        )
        drawn.append(measure(own.confidence[rows], own.truth[rows]))
    if np.isnan(drawn).all():
        return Rate(value, 0.0, 1.0)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Rate(value, min(value, float(low)), max(value, float(high)))
