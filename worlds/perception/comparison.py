"""Two domains: is the detector as accurate at equal confidence in one as in the other?

DPO-AF (section 3) shows that a detector's accuracy at equal confidence is "approximately the same"
in photographs and in a simulator, and concludes that what was verified in the simulator carries
over. Here this is a number with a decision. Both domains are binned by confidence with the same
edges; per bin the *gap* is the difference of their accuracies.

- **Bands** hold for all bins of both curves at once. ``exact``: Clopper-Pearson (1934) with
  Bonferroni's correction; it takes detections as independent. ``episodes``: ± c standard errors,
  where standard errors come from resampling whole episodes and c is the quantile of the largest
  standardised deviation over the bins (sup-t; Montiel Olea and Plagborg-Møller 2019).
- **Distances**: the largest and the mean gap (weighted by the pooled detections), and how far the
  distributions of the confidences themselves are apart: total variation over the bins, and
  Wasserstein's distance. A distance of samples is never 0, so beside each stands its *floor*: the
  mean after episodes were exchanged between the domains at random, and the p-value of that
  permutation test of "there is no difference".
- **Equivalence** (two one-sided tests, Schuirmann 1987): "some gap is at least the margin" is
  refuted if in every bin both one-sided tests refute it; that all have to needs no correction
  (intersection-union, Berger 1982). Where a test fails, nothing is shown: the domains may differ
  or the data may be few. A largest gap that is beyond the margin with its whole interval is a
  difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student

from verifier.errors import InputError
from worlds.perception.bins import (
    Binning,
    Counts,
    counts_by_episode,
    edges_of,
    multiplicities,
)
from worlds.perception.detections import Detections, Floats
from worlds.perception.distances import Distance, distances_of

Bands = Literal["exact", "episodes"]
LEAST_PER_BIN = 20
"""Detections that a bin needs in each domain; bins with fewer are joined to a neighbour."""

Decision = Literal["equivalent", "different", "undecided"]


@dataclass(frozen=True)
class Curve:
    """The confidence-accuracy curve of a domain.

    Attributes:
        domain: Its name.
        number: (bins,) detections.
        confidence: (bins,) their mean confidence.
        accuracy: (bins,) share of true ones.
        low: (bins,) lower end of the simultaneous band.
        high: (bins,) upper end.
    """

    domain: str
    number: Floats
    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Comparison:
    """Two domains beside each other.

    Attributes:
        edges: (bins + 1,) of the confidence.
        curves: Of both domains.
        gaps: (bins,) accuracy in the second less that in the first.
        gap_low: (bins,) lower end of the interval that the equivalence test reads.
        gap_high: (bins,) upper end.
        distances: ``max_gap``, ``mean_gap``, ``total_variation``, ``wasserstein``.
        margin: Of the equivalence test.
        level: Error probability of each decision; bands and intervals have 1 - level.
        p_value: Of the equivalence test: largest over bins and sides.
        decision: See the module.
    """

    edges: Floats
    curves: tuple[Curve, Curve]
    gaps: Floats
    gap_low: Floats
    gap_high: Floats
    distances: dict[str, Distance]
    margin: float
    level: float
    p_value: float
    decision: Decision

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = []
        for i in range(len(self.gaps)):
            row: dict[str, Any] = {"low": self.edges[i], "high": self.edges[i + 1]}
            for key, curve in zip("ab", self.curves, strict=True):
                row[key] = {
                    "number": int(curve.number[i]),
                    "confidence": curve.confidence[i],
                    "accuracy": curve.accuracy[i],
                    "band": [curve.low[i], curve.high[i]],
                }
            row["gap"] = {
                "value": self.gaps[i],
                "low": self.gap_low[i],
                "high": self.gap_high[i],
            }
            rows.append(row)
        return {
            "a": self.curves[0].domain,
            "b": self.curves[1].domain,
            "bins": rows,
            "distances": {
                name: d.value.to_json() | {"floor": d.floor, "p_value": d.p_value}
                for name, d in self.distances.items()
            },
            "equivalence": {
                "margin": self.margin,
                "level": self.level,
                "p_value": self.p_value,
                "decision": self.decision,
            },
        }


def compare(
    first: Detections,
    second: Detections,
    margin: float = 0.05,
    bins: int = 10,
    binning: Binning = "mass",
    bands: Bands = "episodes",
    level: float = 0.05,
    replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two domains.

    Args:
        first: Detections of one domain.
        second: Of the other.
        margin: Difference of accuracy that would not matter.
        bins: Of the confidence, before those with few detections are joined.
        binning: Of equal width, or of equal mass among the detections of both.
        bands: How the bands of the curves are made.
        level: Error probability of bands, intervals and tests.
        replicates: Of the bootstrap and of the permutation test.
        seed: Of both.

    Raises:
        InputError: A domain has fewer than two episodes or too few detections; or a margin or
            level that is none.
    """
    if not 0 < margin < 1 or not 0 < level < 0.5:
        raise InputError(
            f"margin {margin:g}, level {level:g}",
            remedy="give a margin between 0 and 1 and a level between 0 and 0.5",
        )
    low = 0.5 if min(first.confidence.min(), second.confidence.min()) >= 0.5 else 0.0
    both = np.concatenate([first.confidence, second.confidence])
    edges = _joined(edges_of(both, bins, binning, low), first, second)
    domains = (first, second)
    counts = tuple(counts_by_episode(d, edges) for d in domains)
    episodes = tuple(len(c.number) for c in counts)
    drawn = tuple(multiplicities(n, replicates, seed + i) for i, n in enumerate(episodes))
    resampled = tuple(c.weighted(m) for c, m in zip(counts, drawn, strict=True))
    whole = tuple(c.total() for c in counts)
    errors = tuple(_standard_errors(w, r) for w, r in zip(whole, resampled, strict=True))
    limits = _limits(whole, resampled, errors, bands, level)
    curves = tuple(
        Curve(d.domain, w.number, w.mean_confidence, w.accuracy, *limit)
        for d, w, limit in zip(domains, whole, limits, strict=True)
    )
    gaps = whole[1].accuracy - whole[0].accuracy
    error = np.sqrt(errors[0] ** 2 + errors[1] ** 2)
    freedom = min(episodes) - 1
    reach = float(student.ppf(1 - level, freedom)) * error
    below = student.sf((margin - gaps) / error, freedom)
    above = student.sf((margin + gaps) / error, freedom)
    p_value = float(np.maximum(below, above).max())
    distances = distances_of(domains, counts, drawn, level, seed)
    decision: Decision = "undecided"
    if p_value <= level:
        decision = "equivalent"
    elif _beyond(gaps, error, margin, level, freedom):
        decision = "different"
    return Comparison(
        edges,
        (curves[0], curves[1]),
        gaps,
        gaps - reach,
        gaps + reach,
        distances,
        margin,
        level,
        p_value,
        decision,
    )


