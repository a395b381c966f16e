"""Binned confidences, and resampling them by episodes.

What is estimated here (calibration errors, accuracy curves, distances) is a function of counts per
bin: how many detections, how many true, the sum of their confidences. Resampling whole episodes
then is a product of matrices: multiplicities (replicates × episodes) with counts (episodes × bins).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from verifier.errors import InputError
from worlds.perception.detections import Detections, Floats, Integers

Binning = Literal["width", "mass"]
"""Bins of equal width, or of (nearly) equal numbers of detections."""


@dataclass(frozen=True)
class Counts:
    """Counts per bin; every array may have leading axes (episodes or replicates).

    Attributes:
        number: (..., bins) detections.
        true: (..., bins) true ones among them.
        confidence: (..., bins) sum of their confidences.
        square: (..., bins) sum of squared differences of confidence and truth.
    """

    number: Floats
    true: Floats
    confidence: Floats
    square: Floats

    def total(self) -> Counts:
        """Summed over the leading axis."""
        return Counts(*(values.sum(axis=0) for values in vars(self).values()))

    def weighted(self, multiplicity: Floats) -> Counts:
        """Summed with multiplicities (replicates × leading axis)."""
        return Counts(*(multiplicity @ values for values in vars(self).values()))

    @property
    def accuracy(self) -> Floats:
        """Share of true ones per bin; NaN where a bin is empty."""
        return _divide(self.true, self.number)

    @property
    def mean_confidence(self) -> Floats:
        """Mean confidence per bin; NaN where a bin is empty."""
        return _divide(self.confidence, self.number)


def _divide(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def edges_of(confidence: Floats, bins: int, binning: Binning, low: float = 0.0) -> Floats:
    """Edges of bins that cover [low, 1]; with equal mass there are fewer where values repeat.

    Raises:
        InputError: Not at least one bin.
    """
    if bins < 1:
        raise InputError(f"{bins} bins", remedy="give at least one")
    if binning == "width":
        return np.linspace(low, 1.0, bins + 1)
    inner = np.quantile(confidence, np.arange(1, bins) / bins)
    inside = np.unique(inner[(inner > low) & (inner < 1)])
    return np.concatenate([[low], inside, [1.0]])


def bin_numbers(confidence: Floats, edges: Floats) -> Integers:
    """The bin of each confidence: [a, b), the last one closed."""
    found = np.searchsorted(edges, confidence, side="right") - 1
    return np.clip(found, 0, len(edges) - 2)


def counts_by_episode(detections: Detections, edges: Floats) -> Counts:
    """Counts (episodes × bins)."""
    _, episode = np.unique(detections.episode, return_inverse=True)
    width, height = len(edges) - 1, int(episode.max()) + 1
    cell = episode * width + bin_numbers(detections.confidence, edges)
    truth = detections.truth.astype(np.float64)
    square = (detections.confidence - truth) ** 2

    def add(weights: Floats | None) -> Floats:
        flat = np.bincount(cell, weights, minlength=width * height)
        return flat.astype(np.float64).reshape(height, width)

    return Counts(add(None), add(truth), add(detections.confidence), add(square))


def multiplicities(episodes: int, replicates: int, seed: int) -> Floats:
    """How often each episode is drawn in each replicate of a bootstrap: (replicates, episodes)."""
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(episodes, np.full(episodes, 1 / episodes), size=replicates)
    return drawn.astype(np.float64)
