"""The rule book `road` in every scenario: good driving passes, thoughtless driving does not."""

from itertools import combinations

import pytest
from reference_controllers import (
    GREEN,
    KERBS,
    REFERENCE,
    RIGHT,
    ROAD,
    STRAIGHT,
    VOCABULARY,
    always,
    broken,
    reference_controller,
    stop_then,
    strict_success,
)

from verifier.automata import make_alphabet, world_automaton
from verifier.bindings import spot
from verifier.controller import Controller, Transition
from verifier.semantics import SHIPPED
from worlds.load import load_world, sensible_actions, shipped_worlds

PEDESTRIANS_LEFT = "!pedestrian_at_left & !pedestrian_in_front"
NOBODY_LEFT = f"!opposite_car & {PEDESTRIANS_LEFT}"
MOVES = ("turn_left", "turn_right", "go_straight")


def test_every_sensible_manoeuvre_has_a_reference():
    assert set(REFERENCE) == {
        (world, action)
        for world in shipped_worlds()
        for action in sensible_actions(world, VOCABULARY)
    }


@pytest.mark.parametrize(("world", "action"), REFERENCE)
class TestEveryManoeuvre:
    def test_reference_succeeds(self, world, action):
        controller = reference_controller(world, action)
        assert broken(world, action, controller) == set()
        assert strict_success(world, action, controller)

    def test_every_conjunct_is_needed(self, world, action):
        guard = spot.formula(REFERENCE[world, action])
        conjuncts = list(guard) if guard._is(spot.op_And) else [guard]
        for dropped in conjuncts:
            rest = spot.formula.And([c for c in conjuncts if c != dropped])
            assert broken(world, action, stop_then(str(rest), action)), f"without {dropped}"

    def test_always_moving_breaks_a_rule(self, world, action):
        for move in MOVES:
            assert broken(world, action, always(move)) - {f"progress_{action}"}

    def test_always_stopping_breaks_none_and_never_succeeds(self, world, action):
        # Rules of the road say when not to move; the task is what asks for progress.
        for idle in (always("stop"), always("epsilon")):
            assert broken(world, action, idle) == {f"progress_{action}"}


@pytest.mark.parametrize("action", MOVES)
@pytest.mark.parametrize("world", ["two_way_stop", "all_way_stop"])
class TestStopSigns:
    def test_rolling_through_is_a_violation(self, world, action):
        rolling = Controller(0, 1, (Transition(0, REFERENCE[world, action], action, 1),))
        assert "stop_before_entering" in broken(world, action, rolling)

    def test_one_stop_does_not_last_for_ever(self, world, action):
        guard = REFERENCE[world, action]
        first_only = Controller(
            0, 2, (Transition(0, "true", "stop", 1), Transition(1, guard, action, 1))
        )
        assert "stop_before_entering" in broken(world, action, first_only)

    def test_going_straight_is_possible(self, world, action):
        # phi_3 of the paper's book forbids it for ever where there is no traffic light.
        assert strict_success(world, action, reference_controller(world, action))


def test_right_turn_on_red_only_from_a_stop():
    rolling = Controller(0, 1, (Transition(0, RIGHT, "turn_right", 1),))
    assert "right_on_red_after_stop" in broken("traffic_light", "turn_right", rolling)
    first_only = Controller(
        0, 2, (Transition(0, "true", "stop", 1), Transition(1, RIGHT, "turn_right", 1))
    )
    assert "right_on_red_after_stop" in broken("traffic_light", "turn_right", first_only)


def test_flashing_arrow_does_not_protect():
    guard = "flashing_left_turn_light & !pedestrian_at_left & !pedestrian_in_front"
    controller = stop_then(guard, "turn_left")
    assert broken("left_turn_light", "turn_left", controller) == {"yield_to_opposite"}


def test_checks_made_too_early_are_found():
    # The paper's example before fine-tuning: look at the car, then at the pedestrian, then turn.
    early = Controller(
        0,
        3,
        (
            Transition(0, "true", "epsilon", 1),
            Transition(1, "!car_from_left", "epsilon", 2),
            Transition(2, "!pedestrian_at_right", "turn_right", 3),
        ),
    )
    assert broken("paper_traffic_light", "turn_right", early) == {"yield_to_left"}


