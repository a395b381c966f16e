"""Labels: what holds, read from SUMO's state.

The definitions, in metres and seconds (`docs/simulated_worlds_sumo.md` says more):

* Lights are what SUMO's signal shows for our own movements: straight on (or right, where no road
  goes straight on) for ``green_traffic_light``; to the left ``G`` for ``green_left_turn_light``
  and ``g`` for ``flashing_left_turn_light``. ``stop_sign`` is a sign at most `SIGN_AHEAD` ahead.
* ``opposite_car``, ``car_from_left`` and ``car_from_right``: a car of that arm is within the
  junction; or on its way there with green light, with yellow that it cannot stop for, or without
  any light or sign, and can be there in `LOOK_AHEAD` seconds at its own acceleration and speed.
  Crossing cars that still have red count from when light and way allow them to be there in
  `LOOK_AHEAD` seconds. A car that has to stop at its own sign counts from when it enters; where
  drivers take turns, from when it has its turn.
  On a roundabout, ``car_from_left`` is a car in the circle, or one that is about to enter it,
  that passes our entry and can be there in `LOOK_AHEAD` seconds.
* Pedestrians are in front, at the left or at the right from `STEP_ONTO` seconds before they step
  onto the crosswalk over our own road, the road that a left turn enters, or the one that a right
  turn enters, until they leave it; those who wait for their light do not step onto it. At a
  crossing, in front is on the carriageway, and left and right are the kerbs: at most `AT_KERB`
  metres beside the carriageway (both constants: `worlds.sumo.walkers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from worlds.simulation.layout import ARM_OF, ARROW, FLASHING, LIGHT, SIGN, Layout
from worlds.sumo.engine import signals, sumo
from worlds.sumo.network import Network
from worlds.sumo.roads import PLACE, RING_SPEED, ROAD_SPEED
from worlds.sumo.signals import seconds_to_green
from worlds.sumo.traffic import US
from worlds.sumo.walkers import Walkers

LOOK_AHEAD = 6.5
"""Seconds: whoever starts from the start position gets out of the way of others in this time."""

SIGN_AHEAD = 30.0
"""Metres."""

_ACCELERATION, _BRAKING = 2.6, 4.5  # of cars, as in `traffic`
_STANDING = 0.3  # metres per second
_LEFT_OF = {"S": "W", "W": "N", "N": "E", "E": "S"}
_RIGHT_OF = {left: arm for arm, left in _LEFT_OF.items()}


def direction(start: str, end: str) -> str:
    """``l``, ``s`` or ``r``: which way it is from one arm to another."""
    return {_LEFT_OF[start]: "l", _RIGHT_OF[start]: "r"}.get(end, "s")


def seconds_away(distance: float, speed: float, top: float = ROAD_SPEED) -> float:
    """Seconds until a car can be ``distance`` metres further on, accelerating to ``top``."""
    top = max(top, speed)
    speeding_up = (top**2 - speed**2) / (2 * _ACCELERATION)
    if distance <= speeding_up:
        return (math.sqrt(speed**2 + 2 * _ACCELERATION * distance) - speed) / _ACCELERATION
    return (top - speed) / _ACCELERATION + (distance - speeding_up) / top


@dataclass(frozen=True)
class Observer:
    """Reads labels from the running simulation.

    Attributes:
        layout: What there is.
        network: Where it is.
    """

    layout: Layout
    network: Network

    @property
    def walkers(self) -> Walkers:
        """Who reads the pedestrians."""
        return Walkers(self.layout, self.network)

    def label(self, to_line: float, turn: str | None) -> frozenset[str]:
        """The propositions that hold.

        Args:
            to_line: Metres from the front of our car to its stop line; negative behind it, where
                no light or sign is ahead.
            turn: The car that has its turn to enter the junction, if drivers take turns.
        """
        found = {*self._cars(turn), *self.walkers.seen().values()}
        if to_line >= 0:
            found.update(self._lights())
            if to_line <= SIGN_AHEAD:
                found.add(SIGN)
        return frozenset(found.intersection(self.layout.propositions))

    def _lights(self) -> Iterator[str]:
        links = self.network.links
        if not links:
            return
        state = signals()
        ahead = state[links["Ss" if "Ss" in links else "Sr"]]
        if ahead in "Gg":
            yield LIGHT
        left = state[links["Sl"]] if "Sl" in links else "r"
        if left == "G":
            yield ARROW
        if left == "g":
            yield FLASHING

    def _cars(self, turn: str | None) -> Iterator[str]:
        if not self.layout.cars:
            return
        if self.layout.shape == "roundabout":
            if any(self._in_circle(car) for car in sumo.vehicle.getIDList() if car != US):
                yield "car_from_left"
            return
        named = {ARM_OF[name]: name for name in self.layout.cars}
        for car in sumo.vehicle.getIDList():
            if car != US and (car == turn or self._comes(car)):
                yield named[car[0]]

    def _comes(self, car: str) -> bool:
        """Whether a car has entered the junction or is on its way there; see above."""
        start, end = car[0], car[1]
        edge = sumo.vehicle.getRoadID(car)
        if edge != f"in_{start}":
            return edge.startswith(":")
        gap = self.network.car_lanes[edge].length - sumo.vehicle.getLanePosition(car)
        speed = sumo.vehicle.getSpeed(car)
        away = seconds_away(gap, speed)
        if away > LOOK_AHEAD:
            return False
        if not self.layout.lights:
            return not self._has_sign(start)
        movement = start + direction(start, end)
        signal = signals()[self.network.links[movement]]
        if signal in "Gg":
            return True
        if signal == "y":
            return speed**2 / (2 * _BRAKING) > gap
        if start == "N" and signals()[self.network.links["Ss"]] not in "Gg":
            return False  # it gets green with us, or after us
        green = seconds_to_green(
            self.network.phases,
            sumo.trafficlight.getPhase(PLACE),
            sumo.trafficlight.getNextSwitch(PLACE) - sumo.simulation.getTime(),
            movement,
        )
        return (green + away if speed < _STANDING else max(green, away)) <= LOOK_AHEAD

    def _has_sign(self, arm: str) -> bool:
        return self.layout.all_way_stop or (self.layout.has_sign and arm == "N")

    def _in_circle(self, car: str) -> bool:
        edges = sumo.vehicle.getRoute(car)
        if "ring_SE" not in edges or edges[0] == "in_S":
            return False
        edge = sumo.vehicle.getRoadID(car)
        if edge.startswith(":JS"):
            return True
        distance = sumo.vehicle.getDrivingDistance(car, "ring_SE", 0.0)
        inner = self.network.inner_lanes(("ring_WS", "ring_SE"))
        gap = distance - sum(lane.length for lane in inner)
        if distance < 0 or edge == "in_N":
            return False
        return seconds_away(max(gap, 0.0), sumo.vehicle.getSpeed(car), RING_SPEED) <= LOOK_AHEAD
