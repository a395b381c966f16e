"""``highway/SCENARIO``: places simulated with highway-env's roads, vehicles and driver models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from verifier.errors import InputError
from worlds.highway.cars import OrderedRoad, OwnCar
from worlds.highway.labels import observe
from worlds.highway.objects import Crosswalk, Fixture, StopLine, StopSign, TrafficLight
from worlds.highway.places import CAR_LENGTH, Place, place_of
from worlds.highway.signals import Clock, programme
from worlds.highway.traffic import Traffic
from worlds.highway.walkers import Walkers
from worlds.simulation.guard import Guard
from worlds.simulation.interface import STOP, Status
from worlds.simulation.layout import ARROW, FLASHING, LIGHT, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERIOD = 1.0
"""Seconds between two looks."""

FREQUENCY = 10
"""Steps of the dynamics in a second."""

START = (8.0, 12.0)
"""Metres before the stop line at which our car starts (its front)."""

START_SPEED = (0.0, 3.0)
"""Metres per second."""

WARM_UP = 24.0
"""Seconds in which the others get on their way before our car starts."""


class HighwaySimulator:
    """A simulator (see `worlds.simulation.interface`) on top of highway-env.

    Args:
        layout: What there is.
        name: The simulator's name.
    """

    on_moment: Callable[[], None] | None = None
    """Called after every step of the dynamics, for smooth films."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name, self.scenario = name, layout.scenario
        self.propositions, self.actions, self.period = layout.propositions, layout.actions, PERIOD
        self.layout = layout
        self.place: Place = place_of(layout)
        self._phases = programme(layout)
        self._longest = max(path.clear for path in self.place.manoeuvres.values())
        self._road: OrderedRoad | None = None
        self._ticks = 0
        self._exit: str | None = None
        self._collision: Literal["car", "pedestrian"] | None = None

    def reset(self, seed: int) -> None:
        """Start anew: our car somewhere before the line, the lights somewhere in their cycle."""
        source = np.random.default_rng(seed)
        self._ticks, self._exit, self._collision = 0, None, None
        road = OrderedRoad(self.place.network, np_random=source)  # type: ignore[arg-type]
        self.clock = Clock(self._phases, float(source.random()))
        path = next(iter(self.place.manoeuvres.values()))
        s = path.line - float(source.uniform(*START)) - CAR_LENGTH / 2
        self.own = OwnCar(road, path, s, 0.0)
        self.own.dt = 1 / FREQUENCY
        self._started_at = s
        self.fixtures = _fixtures(self.layout, self.place, road)
        road.vehicles.append(self.own)
        road.objects.extend(self.fixtures)
        self.walkers = Walkers(self.layout, self.place, road, source)
        self.traffic = Traffic(self.layout, self.place, road, self.clock, source)
        # Where no cars cross, a sign is one that somebody holds up: see `worlds.practice`.
        self.guard = Guard(source) if self.layout.has_guard else None
        self._road = road
        for _ in range(round(WARM_UP * FREQUENCY)):
            self._tick(1 / FREQUENCY)
        self._ticks = 0
        self.own.speed = float(source.uniform(*START_SPEED))

    def observe(self) -> frozenset[str]:
        """The propositions that hold now; nothing behind the place. See `worlds.highway.labels`."""
        self._started()
        if self.done:
            return frozenset()
        return observe(
            *(self.propositions, self.place.shape, self.own, self.clock.phase),
            *(self.guard is None or self.guard.raised, self.traffic.streams, self.walkers.all),
        )

    def apply(self, action: str) -> None:
        """What the car does from now on. A manoeuvre past its line is completed in any case.

        Raises:
            InputError: Unknown action, or not reset.
        """
        self._started()
        if action != STOP and action not in self.actions:
            raise InputError(
                f"{self.name} has no action {action!r}",
                remedy=f"use {', '.join((STOP, *self.actions))}",
            )
        own = self.own
        if own.must_go_on:
            return
        if action == STOP:
            own.halt()
        elif action == "go_straight" and not own.at_line:
            own.drive_up()
        else:
            own.begin(action, self.place.manoeuvres[action])

    def step(self) -> None:
        """Let `PERIOD` pass, or less if the simulation is done before.

        Raises:
            InputError: It is done, or has not been reset.
        """
        self._started()
        if self.done:
            raise InputError(f"{self.name} is done", remedy="reset it")
        for _ in range(round(PERIOD * FREQUENCY)):
            self._tick(1 / FREQUENCY)
            if self.on_moment is not None:
                self.on_moment()
            if self.done:
                return

    @property
    def ready(self) -> bool:
        """Whether the car stands at the line, or has nothing to drive to."""
        self._started()
        own = self.own
        if own.manoeuvre is not None:
            return self.done
        return own.at_line or not own.drives_up

    @property
    def done(self) -> bool:
        """Whether the car has left the place or hit something."""
        return self._collision is not None or self._exit is not None

    def status(self) -> Status:
        """What has become of the car so far."""
        self._started()
        own = self.own
        clear = self._longest if own.manoeuvre is None else own.path.clear
        progress = (own.s - self._started_at) / (clear - self._started_at)
        return Status(
            seconds=self._ticks / FREQUENCY,
            manoeuvre=self._exit,
            collision=self._collision,
            progress=1.0 if self._exit else min(1.0, max(0.0, float(progress))),
            speed=float(own.speed),
            hardest_braking=float(own.hardest_braking),
            others_hardest_braking=float(self.traffic.hardest_braking),
        )

    def render(self) -> NDArray[np.uint8]:
        """A picture from above, (600, 600, 3)."""
        from worlds.highway.pictures import picture

        return picture(self.place, self._started())

    def close(self) -> None:
        """Forget the scene."""
        self._road = None

    def _tick(self, seconds: float) -> None:
        road, own = self._started(), self.own
        self._ticks += 1
        self.clock.advance(seconds)
        if self.guard is not None:
            self.guard.advance(seconds)
        self._show()
        self.walkers.step(seconds, self.clock, self.traffic.all, own)
        self.traffic.arrive(seconds)
        self.traffic.give_way(seconds, self.walkers, own)
        road.act()
        self.traffic.remember(own)
        road.step(seconds)
        if own.crashed:
            # What would be hit within the next tick is only pushed (``impact``) in the library.
            hit = any(walker.pushed for walker in self.walkers.all)
            self._collision = "pedestrian" if hit else "car"
        elif own.manoeuvre is not None and own.s >= own.path.clear:
            self._exit = own.manoeuvre

    def _show(self) -> None:
        phase = self.clock.phase
        for fixture in self.fixtures:
            if isinstance(fixture, StopSign):
                fixture.shown = self.guard is None or self.guard.raised
            elif phase is None:
                continue
            elif isinstance(fixture, TrafficLight):
                fixture.show(phase)
            elif isinstance(fixture, Crosswalk):
                fixture.signal = fixture.arm in phase.walk

    def _started(self) -> OrderedRoad:
        if self._road is None:
            raise InputError(f"{self.name} has not been reset", remedy="call reset(seed) first")
        return self._road


def _fixtures(layout: Layout, place: Place, road: OrderedRoad) -> list[Fixture]:
    """Everything that stands beside the road or is painted on it."""
    found: list[Fixture] = [Crosswalk(road, place, walk) for walk in place.walks.values()]
    incoming = place.arms
    main_road = place.shape == "junction" and not (layout.lights or layout.all_way_stop)
    found += [StopLine(road, place, arm) for arm in incoming if not (main_road and arm in "WE")]
    if layout.lights:
        arrow, plain = bool({ARROW, FLASHING} & {*layout.lights}), LIGHT in layout.lights
        found += [
            TrafficLight(road, place, arm, arrow and arm == "S", plain or arm != "S")
            for arm in incoming
        ]
    if layout.has_sign:
        signed = incoming if layout.all_way_stop else [a for a in "SN" if a in incoming]
        found += [StopSign(road, place, arm) for arm in signed]
    return found


def make(layout: Layout, name: str) -> HighwaySimulator:
    """A simulator of a layout."""
    return HighwaySimulator(layout, name)
