"""Recorded runs against an independent evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.bindings import spot
from verifier.errors import InputError
from verifier.finite import FiniteMonitor, TraceChecker, check_trace, first_violation
from verifier.lasso_evaluation import holds_finite
from verifier.rules import RuleBook, Specification, load_rules
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
PAPER = load_rules("paper", VOCABULARY)
letters = st.builds(
    lambda seen, action: frozenset({*seen, action}),
    st.sets(st.sampled_from(VOCABULARY.proposition_names), max_size=3),
    st.sampled_from(VOCABULARY.action_names),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(letters, min_size=1, max_size=6))
def test_agrees_with_direct_evaluation(trace: list[frozenset[str]]) -> None:
    for verdict in check_trace(trace, PAPER, VOCABULARY):
        assert verdict.holds == holds_finite(verdict.formula, trace)


small_letters = st.sets(st.sampled_from(["turn_left", "stop_sign", "stop"])).map(frozenset)
random_formulas = st.integers(0, 100_000).map(
    lambda seed: str(
        next(iter(spot.randltl(["turn_left", "stop_sign", "stop"], 1, seed=seed, tree_size=12)))
    ).replace("X(", "X[!](" if seed % 2 else "X(")
)


@settings(max_examples=200, deadline=None)
@given(random_formulas, st.lists(small_letters, min_size=1, max_size=5))
def test_monitors_of_any_formula_agree_with_direct_evaluation(
    formula: str, trace: list[frozenset[str]]
) -> None:
    assert FiniteMonitor(formula).holds(trace) == holds_finite(formula, trace)


@settings(max_examples=100, deadline=None)
@given(
    random_formulas,
    st.lists(small_letters, min_size=1, max_size=3),
    st.lists(small_letters, max_size=3),
)
def test_nothing_mends_a_violation_for_good(
    formula: str, trace: list[frozenset[str]], more: list[frozenset[str]]
) -> None:
    bad = first_violation(formula, trace)
    if bad is not None:
        assert not holds_finite(formula, trace[: bad + 1])
        assert not holds_finite(formula, trace + more)


def test_where_it_became_certain() -> None:
    stop, left, sign = frozenset({"stop"}), frozenset({"turn_left"}), frozenset({"stop_sign"})
    assert first_violation("G !turn_left", [stop, left, stop]) == 1
    assert first_violation("G(stop_sign -> F stop)", [sign, left]) is None
    assert first_violation("X[!] stop & X X 0", [left, stop, stop]) == 2
    assert first_violation("0", [stop]) == 0


def test_equal_traces_are_judged_once() -> None:
    checker = TraceChecker(PAPER, VOCABULARY)
    trace = [frozenset({"stop"})] * 3
    assert checker.check(trace) is checker.check(tuple(trace))


def verdict_of(formula: str, *trace: set[str]) -> str:
    rules = RuleBook("one", (Specification("one", formula, "safety"),))
    (verdict,) = check_trace([frozenset(letter) for letter in trace], rules, VOCABULARY)
    return verdict.value


def test_next_is_weak_and_strong_at_the_end() -> None:
    assert verdict_of("X turn_left", {"stop"}) == "vacuous"
    assert verdict_of("X[!] turn_left", {"stop"}) == "violated"
    assert verdict_of("X[!] turn_left", {"stop"}, {"turn_left"}) == "satisfied"


def test_liveness_must_happen_within_the_trace() -> None:
    assert verdict_of("F turn_left", {"stop"}, {"stop"}) == "violated"
    assert verdict_of("G(stop_sign -> F stop)", {"stop_sign", "turn_left"}, {"stop"}) != "violated"


def test_vacuity_and_scope() -> None:
    values = {v.id: v.value for v in check_trace([frozenset({"stop"})], PAPER, VOCABULARY)}
    assert values["phi_4"] == "vacuous"
    road = load_rules("road", VOCABULARY)
    scoped = check_trace([frozenset({"stop"})], road, VOCABULARY, ("car_from_left",))
    assert {v.id: v.value for v in scoped}["straight_on_green"] == "inapplicable"


def test_bad_traces() -> None:
    with pytest.raises(InputError, match="the trace is empty"):
        check_trace([], PAPER, VOCABULARY)
    with pytest.raises(InputError, match="step 2 of the trace: unknown proposition 'cow'"):
        check_trace([frozenset({"stop"}), frozenset({"cow"})], PAPER, VOCABULARY)
