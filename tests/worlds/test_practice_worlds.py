"""Practice worlds: well-formed, solvable, reproducible, and never one that is held out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_controllers import ROAD, VOCABULARY, stop_then

from verifier.checker import Checker
from verifier.rules import progress_specification
from verifier.semantics import SHIPPED
from worlds.builder import build_by_rule
from worlds.check import check_world
from worlds.practice import ARROW, FLASHING, LIGHT, SIGN, practice_worlds
from worlds.scenario import scenario_from_mapping


def built(world):
    scenario = scenario_from_mapping(world.scenario, VOCABULARY)
    return build_by_rule(scenario.name, scenario.text, scenario.body, VOCABULARY)


@pytest.mark.parametrize("world", practice_worlds(12, 5, VOCABULARY), ids=lambda w: w.name)
def test_every_manoeuvre_of_a_practice_world_has_a_careful_controller(world):
    system = built(world)
    assert [f for f in check_world(system, VOCABULARY) if f.severity == "error"] == []
    seen = set(world.propositions)
    cars = seen & {"opposite_car", "car_from_left", "car_from_right"}
    hazards = seen - {LIGHT, ARROW, FLASHING, SIGN}
    for action in world.actions:
        lights = {"go_straight": [LIGHT], "turn_right": [LIGHT]}.get(action, [LIGHT, ARROW])
        clear = [light for light in lights if light in seen][:1]
        if SIGN in seen and not cars:
            clear.append(f"!{SIGN}")
        guard = " & ".join([*clear, *(f"!{name}" for name in sorted(hazards))])
        rules = ROAD.with_specification(progress_specification(action))
        checker = Checker(system, rules, SHIPPED["default"], VOCABULARY)
        report = checker.check(stop_then(guard, action), counterexamples=False)
        *road, progress = report.verdicts
        assert progress.value == "satisfied"
        assert {v.value for v in road} <= {"satisfied", "vacuous", "inapplicable"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 4))
def test_worlds_differ_keep_to_the_size_and_follow_from_the_seed(seed, fewest, more):
    most = fewest + more
    worlds = practice_worlds(8, seed, VOCABULARY, fewest=fewest, most=most)
    assert worlds == practice_worlds(8, seed, VOCABULARY, fewest=fewest, most=most)
    sets = [frozenset(world.propositions) for world in worlds]
    assert len(set(sets)) == len(sets)
    assert all(fewest <= len(names) <= most for names in sets)


def test_excluded_observations_do_not_occur():
    free = practice_worlds(20, 1, VOCABULARY, most=3)
    excluded = {frozenset(world.propositions) for world in free[:10]}
    kept = practice_worlds(20, 1, VOCABULARY, most=3, excluded=excluded)
    assert not excluded & {frozenset(world.propositions) for world in kept}


def test_when_there_are_too_few_different_worlds_fewer_come_back():
    worlds = practice_worlds(50, 0, VOCABULARY, fewest=1, most=1)
    assert len(worlds) == 6  # one hazard each; a light alone is no place
