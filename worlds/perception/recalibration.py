"""Recalibration: a monotone map of confidences, fitted on episodes that are held out for it.

- ``temperature``: the log odds divided by one number (Guo et al. 2017).
- ``platt``: an affine map of the log odds (Platt 1999), increasing.
- ``isotonic``: the best non-decreasing step function (Zadrozny and Elkan 2002; pool adjacent
  violators), linear between the steps.

Each proposition has its own map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, log_expit, logit

from verifier.errors import InputError
from worlds.perception.detections import Booleans, Detections, Floats

LEAST = 1e-6
"""Confidences nearer to 0 and 1 are taken as this near before their log odds are formed."""

Method = Literal["temperature", "platt", "isotonic"]


class Map(Protocol):
    """A non-decreasing map of confidences."""

    def __call__(self, confidence: Floats) -> Floats:
        """The new confidences."""
        ...

    def to_json(self) -> dict[str, Any]:
        """As it stands in a detector's file."""
        ...


@dataclass(frozen=True)
class Affine:
    """New log odds = slope × old ones + shift; a temperature T is the slope 1/T.

    Attributes:
        slope: At least 0.
        shift: In log odds.
    """

    slope: float
    shift: float = 0.0

    def __call__(self, confidence: Floats) -> Floats:
        """See `Map`."""
        return expit(self.slope * _log_odds(confidence) + self.shift)

    def to_json(self) -> dict[str, Any]:
        """See `Map`."""
        return {"kind": "affine", "slope": self.slope, "shift": self.shift}


@dataclass(frozen=True)
class Steps:
    """Linear between points.

    Attributes:
        before: Increasing confidences.
        after: What they become; non-decreasing.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]

    def __call__(self, confidence: Floats) -> Floats:
        """See `Map`."""
        return np.interp(confidence, self.before, self.after)

    def to_json(self) -> dict[str, Any]:
        """See `Map`."""
        return {"kind": "steps", "before": list(self.before), "after": list(self.after)}


def _log_odds(confidence: Floats) -> Floats:
    return logit(np.clip(confidence, LEAST, 1 - LEAST))


def fit_temperature(confidence: Floats, truth: Booleans) -> Affine:
    """The temperature of greatest likelihood, from 1/20 to 20."""
    x, sign = _log_odds(confidence), np.where(truth, 1.0, -1.0)

    def loss(parameters: Floats) -> float:
        return -float(log_expit(sign * np.exp(parameters[0]) * x).mean())

    best = minimize(loss, np.zeros(1), bounds=[(-np.log(20), np.log(20))], method="L-BFGS-B")
    return Affine(float(np.exp(best.x[0])))


def fit_platt(confidence: Floats, truth: Booleans) -> Affine:
    """The affine map of greatest likelihood, with Platt's smoothed targets.

    The targets (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2) keep it finite where the classes are apart.
    """
    x, positive = _log_odds(confidence), float(truth.sum())
    negative = len(truth) - positive
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        y = parameters[0] * x + parameters[1]
        value = -(target * log_expit(y) + (1 - target) * log_expit(-y)).mean()
        slope = expit(y) - target
        return float(value), np.array([(slope * x).mean(), slope.mean()])

    start = np.array([1.0, 0.0])
    best = minimize(loss, start, jac=True, bounds=[(0, 50), (-50, 50)], method="L-BFGS-B")
    return Affine(float(best.x[0]), float(best.x[1]))


def fit_isotonic(confidence: Floats, truth: Booleans) -> Steps:
    """The best non-decreasing map; equal confidences stay equal."""
    before, index, number = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(index, truth.astype(np.float64)) / number
    after = isotonic_regression(share, weights=number.astype(np.float64)).x
    # Inner points of a step say nothing: keep its ends.
    ends = np.ones(len(after), dtype=bool)
    ends[1:-1] = (after[1:-1] != after[:-2]) | (after[1:-1] != after[2:])
    return Steps(tuple(before[ends].tolist()), tuple(after[ends].tolist()))


FITS: Mapping[str, Callable[[Floats, Booleans], Map]] = {
    "temperature": fit_temperature,
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}
"""Ways to fit a map, by name."""


@dataclass(frozen=True)
class Recalibration:
    """A map for each proposition.

    Attributes:
        method: How they were fitted.
        maps: By proposition; others stay as they are.
    """

    method: str
    maps: Mapping[str, Map]

    def __call__(self, detections: Detections) -> Detections:
        """The detections with new confidences."""
        confidence = detections.confidence.copy()
        for index, name in enumerate(detections.propositions):
            if name in self.maps:
                own = detections.proposition == index
                confidence[own] = self.maps[name](confidence[own])
        return detections.with_confidence(confidence)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"method": self.method, "maps": {k: m.to_json() for k, m in self.maps.items()}}


def recalibrate(detections: Detections, method: str) -> Recalibration:
    """Fit a map for each proposition that was seen true and false; others are left alone.

    Raises:
        InputError: Unknown method.
    """
    if method not in FITS:
        raise InputError(f"no recalibration {method!r}", remedy=f"use {', '.join(FITS)}")
    maps: dict[str, Map] = {}
    for name in detections.propositions:
        own = detections.of(name)
        if own.truth.any() and not own.truth.all():
            maps[name] = FITS[method](own.confidence, own.truth)
    return Recalibration(method, maps)


def recalibration_from_json(data: Mapping[str, Any]) -> Recalibration:
    """Read what `Recalibration.to_json` wrote.

    Raises:
        InputError: It did not.
    """
    try:
        maps: dict[str, Map] = {}
        for name, row in data["maps"].items():
            if row["kind"] == "affine":
                maps[name] = Affine(float(row["slope"]), float(row["shift"]))
            else:
                maps[name] = Steps(tuple(row["before"]), tuple(row["after"]))
        return Recalibration(str(data["method"]), maps)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a recalibration: {error}", remedy="train it again") from None
