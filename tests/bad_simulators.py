"""Simulators with one fault each, importable by the processes of a crew."""

from __future__ import annotations

import ctypes
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.vocabulary import Vocabulary
from worlds.simulation.interface import STOP, Status
from worlds.simulation.layout import layout_of
from worlds.simulation.registry import scenario_of
from worlds.simulation.walk import Walk

MARKS = "SPECDRIVE_TEST_MARKS"
"""Environment variable: a folder in which crashes leave a mark, so that they happen only once."""


HUNG = "SPECDRIVE_TEST_HUNG"
"""Environment variable: a file for the number of the process that hangs."""


class _Faulty(Walk):
    """A walk that knows the seed of its episode."""

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        super().__init__(layout_of(scenario_of(name), vocabulary), name)
        self.seed = -1

    def reset(self, seed: int) -> None:
        self.seed = seed
        super().reset(seed)


def once(what: str) -> bool:
    """Whether it is the first time, in any process."""
    mark = Path(os.environ[MARKS]) / what
    known = mark.exists()
    mark.touch()
    return not known


class Exiting(_Faulty):
    """Leaves the process in the episode with seed 3, the first time."""

    def step(self) -> None:
        if self.seed == 3 and once("exit"):
            os._exit(7)
        super().step()


class Crashing(_Faulty):
    """A segmentation fault in the episode with seed 2, always."""

    def step(self) -> None:
        if self.seed == 2:
            ctypes.string_at(0)
        super().step()


class Hanging(_Faulty):
    """Never comes back from the episode with seed 1, always."""

    def step(self) -> None:
        if self.seed == 1:
            if HUNG in os.environ:
                Path(os.environ[HUNG]).write_text(str(os.getpid()))
            time.sleep(600)
        super().step()


class Raising(_Faulty):
    """Divides by zero in every episode."""

    def step(self) -> None:
        raise ZeroDivisionError("no wheels")


class Endless(_Faulty):
    """The car never gets anywhere, and time goes by."""

    def apply(self, action: str) -> None:
        super().apply(action)
        super().apply(STOP)


class Impossible(_Faulty):
    """Loses the stop sign now and then."""

    def observe(self) -> frozenset[str]:
        label = super().observe()
        return label - {"stop_sign"} if self._seconds % 3 == 2 else label


class Strange(_Faulty):
    """Sees a cow."""

    def observe(self) -> frozenset[str]:
        return super().observe() | {"cow"}


class Unseeded(_Faulty):
    def reset(self, seed: int) -> None:
        super().reset(seed)
        self._random.seed(random.random())


class Forgetful(_Faulty):
    """The traffic goes on from where the episode before left it."""

    def reset(self, seed: int) -> None:
        state = self._random.getstate()
        super().reset(seed)
        self._random.setstate(state)


class NotReset(_Faulty):
    def reset(self, seed: int) -> None:
        seconds = self._seconds
        super().reset(seed)
        self._seconds = seconds


class Disturbed(_Faulty):
    """Looking draws a random number."""

    def render(self) -> NDArray[np.uint8]:
        self._random.random()
        return super().render()


class Flickering(_Faulty):
    def render(self) -> NDArray[np.uint8]:
        noise = np.random.default_rng().integers(0, 2, (1, 1, 3), dtype=np.uint8)
        return super().render() ^ noise


class Growing(_Faulty):
    def render(self) -> NDArray[np.uint8]:
        return super().render()[: 100 + int(self._seconds)]


class Floating(_Faulty):
    def render(self) -> NDArray[np.uint8]:
        return super().render() / 255  # type: ignore[return-value]


class Rolling(_Faulty):
    """Cannot stand still."""

    def status(self) -> Status:
        return replace(super().status(), speed=1.5)


class Creeping(_Faulty):
    """Leaves the place although it is told to stop."""

    def step(self) -> None:
        super().step()
        if self._seconds >= 4 and not self.done:
            self._manoeuvre = "go_straight"


class Contrary(_Faulty):
    """Turns right whatever is asked for."""

    def apply(self, action: str) -> None:
        super().apply(action)
        super().apply(STOP if action == STOP else "turn_right")


class Obedient(_Faulty):
    """Takes any order."""

    def apply(self, action: str) -> None:
        super().apply(action if action in self.actions else STOP)


class Undying(_Faulty):
    """Goes on after the end."""

    def step(self) -> None:
        if not self.done:
            super().step()


class Hasty(_Faulty):
    """A step takes longer than it says."""

    def step(self) -> None:
        super().step()
        self._seconds += 0.5


class Backward(_Faulty):
    """Sees the traffic behind the place."""

    def observe(self) -> frozenset[str]:
        return frozenset({"stop_sign"})


class Fragile(_Faulty):
    """Can be closed once."""

    _closed = False

    def close(self) -> None:
        if self._closed:
            raise OSError("closed")
        self._closed = True


class Mute(_Faulty):
    """Speaks another language."""

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        super().__init__(name, vocabulary)
        self.actions = ("stop", "reverse")


class Narrow(_Faulty):
    """Has not what its scenario has."""

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        super().__init__(name, vocabulary)
        self.propositions = self.propositions[:-1]


class Dull(_Faulty):
    """Every seed gives the same episode."""

    def reset(self, seed: int) -> None:
        super().reset(0 * seed)


class Hashed(_Faulty):
    """Its traffic depends on how this process hashes texts."""

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self._random.seed(hash(f"traffic {seed} {os.getpid()}"))


class Bare:
    """Is no simulator at all."""

    name = "bare"
