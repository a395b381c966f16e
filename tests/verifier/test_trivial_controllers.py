"""Trivial controllers and what they score."""

import random

import pytest

from verifier.checker import Checker
from verifier.rules import RuleBook, Specification, load_rules
from verifier.semantics import Semantics
from verifier.transition_system import make_transition_system
from verifier.trivial_controllers import (
    constant_controllers,
    constant_scores,
    random_controller,
    random_scores,
)
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

VOCABULARY = load_vocabulary()
GREEN, CAR = "green_traffic_light", "car_from_left"
WORLD = make_transition_system("w", {"a": [GREEN], "b": [CAR], "c": []})
BOOK = RuleBook(
    "b",
    (
        Specification("red", f"G(!{GREEN} -> !go_straight)", "safety"),
        Specification("car", f"G({CAR} -> stop)", "safety"),
        Specification("rest", "GF stop", "response"),
        Specification("sign", "G(stop_sign -> stop)", "safety", applies_if="stop_sign"),
    ),
)


def checker(world=WORLD, book=BOOK, semantics=None):
    return Checker(world, book, semantics or Semantics(), VOCABULARY)


def test_constant_controllers_are_scored_best_first():
    scores = {score.controller: score for score in constant_scores(checker())}
    assert list(scores) == [
        "always_stop",
        "always_turn_left",
        "always_turn_right",
        "always_go_straight",
    ]
    stop, left, straight = (scores[f"always_{a}"] for a in ("stop", "turn_left", "go_straight"))
    assert (stop.passed, stop.applicable, stop.violated, stop.high) == (3, 3, (), True)
    assert (left.passed, left.violated, left.high) == (1, ("car", "rest"), False)
    assert (straight.passed, straight.violated) == (0, ("red", "car", "rest"))
    assert stop.counts["inapplicable"] == 1


def test_doing_nothing_is_a_controller_of_its_own_only_where_epsilon_is_noop():
    names = [s.controller for s in constant_scores(checker(semantics=Semantics(epsilon="noop")))]
    assert "always_epsilon" in names


def test_constant_controllers_do_one_thing():
    (controller,) = constant_controllers(["turn_left"]).values()
    assert [t.action for t in controller.transitions] == ["turn_left"]


def test_random_controllers_are_deterministic_complete_and_repeatable():
    def draw(seed):
        generator = random.Random(seed)
        return [
            random_controller(generator, (GREEN, CAR), ("stop", "turn_left")) for _ in range(30)
        ]

    assert draw(1) == draw(1) != draw(2)
    for controller in draw(1):
        for state in range(controller.num_states - 1):
            rows = [t for t in controller.transitions if t.source == state]
            assert len(rows) in (1, 2, 4)
            assert len({t.guard for t in rows}) == len(rows)
    assert len({c.num_states for c in draw(1)}) > 1


def test_random_scores_summarise():
    scores = random_scores(checker(), 20, seed=3)
    assert scores == random_scores(checker(), 20, seed=3)
    assert scores is not None
    assert scores.worst <= scores.mean <= scores.best <= scores.applicable == 3
    assert random_scores(checker(), 0, seed=3) is None


def test_random_controllers_of_a_world_without_propositions():
    empty = make_transition_system("empty", {"a": []})
    assert random_scores(checker(world=empty), 5, seed=0) is not None


@pytest.mark.parametrize("assumptions", ["none", "world"])
def test_always_stop_satisfies_12_of_the_papers_15_in_a_free_environment(assumptions):
    free = load_world("free", VOCABULARY)
    book = load_rules("paper", VOCABULARY)
    best = constant_scores(checker(free, book, Semantics(assumptions=assumptions)))[0]
    assert best.controller == "always_stop"
    assert (best.passed, best.applicable) == (12, 15)
    assert best.violated == ("phi_7", "phi_10", "phi_13")
    assert best.high
