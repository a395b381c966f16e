"""What a simulator has to put into a place: derived from the hand-written scenario of that place.

A scenario says in rules what can happen; a layout says which things a simulator needs so that
what can be observed in the scenario can be observed in the simulation.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from verifier.errors import InputError
from verifier.vocabulary import Vocabulary
from worlds.load import load_scenario, load_world

Shape = Literal["junction", "roundabout", "crossing"]

LIGHT, ARROW, FLASHING = "green_traffic_light", "green_left_turn_light", "flashing_left_turn_light"
SIGN = "stop_sign"
CARS = ("opposite_car", "car_from_left", "car_from_right")
PEDESTRIANS = ("pedestrian_at_left", "pedestrian_at_right", "pedestrian_in_front")

ARM_OF = {
    "opposite_car": "N",
    "car_from_left": "W",
    "car_from_right": "E",
    "pedestrian_in_front": "S",
    "pedestrian_at_left": "W",
    "pedestrian_at_right": "E",
}
"""Where those come from, or which arm they cross, who make a proposition true; ours is S."""

EXIT_OF = {"turn_left": "W", "go_straight": "N", "turn_right": "E"}
"""The arm by which a manoeuvre leaves the place."""

_ALL = ("turn_left", "turn_right", "go_straight")
_ROUNDABOUTS = {"roundabout"}
_ALL_WAY = {"all_way_stop"}


@dataclass(frozen=True)
class Layout:
    """The things at a place.

    Attributes:
        scenario: Of which it is the layout: a shipped name or the path of a world file.
        shape: ``junction`` of four roads, ``roundabout``, or ``crossing`` of a straight road.
        propositions: What can be observed, in the vocabulary's order.
        actions: Manoeuvres that can be made.
        all_way_stop: Every road has a stop sign, not only the car's.
    """

    scenario: str
    shape: Shape
    propositions: tuple[str, ...]
    actions: tuple[str, ...]
    all_way_stop: bool = False

    @property
    def lights(self) -> tuple[str, ...]:
        """Light propositions that can be observed: with none, there are no lights."""
        return tuple(p for p in self.propositions if p in (LIGHT, ARROW, FLASHING))

    @property
    def has_sign(self) -> bool:
        """Whether the car's road has a stop sign, or a guard with one."""
        return SIGN in self.propositions

    @property
    def has_guard(self) -> bool:
        """Whether the sign is held up by somebody: one that stands there needs cars to yield to."""
        return self.has_sign and not self.cars

    @property
    def cars(self) -> tuple[str, ...]:
        """Where other cars come from, as propositions."""
        return tuple(p for p in self.propositions if p in CARS)

    @property
    def pedestrians(self) -> tuple[str, ...]:
        """Where pedestrians walk, as propositions."""
        return tuple(p for p in self.propositions if p in PEDESTRIANS)


def layout_of(scenario: str | Path, vocabulary: Vocabulary, *, buildable: bool = True) -> Layout:
    """The layout of a shipped scenario or of a world file.

    Args:
        scenario: Which.
        vocabulary: The domain.
        buildable: Whether somebody will have to put its things into a place.

    Raises:
        InputError: No such scenario, or one that speaks of things that cannot be built.
    """
    name = str(scenario)
    world = load_world(scenario, vocabulary)
    actions = load_scenario(scenario, vocabulary).actions or (
        "turn_left",
        "turn_right",
        "go_straight",
    )
    seen: Set[str] = set(world.propositions)
    known = {LIGHT, ARROW, FLASHING, SIGN, *CARS, *PEDESTRIANS}
    if buildable and seen - known:
        raise InputError(
            f"the world {name} has {min(seen - known)}, which cannot be simulated",
            remedy=f"simulators know {', '.join(sorted(known))}",
        )
    own = Path(name).stem
    shape: Shape = "junction"
    if own in _ROUNDABOUTS:
        shape = "roundabout"
    elif actions == ("go_straight",) and not seen & {*CARS}:
        shape = "crossing"
        if buildable and SIGN in seen:
            raise InputError(
                f"the world {name} has a crossing guard, who cannot be simulated",
                remedy="choose another one: specdrive simulate --list",
            )
    propositions = tuple(p for p in vocabulary.proposition_names if p in seen)
    return Layout(name, shape, propositions, actions, own in _ALL_WAY)
