"""Bounds on the probability of what has not been seen."""

from __future__ import annotations

import math

CONFIDENCE = 0.95
"""Of every bound, unless another one is asked for."""


def good_turing(seen_once: int, draws: int) -> float | None:
    """Estimated probability that the next draw is something unseen (Good 1953).

    The share of draws whose value occurred only once; None without draws.
    """
    return seen_once / draws if draws else None


def missing_mass_bound(seen_once: int, draws: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound on the probability that the next of independent draws is something unseen.

    McAllester and Schapire (On the Convergence Rate of Good-Turing Estimators, COLT 2000): with
    probability at least 1 - d the missing mass is at most
    N1/n + (2 sqrt 2 + sqrt 3) sqrt(ln(3/d) / n). 1 without draws: nothing is known.
    """
    if not draws:
        return 1.0
    deviation = math.sqrt(math.log(3 / (1 - confidence)) / draws)
    return min(1.0, seen_once / draws + (2 * math.sqrt(2) + math.sqrt(3)) * deviation)


def hoeffding_upper(mean: float, trials: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound on the mean of independent values in [0, 1] (Hoeffding 1963)."""
    if not trials:
        return 1.0
    return min(1.0, mean + math.sqrt(math.log(1 / (1 - confidence)) / (2 * trials)))
