"""What our car has hit: SUMO's report on cars, geometry for pedestrians."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from worlds.sumo.engine import sumo
from worlds.sumo.traffic import CAR_LENGTH, CAR_WIDTH, US

BODY = 0.25
"""Radius of a pedestrian, metres."""


def collision_of(speed: float, crosswalks: Collection[str]) -> Literal["car", "pedestrian"] | None:
    """What our car hits in this moment, if anything.

    Args:
        speed: Of our car; nobody is hit by a car that stands.
        crosswalks: Edges on which pedestrians are on the road; on the pavement they are safe.
    """
    if speed <= 0:
        return None
    if any(
        US in (c.collider, c.victim) and "car" in (c.colliderType, c.victimType)
        for c in sumo.simulation.getCollisions()
    ):
        return "car"
    front, angle = sumo.vehicle.getPosition(US), math.radians(sumo.vehicle.getAngle(US))
    for walker in sumo.person.getIDList():
        if sumo.person.getRoadID(walker) not in crosswalks:
            continue
        if overlaps(front, angle, sumo.person.getPosition(walker), BODY):
            return "pedestrian"
    return None


def overlaps(
    front: tuple[float, float], angle: float, centre: tuple[float, float], radius: float
) -> bool:
    """Whether a circle meets the outline of a car.

    Args:
        front: Middle of the car's front, metres.
        angle: Its direction, radians clockwise from the north.
        centre: Of the circle.
        radius: Of the circle, metres.
    """
    x, y = centre[0] - front[0], centre[1] - front[1]
    ahead = x * math.sin(angle) + y * math.cos(angle)
    aside = x * math.cos(angle) - y * math.sin(angle)
    before = max(ahead, -CAR_LENGTH - ahead, 0.0)
    beside = max(abs(aside) - CAR_WIDTH / 2, 0.0)
    return math.hypot(before, beside) < radius
