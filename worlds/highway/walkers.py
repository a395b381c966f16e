"""Pedestrians: when they come, when they step off the kerb, and whom they are in the way of.

At lights they obey their own signal, apart from those who are late. Elsewhere they look for a gap
between the cars. Nobody steps in front of a car of ours that is already making its manoeuvre; but
whoever is on the road walks on, whatever our car does.
"""

from __future__ import annotations

import numpy as np
from highway_env.road.road import Road

from worlds.highway.cars import ACCELERATION, OtherCar, OwnCar, free_arrival
from worlds.highway.objects import Pedestrian
from worlds.highway.places import ROAD_SPEED, Place
from worlds.highway.signals import Clock
from worlds.simulation.layout import Layout

STEP_OFF = 1.5
"""Seconds before stepping onto the road at which a pedestrian decides to do so, if there is no
reason to wait."""

LATE_SHARE = 0.25
"""Share of the pedestrians who still step off the kerb when their light has just turned red."""

CAR_GAP = 3.0
"""Seconds that another car must be away for a pedestrian to step onto the road."""

OWN_MARGIN = 1.0
"""Seconds by which a pedestrian wants to be across before our car, which makes its manoeuvre."""

_AT_LIGHTS, _ELSEWHERE = 8.5, 20.0  # mean seconds between the pedestrians of a crosswalk
_MOST = 4  # pedestrians of a crosswalk at a time
_PASSED = 2.3  # metres from the middle of a lane behind which it is free again


class Walkers:
    """Everybody on foot.

    Args:
        layout: Says where there are pedestrians.
        place: Its crosswalks.
        road: Where they are put as objects.
        source: Of all randomness.
    """

    def __init__(
        self, layout: Layout, place: Place, road: Road, source: np.random.Generator
    ) -> None:
        self._place, self._road, self._source = place, road, source
        self._crossing = place.shape == "crossing"
        at_lights = bool(layout.lights) and not self._crossing
        self._mean = _AT_LIGHTS if at_lights else _ELSEWHERE
        self._sides = [
            side
            for name, side in (("pedestrian_at_left", 1), ("pedestrian_at_right", -1))
            if name in layout.pedestrians
        ]
        self.all: list[Pedestrian] = []
        self._next = {arm: float(source.exponential(self._mean)) for arm in place.walks}

    def step(self, seconds: float, clock: Clock, cars: list[OtherCar], own: OwnCar) -> None:
        """Let everybody come, decide and walk."""
        for arm in self._next:
            self._next[arm] -= seconds
            if self._next[arm] <= 0:
                self._next[arm] = 1.0 + float(self._source.exponential(self._mean))
                if sum(p.walk.arm == arm for p in self.all) < _MOST:
                    self._come(arm)
        for walker in self.all:
            if not walker.going and walker.to_kerb <= STEP_OFF * walker.pace:
                walker.going = (
                    walker.patience <= 0
                    and _signal_allows(walker, clock)
                    and _gap(walker, cars)
                    and not _own_comes(walker, own)
                )
            walker.step(seconds)
        if any(walker.gone for walker in self.all):
            self.all = [walker for walker in self.all if not walker.gone]
            self._road.objects = [o for o in self._road.objects if not _is_gone(o)]

    def in_the_way(self, arm: str, lane: float) -> bool:
        """Whether somebody crosses an arm and has not yet passed a lane of it.

        Args:
            arm: Which one.
            lane: Metres of the lane's middle from the arm's, positive for the lane towards the
                place.
        """
        return any(
            walker.crossing and walker.walk.arm == arm and walker.u - walker.sense * lane < _PASSED
            for walker in self.all
        )

    def _come(self, arm: str) -> None:
        source = self._source
        direction = self._sides[0] if self._crossing and len(self._sides) == 1 else 0
        direction = direction or (1 if source.random() < 0.5 else -1)
        walker = Pedestrian(
            self._road,
            self._place.walks[arm],
            direction,
            speed=float(source.uniform(1.15, 1.5)),
            late=bool(source.random() < LATE_SHARE),
            # At a crossing of their own people wait for the cars to notice them.
            patience=float(source.uniform(3.5, 5.5)) if self._crossing else 0.0,
            away=float(source.uniform(3.0, 5.0)),
            aside=float(source.uniform(-0.9, 0.9)),
        )
        self.all.append(walker)
        self._road.objects.append(walker)


def _is_gone(thing: object) -> bool:
    return isinstance(thing, Pedestrian) and thing.gone


def _signal_allows(walker: Pedestrian, clock: Clock) -> bool:
    phase = clock.phase
    if phase is None:
        return True
    return walker.walk.arm in (phase.late if walker.late else phase.walk)


def _gap(walker: Pedestrian, cars: list[OtherCar]) -> bool:
    """Whether no other car is on the crosswalk or about to be."""
    for car in cars:
        for arm, near, far in car.path.walks:
            if arm != walker.walk.arm or car.rear > far:
                continue
            stops_before = not car.may_go and near > car.path.line
            if stops_before or (car.speed < 0.3 and car.front < near):
                continue
            if car.arrival(near) < CAR_GAP:
                return False
    return True


def _own_comes(walker: Pedestrian, own: OwnCar) -> bool:
    """Whether our car makes a manoeuvre that ends before the walker would be across."""
    if own.manoeuvre is None:
        return False
    across = (2 * walker.walk.half + max(0.0, walker.to_kerb)) / walker.pace
    return any(
        arm == walker.walk.arm
        and own.rear < far
        and free_arrival(near - own.front, own.speed, ROAD_SPEED, ACCELERATION)
        < across + OWN_MARGIN
        for arm, near, far in own.path.walks
    )
