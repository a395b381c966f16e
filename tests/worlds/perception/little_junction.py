"""A tiny simulator with pictures: labels change by a seeded chain, things are coloured squares."""

from __future__ import annotations

import random

import numpy as np

from worlds.simulation.interface import STOP, Status

PROPOSITIONS = ("green_traffic_light", "car_from_left", "pedestrian_at_right")
SPOTS = {
    "green_traffic_light": (4, 24, (40, 200, 60)),
    "car_from_left": (14, 4, (230, 120, 40)),
    "pedestrian_at_right": (20, 24, (140, 60, 170)),
}


class LittleJunction:
    """Implements the interface of simulators; 32 × 32 pixels."""

    name, scenario, period = "little/junction", "traffic_light", 1.0
    propositions, actions = PROPOSITIONS, ("turn_right",)

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._label: frozenset[str] = frozenset()
        self._seconds, self._manoeuvre, self._action = 0.0, None, STOP

    def reset(self, seed: int) -> None:
        self._random.seed(f"little {seed}")
        self._label = frozenset(p for p in PROPOSITIONS if self._random.random() < 0.5)
        self._seconds, self._manoeuvre, self._action = 0.0, None, STOP

    def observe(self) -> frozenset[str]:
        return frozenset() if self.done else self._label

    def apply(self, action: str) -> None:
        self._action = action

    def step(self) -> None:
        self._seconds += self.period
        changed = frozenset(p for p in PROPOSITIONS if self._random.random() < 0.3)
        self._label = self._label.symmetric_difference(changed)
        if self._action != STOP:
            self._manoeuvre = self._action

    @property
    def ready(self) -> bool:
        return True

    @property
    def done(self) -> bool:
        return self._manoeuvre is not None

    def status(self) -> Status:
        return Status(self._seconds, self._manoeuvre, None, float(self.done), 0.0, 0.0, 0.0)

    def render(self) -> np.ndarray:
        picture = np.full((32, 32, 3), 110, dtype=np.uint8)
        for name in self._label:
            top, left, colour = SPOTS[name]
            picture[top : top + 6, left : left + 6] = colour
        return picture

    def close(self) -> None:
        pass
