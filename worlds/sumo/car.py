"""Our car: how far it has come and how fast it goes. SUMO is told its speed and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

ACCELERATION, DECELERATION = 3.0, 3.0
"""Metres per second squared, in every manoeuvre."""

CRUISE = 8.33
"""Metres per second, where nothing asks for less."""

PLACE_SPEED = {"turn_left": 6.0, "turn_right": 5.0, "go_straight": CRUISE}
"""Metres per second within the place."""

START_GAP, STOP_GAP = 10.0, 1.0
"""Metres from the front of the car to the stop line: at the start, and where it stops."""

AT_LINE = 2.5
"""A car whose front is at most so many metres before the stop line is at it."""

BEYOND = 8.0
"""Metres behind the place at which the front of the car has left it, and with it the whole car."""


@dataclass(frozen=True)
class Course:
    """The way of a manoeuvre, in metres from the start of the car's road.

    Attributes:
        line: The stop line.
        inner: From the stop line to the far side of the place.
        speed: Metres per second within the place.
    """

    line: float
    inner: float
    speed: float

    @property
    def end(self) -> float:
        """Where the car has left the place."""
        return self.line + self.inner + BEYOND


def speed_through(course: Course, position: float) -> float:
    """Speed that a car on a manoeuvre wants, so that it enters the place at the place's speed."""
    if position < course.line:
        entering = math.sqrt(course.speed**2 + 2 * DECELERATION * (course.line - position))
        return min(CRUISE, entering)
    return course.speed if position < course.line + course.inner else CRUISE


def speed_to_stop(gap: float, step: float) -> float:
    """Fastest speed from which a car that moves in steps still stops within ``gap`` metres."""
    braked = DECELERATION * step
    return min(CRUISE, math.sqrt(braked**2 + 2 * DECELERATION * max(gap, 0.0)) - braked)


def next_speed(speed: float, wanted: float, step: float) -> float:
    """The wanted speed, as far as a step of acceleration or braking goes."""
    slowest, fastest = speed - DECELERATION * step, speed + ACCELERATION * step
    return max(0.0, slowest, min(wanted, fastest))


def speed_behind(gap: float, speed: float, step: float) -> float:
    """Fastest speed at which a car can still stop behind one that brakes.

    Args:
        gap: Metres between the two.
        speed: Of the one ahead, metres per second.
        step: Seconds.
    """
    return speed_to_stop(gap + speed**2 / (2 * DECELERATION), step)