def _joined(edges: Floats, first: Detections, second: Detections) -> Floats:
    """Edges without those next to bins in which a domain has few detections."""
    kept = edges
    while True:
        counts = [np.histogram(d.confidence, kept)[0] for d in (first, second)]
        fewest = np.minimum(*counts)
        if fewest.min() >= LEAST_PER_BIN:
            return kept
        if len(kept) == 2:
            raise InputError(
                f"{len(first)} detections in {first.domain} and {len(second)} in {second.domain}",
                remedy=f"give at least {LEAST_PER_BIN} of each",
            )
        i = int(fewest.argmin())
        sides = [j for j in (i - 1, i + 1) if 0 <= j < len(fewest)]
        other = min(sides, key=lambda j: fewest[j])
        kept = np.delete(kept, max(i, other))


def _standard_errors(whole: Counts, resampled: Counts) -> Floats:
    """(bins,) of the accuracy. Never less than that of independent detections.

    A bin of one kind only shows no spread; there the share of Agresti and Coull (1998) is used.
    """
    if np.ndim(resampled.number) != 2:
        raise ValueError("replicates × bins")
    by_episodes = np.nanstd(resampled.accuracy, axis=0)
    share = (whole.true + 2) / (whole.number + 4)
    return np.maximum(by_episodes, np.sqrt(share * (1 - share) / (whole.number + 4)))


def _limits(
    whole: tuple[Counts, ...],
    resampled: tuple[Counts, ...],
    errors: tuple[Floats, ...],
    bands: Bands,
    level: float,
) -> list[tuple[Floats, Floats]]:
    if bands == "exact":
        each = level / sum(len(w.number) for w in whole)
        return [clopper_pearson(w.true, w.number, each) for w in whole]
    deviations = [
        np.abs(r.accuracy - w.accuracy) / e
        for w, r, e in zip(whole, resampled, errors, strict=True)
    ]
    reach = float(np.nanquantile(np.nanmax(np.hstack(deviations), axis=1), 1 - level))
    return [
        (np.maximum(w.accuracy - reach * e, 0), np.minimum(w.accuracy + reach * e, 1))
        for w, e in zip(whole, errors, strict=True)
    ]


def clopper_pearson(successes: Floats, trials: Floats, level: float) -> tuple[Floats, Floats]:
    """Exact two-sided intervals (Clopper and Pearson 1934)."""
    low = np.where(successes > 0, beta.ppf(level / 2, successes, trials - successes + 1), 0.0)
    high = np.where(
        successes < trials, beta.ppf(1 - level / 2, successes + 1, trials - successes), 1.0
    )
    return low, high


def _beyond(gaps: Floats, error: Floats, margin: float, level: float, freedom: int) -> bool:
    """Whether some gap is beyond the margin, for certain (Bonferroni over bins and sides)."""
    reach = float(student.ppf(1 - level / (2 * len(gaps)), freedom)) * error
    return bool((np.abs(gaps) - reach > margin).any())
