"""A detector as eyes: it looks at what the simulator renders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from worlds.perception.conditions import CONDITIONS, Condition
from worlds.perception.detector import Detector
from worlds.perception.eyes import Confidences
from worlds.perception.frames import Picture, shrink
from worlds.simulation.interface import Simulator


@dataclass
class DetectorEyes:
    """Eyes (see `worlds.perception.eyes`) that are a trained detector.

    Attributes:
        detector: Which.
        condition: Light and weather.
        threshold: Confidence from which on a proposition is taken to hold.
    """

    detector: Detector
    condition: Condition = CONDITIONS["day"]
    threshold: float = 0.5
    _now: Picture | None = None
    _before: Picture | None = None
    _seconds: float | None = None
    _chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def open(self, seed: int) -> None:
        """Forget the episode before."""
        self._now = self._before = self._seconds = None
        self._chance = np.random.default_rng([seed, 11])

    def watch(self, simulator: Simulator) -> None:
        """Keep the picture of every period: the next look needs it as the earlier one."""
        now = simulator.status().seconds
        if simulator.done or self._seconds == now:
            return
        self._before = self._now
        self._now = self.condition(shrink(simulator.render(), self.detector.size), self._chance)
        self._seconds = now

    def look(self, simulator: Simulator) -> Confidences:
        """The confidences of the simulator's propositions.

        Raises:
            InputError: The detector was trained for other propositions.
        """
        self.detector.check(simulator.propositions, simulator.name)
        self.watch(simulator)
        now = self._now
        assert now is not None  # a look is at a decision, and then the car has not left
        before = now if self._before is None else self._before
        row = self.detector.confidences(now[None], before[None])[0]
        return dict(zip(self.detector.propositions, row.tolist(), strict=True))
