"""A tiny simulator for tests: a light and cars from the left that keep it, but for late ones.

Green for 4 seconds, not green for 4. Cars from the left come while it is not green; with `late`,
one may appear in the first second of green. The car stands at the line: every manoeuvre leaves
the place after two seconds, or hits the car from the left that was there when it set out.
"""

from __future__ import annotations

import random

import numpy as np

from verifier.errors import InputError
from worlds.simulation.interface import STOP, Status
from worlds.simulation.layout import Layout

GREEN, LEFT = "green_traffic_light", "car_from_left"
PHASE = 4
SCENARIO = f"""
name: toy
propositions: [{GREEN}, {LEFT}]
actions: [turn_right, go_straight]
steps:
  - X({GREEN} & {LEFT}) -> {LEFT}
assumptions:
  - GF({GREEN} & !{LEFT})
"""


class ToyJunction:
    """See the module."""

    def __init__(self, name: str = "toy/toy", scenario: str = "toy", late: float = 0.0) -> None:
        self.name, self.scenario = name, scenario
        self.propositions = (GREEN, LEFT)
        self.actions = ("turn_right", "go_straight")
        self.period = 1.0
        self._late = late
        self._random: random.Random | None = None

    def reset(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seconds = self._random.randrange(2 * PHASE)
        self._start = self._seconds
        self._car = False
        self._action, self._moved, self._hit = STOP, 0, False

    @property
    def _green(self) -> bool:
        return self._seconds % (2 * PHASE) < PHASE

    def observe(self) -> frozenset[str]:
        if self._moved >= 2:
            return frozenset()
        return frozenset(name for name, value in ((GREEN, self._green), (LEFT, self._car)) if value)

    def apply(self, action: str) -> None:
        if action not in (STOP, *self.actions):
            raise InputError(f"cannot {action}")
        self._action = action

    def step(self) -> None:
        if self._random is None or self.done:
            raise InputError("reset first")
        if self._action != STOP:
            self._hit = self._car and not self._moved
            self._moved += 1
        self._seconds += 1
        first_green = self._seconds % (2 * PHASE) == 0
        if self._green and not first_green:
            self._car = self._car and self._random.random() < 0.5
        elif first_green:
            late = self._random.random() < self._late
            self._car = late or (self._car and self._random.random() < 0.5)
        else:
            self._car = self._random.random() < 0.5

    @property
    def ready(self) -> bool:
        return self._moved in (0, 2)

    @property
    def done(self) -> bool:
        return self._hit or self._moved >= 2

    def status(self) -> Status:
        left = self._moved >= 2 and not self._hit
        return Status(
            seconds=float(self._seconds - self._start),
            manoeuvre=self._action if left else None,
            collision="car" if self._hit else None,
            progress=self._moved / 2,
            speed=4.0 * (self._action != STOP),
            hardest_braking=0.0,
            others_hardest_braking=0.0,
        )

    def render(self) -> np.ndarray:
        picture = np.full((240, 320, 3), (90, 110, 90), np.uint8)
        picture[100:140], picture[:, 140:180] = (70, 70, 76), (70, 70, 76)
        picture[20:40, 20:40] = (60, 200, 90) if self._green else (220, 60, 50)
        if self._car:
            picture[108:122, 90:120] = (230, 200, 60)
        top = 180 - 45 * self._moved
        picture[top : top + 26, 162:176] = (90, 160, 240)
        return picture

    def close(self) -> None:
        pass


def make(layout: Layout, name: str) -> ToyJunction:
    """For the registry of simulators."""
    return ToyJunction(name, layout.scenario)


def make_late(layout: Layout, name: str) -> ToyJunction:
    """Where cars also appear on green, which the scenario excludes."""
    return ToyJunction(name, layout.scenario, late=0.3)


KINDS = {"toy": ("toy_junction", "numpy"), "late": ("toy_late", "numpy")}
