"""Practice worlds: small random places for training, made from a seed.

A place has some lights, some traffic that may be in the way, and perhaps a stop sign; everything
may follow everything, and a moment in which the way is clear comes again and again. So the only
thing to learn is which observations matter for which manoeuvre. Worlds that are held out for
evaluation are excluded by what can be observed there, not by name.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from verifier.vocabulary import Vocabulary

LIGHT, ARROW, FLASHING = "green_traffic_light", "green_left_turn_light", "flashing_left_turn_light"
SIGN = "stop_sign"
CARS = ("opposite_car", "car_from_left", "car_from_right")
PEDESTRIANS = ("pedestrian_at_left", "pedestrian_at_right", "pedestrian_in_front")

_LIGHTS = ((), (), (), (LIGHT,), (LIGHT,), (LIGHT,), (ARROW, FLASHING), (LIGHT, ARROW))
_PLACES = (
    *("the market square", "the harbour road", "the old mill", "the town hall", "the bakery"),
    *("the fire station", "the stadium", "the river road", "the park gate", "the library"),
    *("the hill road", "the village green", "the hospital", "the museum", "the castle road"),
    *("the railway station", "the farm lane", "the shopping street", "the north gate"),
    "the church",
    # Names that mention a direction or a light say nothing about the manoeuvre or the world.
    *("the bend to the left", "the bend to the right", "the lane with the right-turn sign"),
    *("the lane with the left-turn sign", "the road that leads straight to the sea"),
    *("the arrow on the road", "the left bank of the river", "the right-hand car park"),
    *("the signal box", "the green bridge", "the lights of the fairground", "the motorway bridge"),
    *("the taxi rank", "the tram stop", "the road works", "the steep ramp"),
)


@dataclass(frozen=True)
class PracticeWorld:
    """A random place.

    Attributes:
        scenario: The content of its world file (the form by rule).
        place: What to call it in a task ("the harbour road").
    """

    scenario: dict[str, Any]
    place: str

    @property
    def name(self) -> str:
        """The world's name."""
        return self.scenario["name"]

    @property
    def propositions(self) -> tuple[str, ...]:
        """What can be observed there."""
        return tuple(self.scenario["propositions"])

    @property
    def actions(self) -> tuple[str, ...]:
        """Manoeuvres that can be made there within the road book."""
        return tuple(self.scenario["actions"])


def practice_worlds(
    count: int,
    seed: int,
    vocabulary: Vocabulary,
    *,
    fewest: int = 1,
    most: int = 8,
    excluded: Collection[frozenset[str]] = (),
) -> tuple[PracticeWorld, ...]:
    """``count`` worlds with different observations, the same ones for the same arguments.

    Args:
        count: How many; fewer come back if there are not so many different ones.
        seed: Fixes every choice.
        vocabulary: The driving vocabulary; gives the order of propositions.
        fewest: Propositions of a world at least.
        most: Propositions of a world at most.
        excluded: Sets of propositions that no world may have.
    """
    source = random.Random(f"practice {seed}")
    places = random.Random(f"places {seed}").sample(_PLACES, len(_PLACES))
    taken = set(excluded)
    worlds: list[PracticeWorld] = []
    for _ in range(200 * count):
        if len(worlds) == count:
            break
        seen = _observations(source, fewest, most)
        if seen is None or seen in taken:
            continue
        taken.add(seen)
        name = f"practice_{seed}_{len(worlds) + 1:02}"
        place = places[len(worlds) % len(places)]
        worlds.append(PracticeWorld(_scenario(name, place, seen, vocabulary), place))
    return tuple(worlds)


def _observations(source: random.Random, fewest: int, most: int) -> frozenset[str] | None:
    """A set of propositions that makes a place, or None."""
    lights = source.choice(_LIGHTS)
    hazards = [name for name in (*CARS, *PEDESTRIANS) if source.random() < 0.5]
    signed = not lights and source.random() < 0.4
    size = len(lights) + len(hazards) + signed
    if not hazards or not fewest <= size <= most:
        return None
    return frozenset((*lights, *hazards, *((SIGN,) if signed else ())))


def _scenario(
    name: str, place: str, seen: frozenset[str], vocabulary: Vocabulary
) -> dict[str, Any]:
    ordered = [p for p in vocabulary.proposition_names if p in seen]
    hazards = [p for p in ordered if p in (*CARS, *PEDESTRIANS)]
    return {
        "name": name,
        "text": f"A random place for practice, called {place}.",
        "actions": list(_actions(seen)),
        "propositions": ordered,
        "invariants": list(_invariants(seen)),
        "assumptions": [
            "GF(" + " & ".join((*clear, *(f"!{p}" for p in hazards))) + ")"
            for clear in _clear_moments(seen)
        ],
    }


def _actions(seen: frozenset[str]) -> Iterator[str]:
    # Only a left-turn lane has arrows and no other light.
    if LIGHT in seen or not seen & {ARROW, FLASHING}:
        yield from ("turn_left", "turn_right", "go_straight")
    else:
        yield "turn_left"


def _invariants(seen: frozenset[str]) -> Iterator[str]:
    for one, other in ((ARROW, FLASHING), (LIGHT, ARROW)):
        if seen >= {one, other}:
            yield f"!({one} & {other})"
    if SIGN in seen and seen & {*CARS}:
        yield SIGN  # a junction's sign stands there always, a crossing guard's does not


def _clear_moments(seen: frozenset[str]) -> list[tuple[str, ...]]:
    """Lights and signs in the moments that come again and again."""
    lights = [p for p in (LIGHT, ARROW, FLASHING) if p in seen]
    if lights:
        return [(light,) for light in lights]
    if SIGN in seen and not seen & {*CARS}:
        return [(f"!{SIGN}",)]
    return [()]
