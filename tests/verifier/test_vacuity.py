"""Strengthenings are stronger, and say which part was struck out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.bindings import spot
from verifier.vacuity import strengthenings


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("G((c | p) -> !t)", ["G!t", "G!(c | p)"]),
        ("F t", []),
        ("G(a -> F b)", ["G!a", "GFb"]),
        ("G(a <-> b)", ["G(a & b)", "G(!a & !b)"]),
        ("a U b", ["b"]),
        ("G((g & !X a) -> X[!] b)", ["G!(g & !Xa)", "G(!Xa -> X[!]b)", "G((g & !X(0)) -> X[!]b)"]),
    ],
)
def test_examples(formula: str, expected: list[str]) -> None:
    assert [str(stronger) for stronger in strengthenings(spot.formula(formula))] == expected


formulas = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["!", "X", "F", "G"]), inner).map(lambda f: f"{f[0]}({f[1]})"),
        st.tuples(
            inner, st.sampled_from(["&", "|", "->", "<->", "xor", "U", "W", "R", "M"]), inner
        ).map(lambda f: f"({f[0]} {f[1]} {f[2]})"),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(formulas)
def test_each_implies_the_formula(text: str) -> None:
    formula = spot.formula(text)
    for stronger in strengthenings(formula):
        assert spot.contains(formula, stronger)
