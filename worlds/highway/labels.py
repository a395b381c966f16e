"""What holds in a scene: labels from geometry and from the state of the simulation.

All of them speak about the place ahead: once our car has left it, nothing holds any more. None of
them looks at what the controller does. Lights and signs are those of our own road.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from worlds.highway.cars import OtherCar, OwnCar
from worlds.highway.objects import Pedestrian
from worlds.highway.signals import Phase
from worlds.simulation.layout import ARM_OF, ARROW, CARS, FLASHING, LIGHT, PEDESTRIANS, SIGN, Shape

LOOK_AHEAD = 6.5
"""Seconds within which the front of a car would have to reach the conflict area, accelerating as
on a free road up to the speed limit, to count as coming."""

SIGN_AHEAD = 30.0
"""Metres before the stop line from which our stop sign is seen."""

KERB = 1.5
"""Metres from the kerb within which a pedestrian is at it (where there is only a crossing)."""


def comes(car: OtherCar) -> bool:
    """Whether a car comes: it may go and would be in the conflict area soon, or is in it.

    The conflict area is the square in which the roads meet; at a roundabout, where our lane joins
    the ring. A car may go if its light is green, or it cannot stop any more, or its turn at the
    stop sign has come; one that waits or brakes for its light or sign does not come.
    """
    if car.rear > car.path.leave or not car.may_go:
        return False
    return car.arrival(car.path.enter) <= LOOK_AHEAD


def steps_on(walker: Pedestrian) -> bool:
    """Whether a pedestrian is on the road or decided to step onto it (1.5 s before, see
    `worlds.highway.walkers.STEP_OFF`)."""
    return walker.crossing


def at_kerb(walker: Pedestrian, side: int) -> bool:
    """Whether a pedestrian stands or walks at a kerb, not on the road: -1 left, 1 right."""
    beside = side * walker.across - walker.walk.half
    return 0.0 < beside <= KERB


def observe(
    propositions: Iterable[str],
    shape: Shape,
    own: OwnCar,
    phase: Phase | None,
    sign_shown: bool,
    streams: Mapping[str, list[OtherCar]],
    walkers: Iterable[Pedestrian],
) -> frozenset[str]:
    """The propositions that hold.

    Args:
        propositions: Which of them can be observed.
        shape: Of the place.
        own: Our car.
        phase: Of the lights, if there are any.
        sign_shown: Whether our stop sign, if there is one, is shown.
        streams: Other cars by the proposition that they can make true.
        walkers: Everybody on foot.
    """
    people = list(walkers)
    tests: dict[str, Callable[[], bool]] = {
        LIGHT: lambda: phase is not None and phase.own == "green",
        ARROW: lambda: phase is not None and phase.arrow == "green",
        FLASHING: lambda: phase is not None and phase.arrow == "flashing",
        SIGN: lambda: sign_shown and own.path.line - own.front <= SIGN_AHEAD,
    }
    for name in CARS:
        tests[name] = lambda name=name: any(comes(car) for car in streams.get(name, ()))
    for name in PEDESTRIANS:
        tests[name] = lambda name=name: any(_is_at(name, shape, walker) for walker in people)
    return frozenset(name for name in propositions if tests[name]())


def _is_at(name: str, shape: Shape, walker: Pedestrian) -> bool:
    if shape != "crossing":
        return walker.walk.arm == ARM_OF[name] and steps_on(walker)
    if name == "pedestrian_in_front":
        return walker.on_road
    return at_kerb(walker, -1 if name == "pedestrian_at_left" else 1)
