"""A controller verified in a learned and in the hand-written world."""

import pytest
from toy_junction import GREEN, LEFT, SCENARIO, ToyJunction

from verifier.controller import Controller, Transition
from verifier.rules import load_rules, progress_specification
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary
from worlds.learned.comparison import compare_worlds
from worlds.learned.drivers import record
from worlds.learned.model import learn_world
from worlds.load import load_world

VOCABULARY = load_vocabulary()
RULES = load_rules("road", VOCABULARY).with_specification(progress_specification("turn_right"))
FAIR = f"GF({GREEN} & !{LEFT})"
CAREFUL = Controller(
    0, 2,
    (Transition(0, "true", "stop", 1), Transition(1, f"!{LEFT} & {GREEN}", "turn_right", 2)),
)  # fmt: skip
TRUSTING = Controller(
    0, 2,
    (
        Transition(0, f"!{LEFT}", "stop", 1),
        Transition(0, LEFT, "stop", 0),
        Transition(1, GREEN, "turn_right", 2),
        Transition(1, f"!{GREEN} & !{LEFT}", "stop", 1),
        Transition(1, f"!{GREEN} & {LEFT}", "stop", 0),
    ),
)  # fmt: skip
"""Turns on green if there was no car a moment before, and does not look again."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    file = tmp_path_factory.mktemp("toy") / "toy.yaml"
    file.write_text(SCENARIO)
    return load_world(file, VOCABULARY)


def learned(late: float = 0.0, episodes: int = 30, formulas=(FAIR,)):
    recordings = [record(ToyJunction(late=late), seed, 100) for seed in range(episodes)]
    world = learn_world(recordings, VOCABULARY, name="learned_toy", initial="all")
    return world.with_assumptions(formulas).world


def compare(controller, written, world):
    rows = compare_worlds(controller, written, world, RULES, SHIPPED["default"], VOCABULARY)
    return {row.written.id: row for row in rows}


def test_worlds_that_agree_give_equal_verdicts(written):
    for controller in (CAREFUL, TRUSTING):
        rows = compare(controller, written, learned())
        assert all(row.written.value == row.learned.value for row in rows.values())
        assert all(row.agree and row.difference is None for row in rows.values())


def test_what_the_scenario_excludes_is_named(written):
    """Late cars appear on green: the trusting controller meets them in the learned world only."""
    row = compare(TRUSTING, written, learned(late=0.3))["yield_to_left"]
    assert (row.written.value, row.learned.value, row.agree) == ("satisfied", "violated", False)
    assert row.difference is not None
    assert row.difference.kind == "step"
    assert row.difference.label == frozenset({GREEN, LEFT})
    assert LEFT not in (row.difference.before or ())
    assert row.to_json()["difference"] == {
        "kind": "step",
        "before": sorted(row.difference.before or ()),
        "label": [LEFT, GREEN],
    }


def test_what_was_never_recorded_is_named(written):
    """In a short recording the turn's dangers may be missing."""
    always = Controller(0, 1, (Transition(0, "true", "turn_right", 1),))
    recordings = [record(ToyJunction(), seed, 100) for seed in range(5)]
    empty = learn_world(list(_without_cars(recordings)), VOCABULARY, name="empty", initial="all")
    row = compare(always, written, empty.with_assumptions([FAIR]).world)["yield_to_left"]
    assert (row.written.value, row.learned.holds) == ("violated", True)
    assert row.difference is not None
    assert row.difference.kind == "label"
    assert LEFT in (row.difference.label or ())


def _without_cars(recordings):
    from dataclasses import replace

    return [replace(r, labels=tuple(label - {LEFT} for label in r.labels)) for r in recordings]


def test_without_fairness_the_assumptions_make_the_difference(written):
    row = compare(CAREFUL, written, learned(formulas=()))["progress_turn_right"]
    assert (row.written.value, row.learned.value) == ("satisfied", "violated")
    assert row.difference is not None
    assert row.difference.kind == "assumptions"
