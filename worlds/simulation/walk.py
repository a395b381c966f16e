"""``walk/SCENARIO``: a random walk of the hand-written world itself, without a simulator.

Each period is one transition, chosen with equal probabilities by a seeded generator, so that
whatever the world's fairness assumptions promise happens with probability one (in a finite world
from which it can always be reached). Nothing can be hit and nobody brakes; a manoeuvre is done in
one period. As the interface has it, ``go_straight`` away from the stop line drives up to it.

It is the reference for the other simulators: what the model checker has proved cannot be violated
here for good, and what it calls violated can be seen here if it is likely enough.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world
from worlds.simulation.interface import STOP, Status
from worlds.simulation.layout import Layout, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERIOD = 1.0
"""Seconds that a transition takes."""

_NOWHERE: frozenset[str] = frozenset()
_AT_LINE = 0.5
"""Progress at the stop line."""


class Walk:
    """A simulator (see `worlds.simulation.interface`) that walks through a transition system.

    Args:
        layout: Names the scenario and the manoeuvres.
        name: The simulator's name.
    """

    def __init__(self, layout: Layout, name: str) -> None:
        self.name, self.scenario = name, layout.scenario
        self.propositions, self.actions, self.period = layout.propositions, layout.actions, PERIOD
        self._shape: Shape = layout.shape
        self._world = load_world(layout.scenario, load_vocabulary())
        self._random = random.Random()
        self._seconds, self._at_line = 0.0, False
        self._manoeuvre: str | None = None
        self._action = STOP
        self._state: int | None = None

    def reset(self, seed: int) -> None:
        """Start in one of the initial states."""
        self._random.seed(f"walk {seed}")
        self._seconds, self._at_line = 0.0, False
        self._manoeuvre, self._action = None, STOP
        self._state = self._random.choice(self._world.initial)

    def observe(self) -> frozenset[str]:
        """The label of the state; nothing behind the place."""
        return _NOWHERE if self.done else self._world.labels[self._current()]

    def apply(self, action: str) -> None:
        """What is done in the next period.

        Raises:
            InputError: Unknown action.
        """
        if action != STOP and action not in self.actions:
            raise InputError(
                f"{self.name} has no action {action!r}",
                remedy=f"use {', '.join((STOP, *self.actions))}",
            )
        self._action = action

    def step(self) -> None:
        """Take one transition, and make the manoeuvre if one was begun.

        Raises:
            InputError: It is done, or has not been reset.
        """
        if self.done:
            raise InputError(f"{self.name} is done", remedy="reset it")
        self._state = self._random.choice(self._world.successors[self._current()])
        self._seconds += PERIOD
        if self._action == "go_straight" and not self._at_line:
            self._at_line, self._action = True, STOP
        elif self._action != STOP:
            self._manoeuvre = self._action

    @property
    def ready(self) -> bool:
        """Always: nothing takes longer than a period."""
        return True

    @property
    def done(self) -> bool:
        """Whether a manoeuvre has been made."""
        return self._manoeuvre is not None

    def status(self) -> Status:
        """Time and manoeuvre; nothing is ever hit."""
        progress = 1.0 if self.done else _AT_LINE if self._at_line else 0.0
        return Status(self._seconds, self._manoeuvre, None, progress, 0.0, 0.0, 0.0)

    def render(self) -> NDArray[np.uint8]:
        """The label, drawn as things around a junction."""
        from worlds.simulation.sketch import sketch

        where = "behind" if self.done else "line" if self._at_line else "start"
        return sketch(self._shape, self.propositions, self.observe(), where, self._manoeuvre)

    def close(self) -> None:
        """Nothing is held."""

    def _current(self) -> int:
        if self._state is None:
            raise InputError(f"{self.name} has not been reset", remedy="call reset(seed) first")
        return self._state


def make(layout: Layout, name: str) -> Walk:
    """The walk of a layout's scenario."""
    return Walk(layout, name)
