"""Channels: how confident a detector is, given the truth about one proposition.

A channel maps a standard normal number to a confidence, for each truth value. So noise that is
correlated in time needs nothing of its own: the normal numbers are correlated (a Gaussian copula).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, ndtri

from verifier.errors import InputError
from worlds.perception.detections import Booleans, Detections, Floats

MOST_QUANTILES = 1001
"""Confidences kept per truth value of an empirical channel: every tenth of a percent."""


class Channel(Protocol):
    """The distribution of the confidence that a proposition holds, given whether it does."""

    def confidence(self, truth: bool, z: float) -> float:
        """The confidence at a standard normal number; does not fall as ``z`` grows."""
        ...

    def chance(self, truth: bool, threshold: float) -> float:
        """Probability that the confidence reaches the threshold."""
        ...

    def to_json(self) -> dict[str, Any]:
        """As it stands in a noise model's file."""
        ...


@dataclass(frozen=True)
class Binormal:
    """The log odds of the confidence are normal, given the truth.

    Attributes:
        mean_true: Mean of the log odds where the proposition holds.
        sd_true: Their standard deviation, > 0.
        mean_false: Mean where it does not hold.
        sd_false: Standard deviation there, > 0.
    """

    mean_true: float
    sd_true: float
    mean_false: float
    sd_false: float

    def __post_init__(self) -> None:
        if not (self.sd_true > 0 and self.sd_false > 0):
            raise InputError(
                f"standard deviations {self.sd_true:g} and {self.sd_false:g} of a channel",
                remedy="give positive ones",
            )

    def confidence(self, truth: bool, z: float) -> float:
        """See `Channel`."""
        mean, sd = self._normal(truth)
        return float(expit(mean + sd * z))

    def chance(self, truth: bool, threshold: float) -> float:
        """See `Channel`."""
        mean, sd = self._normal(truth)
        return float(ndtr((mean - logit(threshold)) / sd))

    def curve(self, confidence: ArrayLike, base_rate: float) -> Floats:
        """Share of true ones among detections of a confidence: the confidence-accuracy curve.

        Args:
            confidence: In (0, 1).
            base_rate: How often the proposition holds, in (0, 1).
        """
        x = logit(np.asarray(confidence, dtype=np.float64))
        ratio = _log_normal(x, self.mean_true, self.sd_true)
        ratio -= _log_normal(x, self.mean_false, self.sd_false)
        return expit(ratio + logit(base_rate))

    def to_json(self) -> dict[str, Any]:
        """See `Channel`."""
        return {"kind": "binormal", **{k: round(float(v), 6) for k, v in vars(self).items()}}

    def _normal(self, truth: bool) -> tuple[float, float]:
        return (self.mean_true, self.sd_true) if truth else (self.mean_false, self.sd_false)


def _log_normal(x: Floats, mean: float, sd: float) -> Floats:
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd)


def binormal_of_accuracy(
    accuracy: float, base_rate: float = 0.5, sharpness: float = 1.0
) -> Binormal:
    """The calibrated channel that separates true from false so well.

    With log odds logit(base_rate) ± s²/2 and standard deviation s, the likelihood ratio of a
    confidence gives back that very confidence: the detector is calibrated at the base rate. s is
    chosen so that both kinds of error are equally likely, ``1 - accuracy``, at the threshold
    ``base_rate`` (1/2 by default).

    Args:
        accuracy: Share of right answers at that threshold, in (1/2, 1).
        base_rate: How often the proposition holds, in (0, 1).
        sharpness: Factor on the log odds around the base rate: above 1 the detector is
            overconfident, below 1 it is timid; its errors at the threshold stay the same.

    Raises:
        InputError: A number out of its range.
    """
    if not 0.5 < accuracy < 1 or not 0 < base_rate < 1 or not sharpness > 0:
        raise InputError(
            f"accuracy {accuracy:g}, base rate {base_rate:g}, sharpness {sharpness:g}",
            remedy="give an accuracy between 0.5 and 1, a base rate between 0 and 1, "
            "a positive sharpness",
        )
    s = float(2 * ndtri(accuracy))
    centre, half = float(logit(base_rate)), sharpness * s * s / 2
    return Binormal(centre + half, sharpness * s, centre - half, sharpness * s)