# One careless driver for each rule: the guard of a reference with something left out, and the rule
# that then is broken, and no other.
CARELESS = [
    ("traffic_light", "go_straight", STRAIGHT, "straight_on_green"),
    ("unprotected_left_turn", "turn_left", NOBODY_LEFT, "left_on_green"),
    ("left_turn_light", "turn_left", NOBODY_LEFT, "left_on_green"),
    ("roundabout", "go_straight", "!pedestrian_in_front", "yield_to_left"),
    ("t_junction", "turn_left", "!car_from_left & !pedestrian_at_left", "yield_to_right"),
    (
        "light_with_left_arrow",
        "turn_left",
        f"(green_left_turn_light | {GREEN}) & !car_from_left & {PEDESTRIANS_LEFT}",
        "yield_to_opposite",
    ),
    ("driveway_exit", "turn_right", "!car_from_left", "pedestrian_ahead"),
    ("roundabout", "turn_right", "!car_from_left & !pedestrian_in_front", "pedestrian_right"),
    ("roundabout", "turn_left", "!car_from_left & !pedestrian_in_front", "pedestrian_left"),
    ("pedestrian_crossing", "go_straight", "!pedestrian_in_front", "pedestrian_at_kerb"),
    ("school_crossing", "go_straight", f"{KERBS} & !pedestrian_in_front", "guard_sign"),
]


@pytest.mark.parametrize(("world", "action", "guard", "rule"), CARELESS)
def test_carelessness_breaks_one_rule(world, action, guard, rule):
    assert broken(world, action, stop_then(guard, action)) == {rule}


def test_no_stop_breaks_one_rule():
    for world, rule in (
        ("two_way_stop", "stop_before_entering"),
        ("exit_ramp", "right_on_red_after_stop"),
    ):
        rolling = Controller(0, 1, (Transition(0, RIGHT, "turn_right", 1),))
        assert broken(world, "turn_right", rolling) == {rule}


def test_every_rule_has_its_careless_driver():
    rules = {rule for *_, rule in CARELESS} | {"stop_before_entering", "right_on_red_after_stop"}
    assert rules == {specification.id for specification in ROAD.specifications}


class TestPedestriansAtTheKerb:
    def test_go_first_where_there_is_no_light(self):
        careless = stop_then("!pedestrian_in_front", "go_straight")
        assert broken("pedestrian_crossing", "go_straight", careless) == {"pedestrian_at_kerb"}

    def test_wait_for_their_light_where_there_is_one(self):
        lawful = stop_then(f"{GREEN} & !pedestrian_in_front", "go_straight")
        assert strict_success("signalised_crossing", "go_straight", lawful)


@pytest.mark.parametrize("profile", ["default", "paper"])
@pytest.mark.parametrize("name", shipped_worlds())
def test_no_rule_follows_from_the_others_in_any_world(name, profile):
    """Whatever a driver does, one action at a time: each rule refuses something of its own."""
    world = load_world(name, VOCABULARY)
    alphabet = make_alphabet(VOCABULARY)
    one_action = (
        "G("
        + " | ".join(
            "(" + " & ".join(a if a == b else f"!{b}" for b in VOCABULARY.action_names) + ")"
            for a in VOCABULARY.action_names
        )
        + ")"
    )
    words = spot.product(
        world_automaton(world, alphabet, SHIPPED[profile]),
        spot.translate(spot.formula(one_action)),
    )
    rules = [s for s in ROAD.specifications if s.applies_to(world.propositions)]
    for rule in rules:
        rest = " & ".join(f"({other.formula})" for other in rules if other is not rule) or "1"
        lawful = spot.product(words, spot.translate(spot.formula(rest)))
        assert lawful.intersects(spot.translate(spot.formula(f"!({rule.formula})"))), rule.id


def scopes() -> list[frozenset[str]]:
    """The largest sets of rules that apply together, over all sets of propositions."""
    names = VOCABULARY.proposition_names
    sets = {
        frozenset(s.id for s in ROAD.specifications if s.applies_to(present))
        for size in range(len(names) + 1)
        for present in combinations(names, size)
    }
    return [one for one in sets if not any(one < other for other in sets)]


def test_no_rule_follows_from_others_that_apply_with_it():
    # In the free environment, with one action at a time.
    formula = {s.id: f"({s.formula})" for s in ROAD.specifications}
    pairs = combinations(VOCABULARY.action_names, 2)
    exclusive = "G(" + " & ".join(f"!({a} & {b})" for a, b in pairs) + ")"
    assert frozenset().union(*scopes()) == set(formula)
    for together in scopes():
        for rule in together:
            rest = [formula[other] for other in together if other != rule]
            premises = spot.translate(spot.formula(" & ".join([exclusive, *rest])))
            assert premises.intersects(spot.translate(spot.formula(f"!{formula[rule]}"))), rule


def test_every_rule_is_a_plain_sentence_with_a_scope():
    for specification in ROAD.specifications:
        assert specification.text.endswith(".")
        assert specification.applies_if
        assert specification.kind in ("safety", "response")


def test_every_rule_applies_somewhere():
    worlds = [load_world(name, VOCABULARY) for name in shipped_worlds() if name != "universal"]
    for specification in ROAD.specifications:
        assert any(specification.applies_to(world.propositions) for world in worlds)
