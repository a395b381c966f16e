"""Looking at a simulation while it runs, for `worlds.simulation.check`."""

from __future__ import annotations

import random
from dataclasses import dataclass

from worlds.simulation.interface import STOP, Simulator, Status

STEPS = 25
"""A scripted episode waits for half as many steps, and then moves for so many at random."""


@dataclass(frozen=True)
class Look:
    """What can be seen of a simulation between two steps."""

    label: frozenset[str]
    ready: bool
    done: bool
    status: Status


def script(simulator: Simulator, seed: int) -> list[str]:
    """Actions that depend on nothing but the seed: mostly waiting, then whatever comes."""
    choice = random.Random(f"check {seed}")
    waiting = [STOP] * (STEPS // 2)
    return waiting + [choice.choice((STOP, *simulator.actions)) for _ in range(STEPS)]


def play(simulator: Simulator, seed: int, *, look: bool = False) -> list[Look]:
    """A scripted episode; ``look`` looks at everything several times, and so it must not matter."""
    simulator.reset(seed)
    looks = [see(simulator)]
    for action in script(simulator, seed):
        if simulator.done:
            break
        if look:
            for _ in range(2):
                simulator.observe()
                simulator.status()
                simulator.render()
        advance(simulator, action)
        looks.append(see(simulator))
    return looks


def advance(simulator: Simulator, action: str) -> None:
    """One step; orders are only given when they are due."""
    if simulator.ready:
        simulator.apply(action)
    simulator.step()


def repeat(simulator: Simulator, action: str, seconds: float) -> list[Look]:
    """Ask for an action until the end, or for so long; what was seen, step by step."""
    looks = [see(simulator)]
    while not simulator.done and simulator.status().seconds < seconds:
        advance(simulator, action)
        looks.append(see(simulator))
    return looks


def see(simulator: Simulator) -> Look:
    """Everything that can be asked, the picture left out."""
    return Look(simulator.observe(), simulator.ready, simulator.done, simulator.status())
