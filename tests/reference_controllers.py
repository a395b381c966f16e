"""Reference controllers: in every shipped world, for every manoeuvre that makes sense there."""

from functools import cache

from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.rules import load_rules, progress_specification
from verifier.semantics import SHIPPED
from verifier.verdicts import Verdict
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

VOCABULARY = load_vocabulary()
ROAD = load_rules("road", VOCABULARY)

LEFT = (
    "!opposite_car & !car_from_left & !car_from_right & !pedestrian_at_left & !pedestrian_in_front"
)
RIGHT = "!car_from_left & !pedestrian_at_right & !pedestrian_in_front"
STRAIGHT = "!car_from_left & !car_from_right & !pedestrian_in_front"
KERBS = "!pedestrian_at_left & !pedestrian_at_right"
GREEN = "green_traffic_light"

REFERENCE = {
    ("all_way_stop", "turn_left"): LEFT,
    ("all_way_stop", "turn_right"): RIGHT,
    ("all_way_stop", "go_straight"): STRAIGHT,
    ("driveway_exit", "turn_left"): STRAIGHT,
    ("driveway_exit", "turn_right"): "!car_from_left & !pedestrian_in_front",
    ("exit_ramp", "turn_left"): f"{GREEN} & {STRAIGHT} & !pedestrian_at_left",
    ("exit_ramp", "turn_right"): RIGHT,
    ("free", "turn_left"): f"{GREEN} & {LEFT} & !stop_sign",
    ("free", "turn_right"): f"{RIGHT} & !stop_sign",
    ("free", "go_straight"): f"{GREEN} & {STRAIGHT} & !stop_sign",
    ("highway_merge", "go_straight"): f"{GREEN} & !car_from_left",
    ("left_turn_light", "turn_left"): (
        "(green_left_turn_light | (flashing_left_turn_light & !opposite_car))"
        " & !pedestrian_at_left & !pedestrian_in_front"
    ),
    ("light_with_left_arrow", "turn_left"): (
        f"(green_left_turn_light | ({GREEN} & !opposite_car))"
        " & !car_from_left & !pedestrian_at_left & !pedestrian_in_front"
    ),
    ("light_with_left_arrow", "turn_right"): RIGHT,
    ("light_with_left_arrow", "go_straight"): f"{GREEN} & !car_from_left & !pedestrian_in_front",
    ("paper_traffic_light", "turn_left"): f"{GREEN} & !opposite_car & !pedestrian_at_left",
    ("paper_traffic_light", "turn_right"): "!car_from_left & !pedestrian_at_right",
    ("paper_traffic_light", "go_straight"): GREEN,
    ("paper_wide_median", "turn_left"): "!car_from_left & !car_from_right",
    ("paper_wide_median", "turn_right"): "!car_from_left",
    ("paper_wide_median", "go_straight"): "!car_from_left & !car_from_right",
    ("pedestrian_crossing", "go_straight"): f"{KERBS} & !pedestrian_in_front",
    ("roundabout", "turn_left"): "!car_from_left & !pedestrian_at_left & !pedestrian_in_front",
    ("roundabout", "turn_right"): RIGHT,
    ("roundabout", "go_straight"): "!car_from_left & !pedestrian_in_front",
    ("school_crossing", "go_straight"): f"{KERBS} & !pedestrian_in_front & !stop_sign",
    ("signalised_crossing", "go_straight"): f"{GREEN} & !pedestrian_in_front",
    ("t_junction", "turn_left"): "!car_from_left & !car_from_right & !pedestrian_at_left",
    ("t_junction", "turn_right"): "!car_from_left & !pedestrian_at_right",
    ("traffic_light", "turn_left"): f"{GREEN} & {LEFT}",
    ("traffic_light", "turn_right"): RIGHT,
    ("traffic_light", "go_straight"): f"{GREEN} & {STRAIGHT}",
    ("two_way_stop", "turn_left"): LEFT,
    ("two_way_stop", "turn_right"): RIGHT,
    ("two_way_stop", "go_straight"): STRAIGHT,
    # Where children wait, the guard may raise the sign after we have stopped without it.
    ("universal", "turn_right"): f"{RIGHT} & !pedestrian_at_left",
    ("unprotected_left_turn", "turn_left"): (
        f"{GREEN} & !opposite_car & !pedestrian_at_left & !pedestrian_in_front"
    ),
    ("unprotected_left_turn", "go_straight"): f"{GREEN} & !pedestrian_in_front",
}
"""(world, action): when a careful driver who has stopped and looked makes the manoeuvre.

No guard says too much: without any one of its conjuncts a rule is broken.
"""


def reference_controller(world: str, action: str) -> Controller:
    """A controller that satisfies `road` and ``F action`` in a shipped world."""
    return stop_then(REFERENCE[world, action], action)


def stop_then(guard: str, action: str) -> Controller:
    """Stop; then wait for ``guard`` and do ``action``; then from the beginning."""
    return Controller(0, 2, (Transition(0, "true", "stop", 1), Transition(1, guard, action, 2)))


def always(action: str) -> Controller:
    """Nothing but ``action``."""
    return Controller(0, 1, (Transition(0, "true", action, 1),))


@cache
def road_checker(world: str, action: str) -> Checker:
    """Checks `road` and ``F action`` under the profile `default`."""
    rules = ROAD.with_specification(progress_specification(action))
    return Checker(load_world(world, VOCABULARY), rules, SHIPPED["default"], VOCABULARY)


def verdicts(world: str, action: str, controller: Controller) -> tuple[Verdict, ...]:
    """The verdicts of `road_checker`; the last one is that of ``F action``."""
    return road_checker(world, action).check(controller, counterexamples=False).verdicts


def broken(world: str, action: str, controller: Controller) -> set[str]:
    """Ids of the rules that are violated."""
    rows = verdicts(world, action, controller)
    assert all(row.value != "unknown" for row in rows)
    return {row.id for row in rows if row.value == "violated"}


def strict_success(world: str, action: str, controller: Controller) -> bool:
    """Whether no rule is violated and the manoeuvre is made, not vacuously."""
    *_, progress = verdicts(world, action, controller)
    return not broken(world, action, controller) and progress.value == "satisfied"
