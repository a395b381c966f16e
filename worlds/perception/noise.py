"""A noise model: a channel per proposition, and for how long an error lasts.

A file of a noise model is JSON:

    {"threshold": 0.5, "correlation_seconds": 2.0,
     "propositions": {"car_from_left": {"kind": "binormal", "mean_true": 2.7, "sd_true": 2.3,
                                        "mean_false": -2.7, "sd_false": 2.3}}}

Propositions without a channel are seen as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from verifier.errors import InputError
from verifier.yaml_files import load_json
from worlds.perception.channels import (
    Channel,
    binormal_of_accuracy,
    channel_from_json,
    channel_of,
)
from worlds.perception.detections import Detections
from worlds.perception.eyes import Confidences
from worlds.simulation.interface import Simulator


@dataclass(frozen=True)
class NoiseModel:
    """How a detector errs.

    Attributes:
        channels: By proposition.
        correlation_seconds: Time after which the correlation of the noise has fallen to 1/e; 0
            for noise that is drawn anew at every look.
        threshold: Confidence from which on a proposition is taken to hold.
    """

    channels: Mapping[str, Channel]
    correlation_seconds: float = 0.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"threshold {self.threshold:g}", remedy="give one between 0 and 1")
        if not (isfinite(self.correlation_seconds) and self.correlation_seconds >= 0):
            raise InputError(
                f"correlation time {self.correlation_seconds:g} s", remedy="give 0 or more"
            )

    def error(self, proposition: str, truth: bool) -> float:
        """Probability that the proposition is taken for what it is not."""
        if proposition not in self.channels:
            return 0.0
        seen = self.channels[proposition].chance(truth, self.threshold)
        return 1 - seen if truth else seen

    def to_json(self) -> dict[str, Any]:
        """The content of a file."""
        return {
            "threshold": self.threshold,
            "correlation_seconds": self.correlation_seconds,
            "propositions": {name: c.to_json() for name, c in self.channels.items()},
        }


@dataclass
class NoisyEyes:
    """Eyes that see the truth through a noise model.

    Every proposition has its own stream of random numbers, one per look, so that models that
    differ in one channel differ in that proposition only, and better models err at a subset of
    the looks at which worse ones of the same family do.

    Attributes:
        model: How they err.
    """

    model: NoiseModel
    _streams: dict[str, np.random.Generator] = field(default_factory=dict)
    _state: dict[str, float] = field(default_factory=dict)
    _seconds: float | None = None

    @property
    def threshold(self) -> float:
        """See `worlds.perception.eyes.Eyes`."""
        return self.model.threshold

    def open(self, seed: int) -> None:
        """Begin an episode: equal seeds, equal noise."""
        # Streams are keyed by name, not by position: other propositions do not shift them.
        self._streams = {
            name: np.random.default_rng([seed, *name.encode()]) for name in self.model.channels
        }
        self._state, self._seconds = {}, None

    def look(self, simulator: Simulator) -> Confidences:
        """The confidences of what can be observed there."""
        label, now = simulator.observe(), simulator.status().seconds
        kept = self._kept(now)
        self._seconds = now
        found: dict[str, float] = {}
        for name in simulator.propositions:
            channel, truth = self.model.channels.get(name), name in label
            if channel is None:
                found[name] = float(truth)
                continue
            fresh = float(self._streams[name].standard_normal())
            before = self._state.get(name)
            z = fresh if before is None else kept * before + sqrt(1 - kept * kept) * fresh
            self._state[name] = z
            found[name] = channel.confidence(truth, z)
        return found

    def watch(self, simulator: Simulator) -> None:
        """Between looks there is nothing to see."""

    def _kept(self, now: float) -> float:
        if self._seconds is None or self.model.correlation_seconds == 0:
            return 0.0
        return exp(-(now - self._seconds) / self.model.correlation_seconds)


def uniform_noise(
    propositions: Sequence[str],
    accuracy: float,
    correlation_seconds: float = 0.0,
    base_rate: float = 0.5,
    sharpness: float = 1.0,
) -> NoiseModel:
    """The same channel for every proposition (see `channels.binormal_of_accuracy`).

    Raises:
        InputError: A number out of its range.
    """
    channel = binormal_of_accuracy(accuracy, base_rate, sharpness)
    return NoiseModel(dict.fromkeys(propositions, channel), correlation_seconds)


def estimate_noise(
    detections: Detections, kind: str = "empirical", threshold: float = 0.5
) -> NoiseModel:
    """The noise model of a detector, from what it said.

    Args:
        detections: Of episodes that were not used to make the detector.
        kind: ``empirical`` or ``binormal``.
        threshold: Where the detector is read.

    Raises:
        InputError: A proposition always or never held.
    """
    channels = {name: channel_of(detections, name, kind) for name in detections.propositions}
    return NoiseModel(channels, correlation_time(detections), threshold)


def correlation_time(detections: Detections, longest_gap: float = 2.5) -> float:
    """Seconds after which the detector's noise has decorrelated to 1/e.

    The noise of a detection is the normal score of its rank among those of the same proposition
    and truth. The correlation r of the scores of successive looks, d seconds apart on average,
    gives -d / ln r; 0 where it is not positive, or where no times are known. Ties share their
    rank; the truth may change between the looks, the noise goes on.
    """
    z = np.zeros(len(detections))
    for index in range(len(detections.propositions)):
        for truth in (False, True):
            own = (detections.proposition == index) & (detections.truth == truth)
            if own.any():
                ranks = rankdata(detections.confidence[own], method="average")
                z[own] = ndtri((ranks - 0.5) / own.sum())
    order = np.lexsort((detections.seconds, detections.episode, detections.proposition))
    first, second = order[:-1], order[1:]
    gaps = detections.seconds[second] - detections.seconds[first]
    successive = (
        (detections.proposition[first] == detections.proposition[second])
        & (detections.episode[first] == detections.episode[second])
        & (gaps > 0)
        & (gaps <= longest_gap)
    )
    if successive.sum() < 2:
        return 0.0
    before, after = z[first][successive], z[second][successive]
    scale = float(np.sqrt((before**2).mean() * (after**2).mean()))
    r = float((before * after).mean()) / scale if scale > 0 else 0.0
    if r <= 0:
        return 0.0
    return round(float(gaps[successive].mean()) / -log(min(r, 0.999)), 3)


def load_noise(path: Path) -> NoiseModel:
    """Read a noise model.

    Raises:
        InputError: Not one.
    """
    data = load_json(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("propositions"), Mapping):
        raise InputError(
            "not a noise model: it has no object 'propositions'",
            file=path,
            remedy="make one with: specdrive perception calibrate FILE --noise OUT",
        )
    numbers: dict[str, float] = {}
    for key, default in (("threshold", 0.5), ("correlation_seconds", 0.0)):
        value = data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{key} cannot be {value!r}", file=path, remedy="give a number")
        numbers[key] = float(value)
    channels = {
        str(name): channel_from_json(channel, str(name), path)
        for name, channel in data["propositions"].items()
    }
    try:
        return NoiseModel(channels, numbers["correlation_seconds"], numbers["threshold"])
    except InputError as error:
        raise error.located(path) from None
