"""Recording: who drives while the labels are written down.

The labels must show what the world does, not what one controller makes of it. So the car holds
before the place (``hold``), or it moves at random moments (``explore``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from verifier.errors import InputError
from worlds.learned.recordings import Label, Recording
from worlds.simulation.interface import STOP, Simulator

GO_RATE = 0.05
"""Probability that ``explore`` makes a manoeuvre at a decision: one in about 20 seconds."""

Choose = Callable[[Simulator, random.Random], str]
"""The action at a decision; may look at the simulator only for the actions it offers."""


def _hold(simulator: Simulator, chance: random.Random) -> str:
    del simulator, chance
    return STOP


def _explore(simulator: Simulator, chance: random.Random) -> str:
    return chance.choice(simulator.actions) if chance.random() < GO_RATE else STOP


DRIVERS: Mapping[str, Choose] = {"hold": _hold, "explore": _explore}
"""By name. Every step of ``hold`` lasts one period; manoeuvres of ``explore`` last longer."""


def record(simulator: Simulator, seed: int, steps: int, driver: str = "hold") -> Recording:
    """Record one episode.

    What is observed when the car has left the place is no part of it: there nothing is ahead.

    Args:
        simulator: Is reset with ``seed``; stays open.
        seed: Fixes the episode.
        steps: At most so many steps, so one label more.
        driver: One of `DRIVERS`.

    Raises:
        InputError: Unknown driver, or the simulator observes what is not among its propositions.
    """
    if driver not in DRIVERS:
        raise InputError(f"no driver {driver!r}", remedy=f"use one of {', '.join(DRIVERS)}")
    choose, chance = DRIVERS[driver], random.Random(f"{driver} {seed}")
    simulator.reset(seed)
    labels: list[Label] = []
    actions: list[str] = []
    seconds: list[float] = []
    while not simulator.done and len(labels) <= steps:
        label = simulator.observe()
        unknown = label.difference(simulator.propositions)
        if unknown:
            raise InputError(
                f"{simulator.name} observes {min(unknown)!r}, not among its propositions",
                remedy="mend the simulator; worlds.simulation.check tells more",
            )
        action = choose(simulator, chance)
        labels.append(label)
        actions.append(action)
        seconds.append(simulator.status().seconds)
        simulator.apply(action)
        simulator.step()
        while not (simulator.ready or simulator.done):
            simulator.step()
    return Recording(
        world=simulator.name,
        scenario=simulator.scenario,
        seed=seed,
        period=simulator.period,
        driver=driver,
        propositions=simulator.propositions,
        seconds=tuple(seconds),
        labels=tuple(labels),
        actions=tuple(actions),
    )
