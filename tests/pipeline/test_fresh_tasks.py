"""The bank `fresh`: well formed, new, and possible to solve lawfully in every place."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from reference_controllers import REFERENCE as SHIPPED_REFERENCE
from reference_controllers import (
    VOCABULARY,
    always,
    broken,
    stop_then,
    strict_success,
)

from pipeline.cli import run
from pipeline.evaluation import Judge
from pipeline.prompts import load_template
from pipeline.tasks import load_tasks, scene_of, shipped_tasks
from verifier.bindings import spot
from verifier.controller import Controller, Transition
from verifier.semantics import load_semantics
from worlds.check import Finding
from worlds.load import check_scenario, load_scenario, load_world, sensible_actions, shipped_worlds

TASKS = load_tasks("fresh", VOCABULARY)
DRIVING = load_tasks("driving", VOCABULARY)
NEW = [task for task in TASKS if task.world not in shipped_worlds()]
PLACES = {Path(task.world).stem: task.world for task in NEW}
MANOEUVRES = ("turn_left", "turn_right", "go_straight")

GREEN, ARROW = "green_traffic_light", "green_left_turn_light"
NO_LEFT, NO_RIGHT, NO_OPPOSITE = "!car_from_left", "!car_from_right", "!opposite_car"
AT_LEFT, AT_RIGHT, AHEAD = "!pedestrian_at_left", "!pedestrian_at_right", "!pedestrian_in_front"

REFERENCE = {
    ("hospital_exit", "turn_left"): (NO_LEFT, NO_RIGHT, AHEAD),
    ("hospital_exit", "turn_right"): (NO_LEFT, AT_RIGHT, AHEAD),
    ("market_street", "turn_left"): (NO_RIGHT, AT_LEFT, AHEAD),
    ("market_street", "go_straight"): (NO_RIGHT, AHEAD),
    ("timber_yard_exit", "turn_right"): (NO_LEFT, AHEAD),
    ("ferry_landing", "turn_right"): (NO_LEFT, AHEAD),
    ("ferry_landing", "go_straight"): (GREEN, NO_LEFT, AHEAD),
    ("bus_lane_junction", "turn_left"): (
        "green_traffic_light | flashing_left_turn_light",
        NO_OPPOSITE,
        AT_LEFT,
    ),
    ("bus_lane_junction", "go_straight"): (GREEN,),
    ("five_ways", "turn_left"): (NO_OPPOSITE, NO_LEFT, NO_RIGHT, AT_LEFT),
    ("five_ways", "turn_right"): (NO_LEFT, AT_RIGHT),
    ("five_ways", "go_straight"): (NO_LEFT, NO_RIGHT),
    ("fairground_entrance", "turn_right"): ("!stop_sign", AT_RIGHT, AHEAD),
    ("fairground_entrance", "go_straight"): ("!stop_sign", AT_RIGHT, AHEAD),
    ("station_forecourt", "turn_left"): (GREEN, NO_RIGHT, AT_LEFT, AHEAD),
    ("station_forecourt", "go_straight"): (GREEN, NO_RIGHT, AHEAD),
    ("supermarket_entrance", "turn_left"): (NO_OPPOSITE, AT_LEFT, AHEAD),
    ("supermarket_entrance", "go_straight"): (AHEAD,),
    ("country_roundabout", "turn_left"): (NO_LEFT,),
    ("country_roundabout", "turn_right"): (NO_LEFT,),
    ("country_roundabout", "go_straight"): (NO_LEFT,),
    ("stadium_left_lane", "turn_left"): (ARROW, NO_RIGHT, AT_LEFT),
    ("slip_lane", "turn_right"): (NO_LEFT, AT_RIGHT, AHEAD),
    ("playground_gate", "go_straight"): (AT_RIGHT, AHEAD),
}
"""(place, action): what a careful driver who has stopped and looked waits for, all at once."""


def when(conditions: tuple[str, ...]) -> str:
    return " & ".join(f"({condition})" for condition in conditions) or "true"


def in_words(conditions: tuple[str, ...], action: str) -> str:
    """The reference as an answer; of alternatives the first."""
    clauses = []
    for condition in conditions:
        name = condition.split(" | ")[0]
        there = "there is no" if name.startswith("!") else "there is a"
        clauses.append(f"{there} {VOCABULARY.proposition(name.lstrip('!')).phrase}")
    move = VOCABULARY.action(action).phrase
    return f"1. Stop.\n2. If {' and '.join(clauses)}, {move}."


@cache
def judge(profile: str = "default") -> Judge:
    return Judge(VOCABULARY, load_semantics(profile))


class TestBank:
    def test_it_is_loaded_by_its_name_wherever_one_is(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "fresh" in shipped_tasks()
        assert load_tasks("fresh") == TASKS

    def test_all_of_it_is_a_test(self):
        assert {task.split for task in TASKS} == {"test"}
        assert len(TASKS) == 48

    def test_manoeuvres_are_balanced(self):
        assert Counter(task.action for task in TASKS) == dict.fromkeys(MANOEUVRES, 16)
        new = Counter(task.action for task in NEW)
        assert max(new.values()) - min(new.values()) <= 1

    def test_more_than_half_is_in_new_places_and_the_rest_in_many_shipped_ones(self):
        assert len(NEW) == 28
        assert len(PLACES) == 13
        assert len({task.world for task in TASKS} - set(PLACES.values())) == 16

    def test_every_shipped_place_and_manoeuvre_is_known_to_be_possible(self):
        shipped = {(task.world, task.action) for task in TASKS if task not in NEW}
        assert shipped <= set(SHIPPED_REFERENCE)

    def test_every_sensible_manoeuvre_of_every_new_place_is_asked_for(self):
        sensible = {
            (place, action)
            for place, world in PLACES.items()
            for action in sensible_actions(world, VOCABULARY)
        }
        assert {(Path(task.world).stem, task.action) for task in NEW} == sensible == set(REFERENCE)

    def test_every_world_file_is_used(self):
        folder = Path(NEW[0].world).parent
        assert {str(path) for path in folder.iterdir()} == set(PLACES.values())


class TestWordings:
    def test_none_is_repeated_nor_taken_from_the_other_bank(self):
        prompts = [task.prompt.casefold() for task in TASKS]
        assert len(set(prompts)) == len(prompts)
        assert not {*prompts} & {task.prompt.casefold() for task in DRIVING}

    def test_many_styles(self):
        styles = Counter(task.wording for task in TASKS)
        assert len(styles) == 6
        assert min(styles.values()) >= 6

    def test_lengths_differ(self):
        words = sorted(len(task.prompt.split()) for task in TASKS)
        assert words[0] <= 5
        assert words[-1] >= 20

    def test_no_two_begin_alike(self):
        # One pattern with the places exchanged would.
        openings = Counter(" ".join(task.prompt.split()[:3]) for task in TASKS)
        assert openings.most_common(1)[0][1] == 1

    def test_some_use_the_usual_words_for_the_manoeuvre_and_more_do_not(self):
        spoken = VOCABULARY.language["language"]["actions"]
        usual = [
            task.id
            for task in TASKS
            if any(phrase in task.prompt for phrase in spoken[task.action])
        ]
        assert len(TASKS) / 4 <= len(usual) <= len(TASKS) / 2

    def test_nothing_ends_the_sentence_that_a_template_makes_of_it(self):
        assert not [task.prompt for task in TASKS if task.prompt.endswith((".", "!", "?"))]

    def test_the_turn_that_is_meant_is_the_only_one_named(self):
        for task in TASKS:
            named = {"left", "right"} & set(re.findall(r"\w+", task.prompt))
            meant = {task.action.removeprefix("turn_")} & {"left", "right"}
            assert named == meant, task.id


@pytest.mark.parametrize("place", PLACES)
class TestPlaces:
    def test_nothing_is_wrong_with_it(self, place):
        findings = check_scenario(PLACES[place], VOCABULARY)
        assert [describe(found) for found in findings] == (
            ["note: 'stop_sign' holds in every state"] if place == "hospital_exit" else []
        )

    def test_it_says_what_it_is_and_why(self, place):
        scenario = load_scenario(PLACES[place], VOCABULARY)
        assert scenario.name == place
        assert scenario.text
        assert len(scenario.reasons) >= 2

    def test_no_shipped_world_observes_the_same(self, place):
        observed = set(load_world(PLACES[place], VOCABULARY).propositions)
        others = [*shipped_worlds(), *(world for name, world in PLACES.items() if name != place)]
        assert all(set(load_world(other, VOCABULARY).propositions) != observed for other in others)


def describe(found: Finding) -> str:
    return f"{found.severity}: {found.problem}"


@pytest.mark.parametrize(("place", "action"), REFERENCE)
class TestEveryManoeuvre:
    def test_reference_succeeds(self, place, action):
        controller = stop_then(when(REFERENCE[place, action]), action)
        assert broken(PLACES[place], action, controller) == set()
        assert strict_success(PLACES[place], action, controller)

    def test_every_condition_is_needed(self, place, action):
        conditions = REFERENCE[place, action]
        for dropped in conditions:
            rest = tuple(c for c in conditions if c != dropped)
            careless = stop_then(when(rest), action)
            assert broken(PLACES[place], action, careless), f"without {dropped}"

    def test_always_moving_breaks_a_rule(self, place, action):
        rules = broken(PLACES[place], action, always(action))
        assert rules - {f"progress_{action}"}

    def test_always_stopping_breaks_none_and_never_succeeds(self, place, action):
        assert broken(PLACES[place], action, always("stop")) == {f"progress_{action}"}

    def test_it_can_be_said_in_numbered_steps(self, place, action):
        task = next(t for t in NEW if Path(t.world).stem == place and t.action == action)
        answer = in_words(REFERENCE[place, action], action)
        assert judge().judge(task, answer).strict_success, answer

    def test_it_speaks_only_of_what_is_observed(self, place, action):
        task = next(t for t in NEW if Path(t.world).stem == place and t.action == action)
        named = spot.atomic_prop_collect(spot.formula(when(REFERENCE[place, action])))
        assert {p.ap_name() for p in named} <= set(scene_of(task, VOCABULARY).propositions)


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        ("hospital_exit", "stop_before_entering"),
        ("ferry_landing", "right_on_red_after_stop"),
    ],
)
def test_a_rolling_right_turn_breaks_one_rule(place, rule):
    guard = when(REFERENCE[place, "turn_right"])
    rolling = Controller(0, 1, (Transition(0, guard, "turn_right", 1),))
    assert broken(PLACES[place], "turn_right", rolling) == {rule}


@pytest.mark.parametrize("profile", ["default", "paper"])
def test_no_worked_example_solves_a_task(profile):
    examples = load_template("observed").examples
    for task in {(task.world, task.action): task for task in NEW}.values():
        example = next(e for e in examples if e.action != task.action)
        assert example.action
        shown, asked = (VOCABULARY.action(name).phrase for name in (example.action, task.action))
        exchanged = example.steps.replace(shown, asked)
        assert exchanged != example.steps
        for steps in (example.steps, exchanged):
            assert not judge(profile).judge(task, steps).strict_success, task.id


def test_commands_know_its_name(capsys):
    assert run(["tasks", "check", "fresh"]) == 0
    assert capsys.readouterr().out == "fresh: 48 tasks, well formed\n"
    assert run(["tasks", "list"]) == 0
    assert "fresh: 48 tasks (48 test)" in capsys.readouterr().out


def test_evaluate_finds_it_and_has_nothing_to_train_on(capsys):
    # Refused before any model is loaded.
    assert run(["evaluate", "--tasks", "fresh", "--split", "train"]) == 2
    assert "fresh: no tasks in split train" in capsys.readouterr().err
