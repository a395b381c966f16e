"""Rates with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache


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


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """The exact interval of Clopper and Pearson (1934) for ``successes`` of ``trials``.

    Never too narrow: it holds the true probability with at least this confidence.

    Raises:
        ValueError: Not 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials}")
    if not trials:
        return Rate(None, 0.0, 1.0)
    tail = (1 - confidence) / 2
    failures = trials - successes
    low = beta_quantile(tail, successes, failures + 1) if successes else 0.0
    high = beta_quantile(1 - tail, successes + 1, failures) if failures else 1.0
    return Rate(successes / trials, low, high)


def at_most(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Upper bound on a probability of which ``successes`` of ``trials`` were seen.

    Of nothing seen it is 1 - (1 - confidence)^(1/trials), about 3 / trials (the rule of three,
    Hanley and Lippman-Hand 1983). 1 without trials.
    """
    if successes >= trials:
        return 1.0
    return beta_quantile(confidence, successes + 1, trials - successes)


@lru_cache(maxsize=65536)
def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with `beta_cdf` (x, a, b) = probability, by bisection to the last bit."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return high


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0.

    By its continued fraction (DLMF 8.17.22), evaluated after Lentz; it converges quickly where x
    is below the mean, and I_x(a, b) = 1 - I_{1-x}(b, a) serves the rest.
    """
    return math.exp(log_beta_cdf(x, a, b))


def log_beta_cdf(x: float, a: float, b: float) -> float:
    """Logarithm of `beta_cdf`, also where that is too small for a float; -inf at x = 0."""
    if x <= 0:
        return -math.inf
    if x >= 1:
        return 0.0
    if x <= (a + 1) / (a + b + 2):
        return _log_front(x, a, b) - math.log(a) + math.log(_fraction(x, a, b))
    rest = math.exp(_log_front(1 - x, b, a)) / b * _fraction(1 - x, b, a)
    return math.log1p(-min(rest, 1.0)) if rest < 1 else -math.inf


def _log_front(x: float, a: float, b: float) -> float:
    """Logarithm of x^a (1-x)^b / B(a, b)."""
    norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return norm + a * math.log(x) + b * math.log1p(-x)


def _fraction(x: float, a: float, b: float) -> float:
    """1/(1+ d1/(1+ d2/(1+ ...))) with the coefficients of DLMF 8.17.22."""
    tiny, close = 1e-300, 1e-15
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < close:
            return value
    raise ArithmeticError(f"no convergence for x={x}, a={a}, b={b}")
