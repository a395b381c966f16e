import itertools

import pytest
import spot
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import InputError
from verifier.truth_tables import cubes_of, formula_of, support_of, table_of

NAMES = ("a", "b", "c", "d")
guards = st.recursive(
    st.sampled_from([*NAMES, "true", "false"]),
    lambda inner: st.one_of(
        inner.map(lambda g: f"!({g})"),
        st.tuples(inner, st.sampled_from(["&", "|", "->", "<->", "xor"]), inner).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        ),
    ),
    max_leaves=8,
)


def value(guard: str, valuation: dict[str, bool]) -> bool:
    """The truth value that Spot's simplifier finds after substitution."""

    def replace(f):
        if f.kind() == spot.op_ap:
            return spot.formula.tt() if valuation[f.ap_name()] else spot.formula.ff()
        return f.map(replace)

    return spot.simplify(replace(spot.formula(guard))).is_tt()


@given(guards)
def test_a_table_holds_the_value_under_each_valuation(guard):
    table = table_of(guard, NAMES)
    for row, values in enumerate(itertools.product([False, True], repeat=4)):
        assert bool(table >> row & 1) == value(guard, dict(zip(NAMES, values, strict=True)))


@given(st.integers(0, 2**16 - 1))
def test_the_formula_of_a_table_has_that_table(table):
    assert table_of(formula_of(table, NAMES), NAMES) == table


@given(guards, guards)
def test_equal_functions_have_equal_formulas(left, right):
    tables = table_of(left, NAMES), table_of(right, NAMES)
    strings = formula_of(tables[0], NAMES), formula_of(tables[1], NAMES)
    assert (tables[0] == tables[1]) == (strings[0] == strings[1])


@given(guards)
def test_the_formula_does_not_depend_on_irrelevant_names(guard):
    narrow = support_of([guard])
    assert formula_of(table_of(guard, narrow), narrow) == formula_of(table_of(guard, NAMES), NAMES)


@pytest.mark.parametrize(
    ("guard", "formula"),
    [
        ("a & !a", "false"),
        ("a | !a", "true"),
        ("!(a | b)", "!a & !b"),
        ("a -> b", "!a | b"),
        ("a xor b", "(a & !b) | (!a & b)"),
        ("a & (b | !b)", "a"),
    ],
)
def test_formulas_are_readable(guard, formula):
    assert formula_of(table_of(guard, NAMES), NAMES) == formula


def test_the_constants_have_no_cube_and_the_empty_cube():
    assert cubes_of(0, NAMES) == ()
    assert cubes_of(2**16 - 1, NAMES) == ((),)


def test_the_support_follows_the_given_order():
    assert support_of(["c & a", "z | b"], ("b", "a")) == ("b", "a", "c", "z")


def test_too_many_propositions_are_refused():
    with pytest.raises(InputError, match="21 propositions"):
        support_of([" & ".join(f"p{i}" for i in range(21))])


def test_a_name_outside_the_support_is_refused():
    with pytest.raises(InputError, match="unknown proposition 'e'"):
        table_of("e", NAMES)
