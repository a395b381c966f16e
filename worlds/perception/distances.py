"""Distances of two domains, each with an interval, a floor and a permutation test.

Every distance is a norm of a difference (of accuracies, of shares, of cumulative shares). By the
triangle inequality it is off by at most the norm of what the difference is off by, whose quantile
comes from resampling whole episodes: conservative, and exact where there is no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worlds.perception.bins import Counts
from worlds.perception.detections import Detections, Floats
from worlds.statistics import Rate

GRID = 1000
"""Confidences are rounded to a thousandth for Wasserstein's distance."""


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
    multiplicity: tuple[Floats, ...],
    level: float,
    seed: int,
) -> dict[str, Distance]:
    """``max_gap``, ``mean_gap``, ``total_variation`` and ``wasserstein`` of two domains.

    Args:
        domains: The detections.
        counts: Of both, (episodes × bins).
        multiplicity: Of the episodes of both in the bootstrap, (replicates × episodes).
        level: Intervals have 1 - level.
        seed: Of the permutations.
    """
    sizes = tuple(len(c.number) for c in counts)
    resampled = tuple(c.weighted(m) for c, m in zip(counts, multiplicity, strict=True))
    replicates = len(multiplicity[0])
    # Exchange episodes: the multiplicity of an episode in the first domain is 1 or 0.
    pooled = Counts(*(np.vstack([getattr(c, name) for c in counts]) for name in vars(counts[0])))
    chance = np.random.default_rng([seed, 1])
    taken = np.zeros((replicates, sum(sizes)))
    for row in taken:
        row[chance.permutation(sum(sizes))[: sizes[0]]] = 1
    exchanged = pooled.weighted(taken), pooled.weighted(1 - taken)
    whole = counts[0].total(), counts[1].total()
    grids = [_on_grid(d) for d in domains]
    both = np.vstack(grids)
    pairs = (whole, (resampled[0], resampled[1]), exchanged)
    gaps = [_gaps(a, b) for a, b in pairs]
    shares = [_share_gaps(a.number, b.number) for a, b in pairs]
    cumulative = [
        np.cumsum(_share_gaps(a, b), axis=-1)
        for a, b in (
            (grids[0].sum(axis=0), grids[1].sum(axis=0)),
            (multiplicity[0] @ grids[0], multiplicity[1] @ grids[1]),
            (taken @ both, (1 - taken) @ both),
        )
    ]
    weight = (_share(whole[0]) + _share(whole[1])) / 2
    return {
        "max_gap": _distance(gaps, lambda g: np.abs(g).max(axis=-1), level),
        "mean_gap": _distance(gaps, lambda g: (np.abs(g) * weight).sum(axis=-1), level),
        "total_variation": _distance(shares, lambda s: np.abs(s).sum(axis=-1) / 2, level),
        "wasserstein": _distance(cumulative, lambda c: np.abs(c).sum(axis=-1) / GRID, level),
    }


def _gaps(a: Counts, b: Counts) -> Floats:
    gaps = b.accuracy - a.accuracy
    return np.where(np.isnan(gaps), 0, gaps)


def _share(counts: Counts) -> Floats:
    return counts.number / counts.number.sum()


def _share_gaps(a: Floats, b: Floats) -> Floats:
    return b / b.sum(axis=-1, keepdims=True) - a / a.sum(axis=-1, keepdims=True)


def _distance(
    differences: list[Floats], norm: Callable[[Floats], Floats], level: float
) -> Distance:
    """A norm of a difference: of the samples, of their resamples, and of random halves."""
    whole, resampled, exchanged = differences
    value, mixed = float(norm(whole)), norm(exchanged)
    reach = float(np.quantile(norm(resampled - whole), 1 - level))
    beyond = int((mixed >= value - 1e-12).sum())
    return Distance(
        Rate(value, max(0.0, value - reach), value + reach),
        float(mixed.mean()),
        (beyond + 1) / (len(mixed) + 1),
    )


def _on_grid(detections: Detections) -> Floats:
    """Number of each confidence, rounded to the grid: (episodes, GRID + 1)."""
    _, episode = np.unique(detections.episode, return_inverse=True)
    height, width = int(episode.max()) + 1, GRID + 1
    cell = episode * width + np.rint(detections.confidence * GRID).astype(np.int64)
    return np.bincount(cell, minlength=height * width).astype(np.float64).reshape(height, width)
