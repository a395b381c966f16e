"""Recording: who drives while the labels are written down.

The labels must show what the world does, not what one controller makes of it. So the car holds
before the place (``hold``), or it moves at random moments (``explore``).
"""

from __future__ import annotations

from collections.abc import Sequence

from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.semantics import Semantics
from worlds.learned.recordings import Recording
from worlds.simulation.driver import Course, drive
from worlds.simulation.episode import Episode
from worlds.simulation.interface import STOP, Simulator

DRIVERS = ("hold", "explore")
"""By name. Every step of ``hold`` lasts one period; manoeuvres of ``explore`` last longer."""

STOPS_PER_MOVE = 19
"""``explore`` makes a manoeuvre at one decision of so many and one: in about 20 seconds."""


def driver_of(name: str, actions: Sequence[str]) -> Controller:
    """A driver as a controller: of several enabled transitions a run takes one at random.

    Args:
        name: One of `DRIVERS`.
        actions: Manoeuvres that can be made.

    Raises:
        InputError: Unknown driver.
    """
    if name not in DRIVERS:
        raise InputError(f"no driver {name!r}", remedy=f"use one of {', '.join(DRIVERS)}")
    if name == "hold":
        return Controller(0, 1, (Transition(0, "true", STOP, 0),))
    stops = [STOP] * (STOPS_PER_MOVE * len(actions))
    return Controller(0, 1, tuple(Transition(0, "true", a, 0) for a in (*stops, *actions)))


def course_of(simulator: Simulator, steps: int) -> Course:
    """A course that lasts so many steps of a car that holds."""
    return Course(Semantics(), max_seconds=(steps + 0.5) * simulator.period)


def recording_of(episode: Episode, simulator: Simulator, driver: str) -> Recording:
    """What an episode showed until the car had left: behind the place nothing is ahead."""
    decisions = episode.decisions[: len(episode.decisions) - episode.closing]
    return Recording(
        world=simulator.name,
        scenario=simulator.scenario,
        seed=episode.seed,
        period=simulator.period,
        driver=driver,
        propositions=simulator.propositions,
        seconds=tuple(round(d.seconds, 6) for d in decisions),
        labels=tuple(d.label for d in decisions),
        actions=tuple(d.action or STOP for d in decisions),
    )


def record(simulator: Simulator, seed: int, steps: int, driver: str = "hold") -> Recording:
    """Record one episode in this process.

    Args:
        simulator: Is reset with ``seed``; stays open.
        seed: Fixes the episode.
        steps: At most so many steps, so one label more.
        driver: One of `DRIVERS`.

    Raises:
        InputError: Unknown driver, or the simulator observes what is not among its propositions.
    """
    controller = driver_of(driver, simulator.actions)
    episode = drive(simulator, controller, None, seed, course_of(simulator, steps))
    return recording_of(episode, simulator, driver)
