"""Recorded runs against an independent evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.errors import InputError
from verifier.finite import check_trace
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