@dataclass(frozen=True)
class Empirical:
    """The confidences that were recorded.

    Attributes:
        when_true: Confidences where the proposition held, rising.
        when_false: Confidences where it did not, rising.
    """

    when_true: tuple[float, ...]
    when_false: tuple[float, ...]

    def __post_init__(self) -> None:
        for values in (self.when_true, self.when_false):
            if not values or list(values) != sorted(values):
                raise InputError(
                    "confidences of a channel that do not rise, or none", remedy="sort them"
                )

    def confidence(self, truth: bool, z: float) -> float:
        """See `Channel`."""
        values = self.when_true if truth else self.when_false
        return values[min(int(ndtr(z) * len(values)), len(values) - 1)]

    def chance(self, truth: bool, threshold: float) -> float:
        """See `Channel`."""
        values = self.when_true if truth else self.when_false
        return 1 - float(np.searchsorted(values, threshold, side="left")) / len(values)

    def to_json(self) -> dict[str, Any]:
        """See `Channel`."""
        return {
            "kind": "empirical",
            "when_true": [round(c, 6) for c in self.when_true],
            "when_false": [round(c, 6) for c in self.when_false],
        }


def fit_binormal(confidence: Floats, truth: Booleans, name: str) -> Binormal:
    """The binormal channel with the moments of recorded log odds.

    Confidences of 0 and 1 are taken as half a count short of certain, for n of them 1/(2n).

    Raises:
        InputError: The proposition never or always held.
    """
    true, false = _by_truth(confidence, truth, name)
    least = 0.5 / len(confidence)
    logs = [logit(np.clip(values, least, 1 - least)) for values in (true, false)]
    means, sds = [float(x.mean()) for x in logs], [max(float(x.std()), 1e-3) for x in logs]
    return Binormal(means[0], sds[0], means[1], sds[1])


def fit_empirical(confidence: Floats, truth: Booleans, name: str) -> Empirical:
    """The channel that draws from recorded confidences; thinned to `MOST_QUANTILES`.

    Raises:
        InputError: The proposition never or always held.
    """
    true, false = _by_truth(confidence, truth, name)
    return Empirical(_thinned(true), _thinned(false))


def _thinned(values: Floats) -> tuple[float, ...]:
    if len(values) > MOST_QUANTILES:
        middles = (np.arange(MOST_QUANTILES) + 0.5) / MOST_QUANTILES
        values = np.quantile(values, middles, method="inverted_cdf")
    return tuple(np.sort(values).tolist())


def _by_truth(confidence: Floats, truth: Booleans, name: str) -> tuple[Floats, Floats]:
    if truth.all() or not truth.any():
        raise InputError(
            f"{name} {'always' if truth.all() else 'never'} held among {len(truth)} detections",
            remedy="collect more episodes: errors of both kinds must be seen to be modelled",
        )
    return confidence[truth], confidence[~truth]


FITS = {"binormal": fit_binormal, "empirical": fit_empirical}
"""Ways to estimate a channel, by name."""


def channel_of(detections: Detections, name: str, kind: str) -> Channel:
    """The channel of a proposition, estimated from detections.

    Raises:
        InputError: It never or always held.
    """
    own = detections.of(name)
    return FITS[kind](own.confidence, own.truth, name)


def channel_from_json(data: Any, name: str, file: object = None) -> Channel:
    """Validate a channel of a noise model's file.

    Raises:
        InputError: Not a channel.
    """

    def refuse(problem: str) -> InputError:
        return InputError(problem, file=file, place=name, remedy="see docs/perception.md")

    if not isinstance(data, Mapping):
        raise refuse("a channel is an object")
    values = {key: value for key, value in data.items() if key != "kind"}
    if data.get("kind") == "binormal":
        fields = ("mean_true", "sd_true", "mean_false", "sd_false")
        if set(values) != set(fields) or not all(_is_number(v) for v in values.values()):
            raise refuse(f"a binormal channel has the numbers {', '.join(fields)}")
        return Binormal(**{key: float(values[key]) for key in fields})
    if data.get("kind") == "empirical":
        if set(values) != {"when_true", "when_false"} or not all(
            isinstance(v, list) and v and all(_is_number(c) and 0 <= c <= 1 for c in v)
            for v in values.values()
        ):
            raise refuse("an empirical channel has lists of confidences when_true and when_false")
        sorted_values = {key: tuple(sorted(map(float, v))) for key, v in values.items()}
        return Empirical(**sorted_values)
    raise refuse(f"no kind of channel {data.get('kind')!r}: binormal or empirical")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
