"""Calibration: does a confidence of 0.8 mean that 80 % are true?

- **Brier score**: mean squared difference of confidence and truth (Brier 1950).
- **Expected calibration error (ECE)**: mean over bins of |share of true ones - mean confidence|,
  weighted by their numbers (Naeini, Cooper and Hauskrecht 2015), in bins of equal width and of
  equal mass.
- The plain ECE is too large: even a calibrated detector's bins miss the diagonal by chance. The
  **debiased** one takes off what redrawing adds, as Kumar, Liang and Ma (Verified Uncertainty
  Calibration, NeurIPS 2019, section 5) do; of a calibrated detector's plain error that is about
  two fifths, since what is redrawn is off by chance already. Here whole episodes are redrawn: the
  detections of one episode depend on each other.
- The **interval** is the plain ECE ± the quantile of the redrawn deviations, summed over the bins
  in absolute value. By the triangle inequality no error of the estimate is larger, so it is
  conservative, and exact for a calibrated detector: it then reaches down to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from worlds.perception.bins import (
    Binning,
    Counts,
    counts_by_episode,
    edges_of,
    multiplicities,
)
from worlds.perception.detections import Detections, Floats
from worlds.statistics import Rate, wilson

REPLICATES = 2000
"""Of the bootstrap, unless another number is asked for."""


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram.

    Attributes:
        low: Its lower edge.
        high: Its upper edge.
        number: Detections in it.
        confidence: Their mean confidence.
        accuracy: Share of true ones, with a 95 % interval by episodes.
    """

    low: float
    high: float
    number: int
    confidence: float
    accuracy: Rate


@dataclass(frozen=True)
class Calibration:
    """How far confidences can be trusted.

    Attributes:
        domain: Where the detections come from.
        detections: Their number.
        episodes: Number of their episodes.
        base_rate: Share of true ones.
        brier: Brier score with its interval.
        ece: By binning ("width", "mass"): plain expected calibration error.
        debiased: The same without what chance adds, with its interval.
        bins: Of the reliability diagram; without empty ones.
    """

    domain: str
    detections: int
    episodes: int
    base_rate: float
    brier: Rate
    ece: dict[str, float]
    debiased: dict[str, Rate]
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "domain": self.domain,
            "detections": self.detections,
            "episodes": self.episodes,
            "base_rate": self.base_rate,
            "brier": self.brier.to_json(),
            "ece": self.ece,
            "ece_debiased": {k: v.to_json() for k, v in self.debiased.items()},
            "bins": [vars(b) | {"accuracy": b.accuracy.to_json()} for b in self.bins],
        }


def calibration_of(
    detections: Detections,
    bins: int = 15,
    binning: Binning = "mass",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Calibration:
    """Measure calibration.

    Args:
        detections: At least one.
        bins: Of both errors and of the diagram.
        binning: Of the diagram.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        InputError: Not at least one bin.
    """
    episodes = len(np.unique(detections.episode))
    multiplicity = multiplicities(episodes, replicates, seed)
    ece: dict[str, float] = {}
    debiased: dict[str, Rate] = {}
    kinds: tuple[Binning, ...] = ("width", "mass")
    for kind in kinds:
        counts = counts_by_episode(detections, edges_of(detections.confidence, bins, kind))
        whole, resampled = counts.total(), counts.weighted(multiplicity)
        ece[kind] = float(expected_error(whole))
        debiased[kind] = _debiased(whole, resampled)
    edges = edges_of(detections.confidence, bins, binning)
    counts = counts_by_episode(detections, edges)
    whole, resampled = counts.total(), counts.weighted(multiplicity)
    numbers = resampled.number.sum(axis=1)
    scores = resampled.square.sum(axis=1) / numbers
    low, high = np.quantile(scores, [0.025, 0.975])
    brier = Rate(float(whole.square.sum() / whole.number.sum()), float(low), float(high))
    return Calibration(
        detections.domain,
        len(detections),
        episodes,
        float(detections.truth.mean()),
        brier,
        ece,
        debiased,
        _bins(edges, whole, resampled),
    )


def expected_error(counts: Counts) -> Floats:
    """The expected calibration error of counts (..., bins): (...)."""
    return np.abs(_misses(counts)).sum(axis=-1)


def _misses(counts: Counts) -> Floats:
    """By how much each bin misses the diagonal, weighted by its share: (..., bins)."""
    return (counts.true - counts.confidence) / counts.number.sum(axis=-1, keepdims=True)


def _debiased(whole: Counts, resampled: Counts) -> Rate:
    plain = float(expected_error(whole))
    value = max(0.0, 2 * plain - float(expected_error(resampled).mean()))
    deviation = np.abs(_misses(resampled) - _misses(whole)).sum(axis=-1)
    reach = float(np.quantile(deviation, 0.95))
    return Rate(value, min(value, max(0.0, plain - reach)), max(value, plain + reach))


def _bins(edges: Floats, whole: Counts, resampled: Counts) -> tuple[Bin, ...]:
    found = []
    for i in np.flatnonzero(whole.number):
        shares = resampled.accuracy[:, i]
        low, high = np.nanquantile(shares, [0.025, 0.975])
        value = float(whole.accuracy[i])
        # A bin of one kind only has no spread in any replicate: Wilson says what it leaves open.
        rate = Rate(value, min(value, float(low)), max(value, float(high)))
        if low == high:
            rate = _wilson(whole, int(i))
        mean = float(whole.mean_confidence[i])
        found.append(Bin(float(edges[i]), float(edges[i + 1]), int(whole.number[i]), mean, rate))
    return tuple(found)


def _wilson(whole: Counts, i: int) -> Rate:
    return wilson(float(whole.true[i]), int(whole.number[i]))
