"""Verdicts: golden cases, every profile, an independent oracle, limits."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from golden import AFTER, AFTER_TEXT, BEFORE, BEFORE_TEXT, VIOLATED
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import brute_force

from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.lasso_evaluation import holds
from verifier.rules import RuleBook, Specification, load_rules, progress_specification
from verifier.semantics import SHIPPED, Semantics
from verifier.steps import steps_to_controller
from verifier.transition_system import Assumption, TransitionSystem, make_transition_system
from verifier.verdicts import Report
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

VOCABULARY = load_vocabulary()
PAPER = load_rules("paper", VOCABULARY)
WORLD = load_world("paper_traffic_light", VOCABULARY)
PROFILES = Path(__file__).parents[1] / "data" / "golden" / "profiles.txt"


def violated(report: Report) -> set[int]:
    return {int(v.id.removeprefix("phi_")) for v in report.verdicts if v.value == "violated"}


@pytest.mark.parametrize(("semantics", "expected"), VIOLATED.items(), ids=str)
def test_golden_cases(semantics: Semantics, expected: tuple[set[int], set[int]]) -> None:
    checker = Checker(WORLD, PAPER, semantics, VOCABULARY)
    assert violated(checker.check(BEFORE)) == expected[0]
    assert violated(checker.check(AFTER)) == expected[1]


def test_golden_cases_from_their_texts() -> None:
    checker = Checker(WORLD, PAPER, SHIPPED["paper"], VOCABULARY)
    for text, expected in ((BEFORE_TEXT, {5, 9, 11}), (AFTER_TEXT, set())):
        alignment = steps_to_controller(text, VOCABULARY, "wait")
        assert alignment.controller is not None
        assert violated(checker.check(alignment.controller)) == expected


def profiles_table() -> str:
    """Verdicts of both controllers under every combination of profile fields."""
    rows = []
    for epsilon, on_finish, conditional, assumptions in itertools.product(
        ("stop", "noop"), ("restart", "stutter"), ("natural", "wait", "skip"), ("world", "none")
    ):
        semantics = Semantics("golden", epsilon, on_finish, conditional, "wait", assumptions)
        checker = Checker(WORLD, PAPER, semantics, VOCABULARY)
        for name, text in (("before", BEFORE_TEXT), ("after", AFTER_TEXT)):
            alignment = steps_to_controller(text, VOCABULARY, conditional)
            assert alignment.controller is not None
            values = checker.values(alignment.controller)
            marks = "".join(
                {"satisfied": "S", "vacuous": "v", "violated": "X"}[value] for value, _ in values
            )
            rows.append(f"{epsilon:5}{on_finish:8}{conditional:8}{assumptions:6} {name:7}{marks}\n")
    head = "epsilon, on_finish, conditional, assumptions, controller, phi_1 .. phi_15\n"
    return head + "S satisfied, v vacuous, X violated\n\n" + "".join(rows)


def test_verdicts_under_every_profile() -> None:
    """To renew: python -c 'import test_checker as t; t.PROFILES.write_text(t.profiles_table())'."""
    assert profiles_table() == PROFILES.read_text(encoding="utf-8")


def test_vacuity_names_what_already_holds() -> None:
    checker = Checker(WORLD, PAPER, SHIPPED["paper"], VOCABULARY)
    verdicts = {verdict.id: verdict for verdict in checker.check(AFTER).verdicts}
    assert verdicts["phi_5"].value == "satisfied"
    assert verdicts["phi_4"].value == "vacuous"
    assert verdicts["phi_14"].reason == "already G!go_straight holds"


def test_a_controller_that_always_stops_satisfies_twelve_vacuously() -> None:
    stop = Controller(0, 1, (Transition(0, "true", "stop", 0),))
    free = load_world("free", VOCABULARY)
    report = Checker(free, PAPER, Semantics(assumptions="none"), VOCABULARY).check(stop)
    assert violated(report) == {7, 10, 13}
    assert all(verdict.value in ("vacuous", "violated") for verdict in report.verdicts)


def test_inapplicable_is_neither_pass_nor_failure() -> None:
    road = load_rules("road", VOCABULARY).with_specification(progress_specification("turn_right"))
    median = load_world("paper_wide_median", VOCABULARY)
    verdicts = Checker(median, road, Semantics(), VOCABULARY).check(AFTER).verdicts
    assert {v.id: v.value for v in verdicts}["straight_on_green"] == "inapplicable"
    assert not {v.id: v for v in verdicts}["straight_on_green"].holds


@pytest.mark.parametrize("controller", [BEFORE, AFTER])
@pytest.mark.parametrize("semantics", VIOLATED, ids=str)
def test_counterexamples_violate_and_run_through_the_product(
    controller: Controller, semantics: Semantics
) -> None:
    check_counterexamples(controller, WORLD, PAPER, semantics)


def check_counterexamples(
    controller: Controller, world: TransitionSystem, rules: RuleBook, semantics: Semantics
) -> None:
    """Every counterexample is a path of the world, violates its rule, meets the assumptions."""
    number = {state: i for i, state in enumerate(world.states)}
    for verdict in Checker(world, rules, semantics, VOCABULARY).check(controller).verdicts:
        if verdict.value != "violated":
            continue
        lasso = verdict.counterexample
        assert lasso is not None
        run = [*lasso.prefix, *lasso.cycle, lasso.cycle[0]]
        assert number[run[0].world] in world.initial
        assert run[0].state == controller.initial
        for here, there in itertools.pairwise(run):
            assert number[there.world] in world.successors[number[here.world]]
            assert set(here.propositions) == world.labels[number[here.world]]
        prefix = [moment.letter for moment in lasso.prefix]
        cycle = [moment.letter for moment in lasso.cycle]
        assert not holds(verdict.formula, prefix, cycle)
        if semantics.assumptions == "world":
            assert all(holds(a.formula, prefix, cycle) for a in world.assumptions)


P = ("green_traffic_light", "car_from_left", "pedestrian_at_right")
ACTIONS = ("stop", "turn_right", "go_straight", "epsilon")
guards = st.recursive(
    st.sampled_from([*P, "true"]),
    lambda inner: st.one_of(
        inner.map(lambda g: f"!({g})"),
        st.tuples(inner, st.sampled_from("&|"), inner).map(lambda g: f"({g[0]} {g[1]} {g[2]})"),
    ),
    max_leaves=3,
)
atoms = st.sampled_from([*P, "stop", "turn_right", "go_straight"])
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["!", "X", "F", "G"]), inner).map(lambda f: f"{f[0]}({f[1]})"),
        st.tuples(inner, st.sampled_from(["&", "|", "->", "U", "W", "R"]), inner).map(
            lambda f: f"({f[0]} {f[1]} {f[2]})"
        ),
    ),
    max_leaves=4,
)


@st.composite
def controllers(draw: st.DrawFn) -> Controller:
    count = draw(st.integers(1, 3))
    states = st.integers(0, count - 1)
    row = st.builds(Transition, states, guards, st.sampled_from(ACTIONS), st.integers(0, count))
    rows = draw(st.lists(row, min_size=1, max_size=5))
    return Controller(draw(states), count, tuple(rows))


@st.composite
def worlds(draw: st.DrawFn) -> TransitionSystem:
    count = draw(st.integers(1, 3))
    names = [f"w{i}" for i in range(count)]
    labels = {name: draw(st.sets(st.sampled_from(P))) for name in names}
    some = st.lists(st.sampled_from(names), min_size=1, unique=True)
    transitions = {name: draw(some) for name in names}
    assumptions = draw(st.sampled_from([(), ("GF(green_traffic_light)",), ("GF(!car_from_left)",)]))
    return make_transition_system(
        "random", labels, transitions, initial=draw(some), propositions=P, assumptions=assumptions
    )


profiles = st.builds(
    Semantics,
    st.just("random"),
    st.sampled_from(["stop", "noop"]),
    st.sampled_from(["restart", "stutter"]),
    st.just("natural"),
    st.just("wait"),
    st.sampled_from(["world", "none"]),
)


@settings(max_examples=150, deadline=None)
@given(controllers(), worlds(), st.lists(formulas, min_size=1, max_size=3), profiles)
def test_agrees_with_brute_force(
    controller: Controller, world: TransitionSystem, texts: list[str], semantics: Semantics
) -> None:
    rules = RuleBook(
        "random", tuple(Specification(f"r{i}", t, "safety") for i, t in enumerate(texts))
    )
    try:
        checker = Checker(world, rules, semantics, VOCABULARY)
    except InputError:
        assert brute_force(controller, world, "0", semantics, VOCABULARY)  # no fair path at all
        return
    for specification, (value, _) in zip(
        rules.specifications, checker.values(controller), strict=True
    ):
        expected = brute_force(controller, world, specification.formula, semantics, VOCABULARY)
        assert (value in ("satisfied", "vacuous")) == expected
    check_counterexamples(controller, world, rules, semantics)


def test_time_limit_gives_unknown_never_a_pass() -> None:
    """A formula whose automaton is out of reach."""
    clauses = [
        f"G({p} -> F({q} & X X {r} & X X X !{p}))"
        for p, q, r in itertools.permutations([*P, "stop", "turn_right"], 3)
    ]
    rules = RuleBook("hard", (Specification("hard", " & ".join(clauses), "safety"),))
    checker = Checker(WORLD, rules, Semantics(), VOCABULARY, time_limit=0.5)
    started = time.monotonic()
    (verdict,) = checker.check(AFTER).verdicts
    assert verdict.value == "unknown"
    assert verdict.reason is not None
    assert "time limit of 0.5 s" in verdict.reason
    assert time.monotonic() - started < 10


def test_a_world_without_fair_paths_is_refused() -> None:
    world = make_transition_system(
        "never", {"w": ["car_from_left"]}, assumptions=["GF(!car_from_left)"]
    )
    with pytest.raises(InputError, match="no infinite path of world never"):
        Checker(world, PAPER, Semantics(), VOCABULARY)


def test_overlapping_assumption_scopes_are_refused() -> None:
    world = TransitionSystem(
        "overlap",
        "",
        P,
        ("a", "b"),
        (frozenset(), frozenset()),
        (0,),
        ((0, 1), (0, 1)),
        (Assumption("GF(!car_from_left)", frozenset({0, 1})), Assumption("F(1)", frozenset({1}))),
    )
    with pytest.raises(InputError, match="overlapping"):
        Checker(world, PAPER, Semantics(), VOCABULARY)
