"""The other cars: when they come, who may go, and behind what each of them drives.

They obey lights and signs, wait for pedestrians and keep their distance. They do not avoid our
car where the ways meet: only once it is on a lane of theirs do they follow it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from highway_env.road.road import Road

from worlds.highway.cars import OtherCar, OwnCar
from worlds.highway.objects import StopLine
from worlds.highway.places import CAR_LENGTH, Path, Place
from worlds.highway.signals import Clock, Colour
from worlds.highway.walkers import Walkers
from worlds.simulation.layout import Layout

GAP = 5.5
"""Seconds that the main road must be free for a car that waits at a stop sign."""

BRAKES = 3.0
"""A car goes on over a line that turns yellow if stopping needs harder braking, metres per second
squared."""

REACTION = 1.5
"""Seconds after which a car that stands at a light starts once it is green."""

_HEADWAY = 2.0  # seconds between cars of a stream, at least
_AT_LIGHTS, _BUSY = 10.0, 5.0  # mean seconds to the next one: at lights; elsewhere in busy times
_BUSY_TIMES, _QUIET_TIMES = (9.0, 17.0), (14.0, 20.0)  # seconds, without lights
_AT_SIGNS = 16.0  # mean seconds between the cars of an arm with a stop sign
_PAUSE = (2.5, 6.0)  # seconds between two turns
_BEYOND = 45.0  # metres of the last lane after which a car is taken away
_STOPS, _OVER = 1.0, 1.5  # metres before the line at which cars stop, and may roll over it
_BEFORE_WALK = 1.5  # metres before a crosswalk at which cars stop for somebody on it
_QUEUE_ENDS = 30.0  # metres from an arm's end within which no car may stand for another to come


class Traffic:
    """All other cars.

    Args:
        layout: Says where cars come from.
        place: Its streams.
        road: Where they drive.
        clock: Of the lights.
        source: Of all randomness.
    """

    def __init__(
        self, layout: Layout, place: Place, road: Road, clock: Clock, source: np.random.Generator
    ) -> None:
        self._layout, self._place, self._road = layout, place, road
        self._clock, self._source = clock, source
        self.streams: dict[str, list[OtherCar]] = {name: [] for name in place.streams}
        self.hardest_braking = 0.0
        """Hardest braking of a car behind ours, metres per second squared."""
        self._signs = {name for name in place.streams if _has_to_wait(name, layout)}
        self._lines = {arm: StopLine(road, place, arm) for arm in place.arms}
        self._busy = layout.all_way_stop or bool(layout.lights) or source.random() < 0.5
        self._until = float(source.uniform(0.0, 14.0))
        self._pause = 0.0
        self._next = {name: float(source.exponential(self._mean(name))) for name in self.streams}

    @property
    def all(self) -> list[OtherCar]:
        """Every car, stream by stream, foremost first."""
        return [car for cars in self.streams.values() for car in cars]

    def arrive(self, seconds: float) -> None:
        """Let time pass: cars come and go."""
        if not (self._layout.lights or self._layout.all_way_stop):
            self._until -= seconds
            if self._until <= 0:
                self._busy = not self._busy
                times = _BUSY_TIMES if self._busy else _QUIET_TIMES
                self._until = float(self._source.uniform(*times))
        for name, cars in self.streams.items():
            if not self._busy:
                continue
            self._next[name] -= seconds
            if self._next[name] <= 0:
                self._next[name] = _HEADWAY + float(self._source.exponential(self._mean(name)))
                if not cars or cars[-1].s > _QUEUE_ENDS:
                    self._add(name, 0.0)
        gone = {id(car) for car in self.all if car.s > car.path.starts[-1] + _BEYOND}
        if gone:
            self._road.vehicles = [car for car in self._road.vehicles if id(car) not in gone]
            for name, cars in self.streams.items():
                self.streams[name] = [car for car in cars if id(car) not in gone]

    def give_way(self, seconds: float, walkers: Walkers, own: OwnCar) -> None:
        """Decide who may go, and put before each car what it has to heed."""
        for name, cars in self.streams.items():
            for car in cars:
                if name not in self._signs:
                    passes = self._passes(car, name)
                    starts = passes and not car.committed and car.speed < 1.0
                    car.reacts_in = REACTION if starts else max(0.0, car.reacts_in - seconds)
                    car.committed = passes
        if self._layout.all_way_stop:
            self._take_turns(seconds, walkers, own)
        elif self._signs:
            self._enter_gaps(seconds, walkers, own)
        for cars in self.streams.values():
            for i, car in enumerate(cars):
                self._lead(car, cars[:i], walkers, own)

    def remember(self, own: OwnCar) -> None:
        """Take note of cars that brake behind ours."""
        for car in self.all:
            if car.leader is own:
                braking = -float(car.action["acceleration"])
                self.hardest_braking = max(self.hardest_braking, braking)

    def _mean(self, name: str) -> float:
        if self._layout.all_way_stop or name in self._signs:
            return _AT_SIGNS
        return _AT_LIGHTS if self._layout.lights else _BUSY

    def _add(self, name: str, s: float) -> None:
        paths: tuple[Path, ...] = self._place.streams[name]
        path = paths[int(self._source.integers(len(paths)))]
        car = OtherCar(self._road, path, s, path.limits[0], name)
        car.randomize_behavior()
        self.streams[name].append(car)
        self._road.vehicles.append(car)

    def _colour(self, name: str) -> Colour:
        phase = self._clock.phase
        if phase is None:
            return "green"
        return phase.opposite if name == "opposite_car" else phase.crossing

    def _passes(self, car: OtherCar, name: str) -> bool:
        left = car.path.line - car.front
        if left <= -_OVER:
            return True
        if self._colour(name) == "green":
            return car.committed or not self._still_crossed(name)
        return car.committed and car.speed**2 > 2 * BRAKES * max(0.0, left)

    def _still_crossed(self, name: str) -> bool:
        """Whether somebody late from a crossing direction is still where the roads meet."""
        opposite = name == "opposite_car"
        return self._clock.phase is not None and any(
            car.committed and car.front > car.path.line and car.rear < car.path.leave
            for other, cars in self.streams.items()
            if (other == "opposite_car") != opposite
            for car in cars
        )

    def _waiting(self, seconds: float) -> list[OtherCar]:
        """The first cars at their stop signs that have stopped there, longest first."""
        found: list[OtherCar] = []
        for name in self._signs:
            first = next((car for car in self.streams[name] if not car.committed), None)
            if first is None:
                continue
            if first.speed < 0.3 and first.path.line - first.front < 2.5:
                first.waits += seconds
            if first.waits >= 1.0:
                found.append(first)
        return sorted(found, key=lambda car: (-car.waits, car.stream))

    def _take_turns(self, seconds: float, walkers: Walkers, own: OwnCar) -> None:
        waiting = self._waiting(seconds)
        if any(car.committed and car.rear < car.path.leave for car in self.all):
            return
        self._pause -= seconds
        if self._pause <= 0 and own.manoeuvre is None:
            for car in waiting:
                if self._way_is_clear(car, walkers):
                    car.committed = True
                    self._pause = float(self._source.uniform(*_PAUSE))
                    return

    def _enter_gaps(self, seconds: float, walkers: Walkers, own: OwnCar) -> None:
        main = [
            car for name, cars in self.streams.items() if name not in self._signs for car in cars
        ]
        for car in self._waiting(seconds):
            free = all(o.rear >= o.path.leave or o.arrival(o.path.enter) > GAP for o in main)
            if free and own.manoeuvre is None and self._way_is_clear(car, walkers):
                car.committed = True

    def _way_is_clear(self, car: OtherCar, walkers: Walkers) -> bool:
        return not any(
            walkers.in_the_way(arm, self._lane(car, near)) for arm, near, _ in car.path.walks
        )

    def _lane(self, car: OtherCar, near: float) -> float:
        return self._place.lane if near < car.path.enter else -self._place.lane

    def _lead(self, car: OtherCar, before: list[OtherCar], walkers: Walkers, own: OwnCar) -> None:
        """Find what a car drives behind: another car, its line, or a crosswalk in use."""
        line: Any = self._lines[car.path.lanes[0][0][0]]
        lanes, s, wanted = car.path.lanes, car.s, car.DISTANCE_WANTED
        found: list[tuple[float, Any]] = []
        ahead = next((o for o in reversed(before) if o.target_lane_index in lanes), None)
        if ahead is not None:
            found.append((ahead.s - s, ahead))
        if own.target_lane_index in lanes:
            at = car.path.s_of(self._road.network, own.target_lane_index, own.position)
            if at > s:
                found.append((at - s, own))
        front = s + CAR_LENGTH / 2
        held = not car.committed or car.reacts_in > 0
        if held and front < car.path.line + _OVER:
            found.append((max(1.0, car.path.line - _STOPS - front + wanted), line))
        for arm, near, _ in car.path.walks:
            left = near - front
            stoppable = left > 0 and car.speed**2 <= 2 * car.ACC_MAX * left
            if stoppable and left < 40 and walkers.in_the_way(arm, self._lane(car, near)):
                found.append((max(1.0, left - _BEFORE_WALK + wanted), line))
        car.gap, car.leader = min(found, key=lambda pair: pair[0], default=(np.inf, None))


def _has_to_wait(name: str, layout: Layout) -> bool:
    """Whether cars of a stream have a stop sign, or come from a minor road."""
    if layout.lights or layout.shape != "junction":
        return False
    if layout.all_way_stop:
        return True
    return name == "opposite_car" and (layout.has_sign or len(layout.cars) > 1)
