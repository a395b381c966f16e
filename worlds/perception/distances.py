"""Distances of two domains, each with an interval, a floor and a permutation test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from worlds.perception.bins import Counts
from worlds.perception.detections import Detections, Floats
from worlds.statistics import Rate

MOST_WASSERSTEIN = 200
"""Replicates for Wasserstein's distance, which sorts every confidence anew in each."""


@dataclass(frozen=True)
class Distance:
    """A distance of the domains.

    Attributes:
        value: With its interval.
        floor: What it is on average between random halves of all episodes.
        p_value: Of the permutation test of no difference.
    """

    value: Rate
    floor: float
    p_value: float


def distances_of(
    domains: tuple[Detections, Detections],
    counts: tuple[Counts, ...],
    resampled: tuple[Counts, ...],
    level: float,
    replicates: int,
    seed: int,
) -> dict[str, Distance]:
    """``max_gap``, ``mean_gap``, ``total_variation`` and ``wasserstein`` of two domains.

    Args:
        domains: The detections.
        counts: Of both, (episodes × bins).
        resampled: Of both, (replicates × bins).
        level: Intervals have 1 - level.
        replicates: Of the permutation test.
        seed: Of the permutations.
    """
    sizes = tuple(len(c.number) for c in counts)
    # Exchange episodes: the multiplicity of an episode in the first domain is 1 or 0.
    pooled = Counts(*(np.vstack([getattr(c, name) for c in counts]) for name in vars(counts[0])))
    chance = np.random.default_rng([seed, 1])
    taken = np.zeros((replicates, sum(sizes)))
    for row in taken:
        row[chance.permutation(sum(sizes))[: sizes[0]]] = 1
    exchanged = pooled.weighted(taken), pooled.weighted(1 - taken)
    whole = counts[0].total(), counts[1].total()
    measures: dict[str, Callable[[Counts, Counts], Floats]] = {
        "max_gap": _max_gap,
        "mean_gap": _mean_gap,
        "total_variation": _total_variation,
    }
    found = {
        name: _distance(float(measure(*whole)), measure(*resampled), measure(*exchanged), level)
        for name, measure in measures.items()
    }
    found["wasserstein"] = _wasserstein(domains, level, min(replicates, MOST_WASSERSTEIN), chance)
    return found


def _max_gap(a: Counts, b: Counts) -> Floats:
    gaps = np.abs(a.accuracy - b.accuracy)
    return np.where(np.isnan(gaps), 0, gaps).max(axis=-1)


def _mean_gap(a: Counts, b: Counts) -> Floats:
    gaps = np.abs(a.accuracy - b.accuracy)
    shares = a.number / a.number.sum(axis=-1, keepdims=True)
    shares = shares + b.number / b.number.sum(axis=-1, keepdims=True)
    return (np.where(np.isnan(gaps), 0, gaps) * shares / 2).sum(axis=-1)


def _total_variation(a: Counts, b: Counts) -> Floats:
    shares = [c.number / c.number.sum(axis=-1, keepdims=True) for c in (a, b)]
    return np.abs(shares[0] - shares[1]).sum(axis=-1) / 2


def _distance(value: float, resampled: Floats, exchanged: Floats, level: float) -> Distance:
    # Basic bootstrap: distances of resamples are too large by about what the value is.
    low, high = 2 * value - np.quantile(resampled, [1 - level / 2, level / 2])
    rate = Rate(value, min(value, max(0.0, float(low))), max(value, float(high)))
    beyond = int((exchanged >= value - 1e-12).sum())
    return Distance(rate, float(exchanged.mean()), (beyond + 1) / (len(exchanged) + 1))


def _wasserstein(
    domains: tuple[Detections, Detections],
    level: float,
    replicates: int,
    chance: np.random.Generator,
) -> Distance:
    parts = [_by_episode(d) for d in domains]

    def distance(a: list[Floats], b: list[Floats]) -> float:
        return float(wasserstein_distance(np.concatenate(a), np.concatenate(b)))

    def drawn(part: list[Floats]) -> list[Floats]:
        return [part[i] for i in chance.integers(len(part), size=len(part))]

    everything = [*parts[0], *parts[1]]
    resampled, exchanged = np.empty(replicates), np.empty(replicates)
    for k in range(replicates):
        resampled[k] = distance(drawn(parts[0]), drawn(parts[1]))
        order = chance.permutation(len(everything))
        mixed = [everything[i] for i in order]
        exchanged[k] = distance(mixed[: len(parts[0])], mixed[len(parts[0]) :])
    return _distance(distance(*parts), resampled, exchanged, level)


def _by_episode(detections: Detections) -> list[Floats]:
    order = np.argsort(detections.episode, kind="stable")
    cuts = np.flatnonzero(np.diff(detections.episode[order])) + 1
    return np.split(detections.confidence[order], cuts)
