"""The evaluator against hand-made cases and, on thousands of random words, against Spot."""

import random
from pathlib import Path

import pytest
import spot
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier import lasso_evaluation, ltl_parser
from verifier.lasso_evaluation import first_violation, holds, holds_finite

PROPOSITIONS = ("a", "b", "c")
letters = st.frozensets(st.sampled_from(PROPOSITIONS))
prefixes = st.lists(letters, max_size=4)
cycles = st.lists(letters, min_size=1, max_size=4)
atoms = st.sampled_from([*PROPOSITIONS, "true", "false"])
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["!", "X ", "F ", "G "]), inner).map("".join),
        st.tuples(
            st.just("("),
            inner,
            st.sampled_from([" & ", " | ", " -> ", " <-> ", " xor ", " U ", " W ", " R ", " M "]),
            inner,
            st.just(")"),
        ).map("".join),
    ),
    max_leaves=6,
)


def word(*steps):
    return [frozenset(step.split()) for step in steps]


def spot_holds(formula, prefix, cycle):
    """Whether Spot finds the lasso in the language of the formula."""

    def letter(step):
        return " & ".join(p if p in step else f"!{p}" for p in PROPOSITIONS)

    text = "; ".join([*map(letter, prefix), "cycle{" + "; ".join(map(letter, cycle)) + "}"])
    automaton = spot.translate(spot.formula(formula), "small", "low")
    return spot.parse_word(text).as_automaton().intersects(automaton)


@settings(max_examples=1500, deadline=None)
@given(formulas, prefixes, cycles)
def test_lassos_are_judged_as_by_spot(formula, prefix, cycle):
    assert holds(formula, prefix, cycle) == spot_holds(formula, prefix, cycle)


@settings(max_examples=700, deadline=None)
@given(formulas, st.booleans(), st.lists(letters, min_size=1, max_size=5))
def test_finite_traces_are_judged_as_by_spot(formula, strong, trace):
    formula = formula.replace("X ", "X[!]") if strong else formula
    infinite = str(spot.from_ltlf(spot.formula(formula)))
    alive = [letter | {"alive"} for letter in trace]
    assert holds_finite(formula, trace) == holds(infinite, alive, word(""))


OPERANDS = ["a", "b", "c", "1", "0", "!a", "Fb", "GFc", "X a", "<>a", "[]b", "()c", "~ b", "X[2]a"]
OPERANDS += [
    "(a U b)",
    "F[1:2] c",
    "G[0:1]a",
    "X[!]b",
    "true",
    "FALSE",
    "X ! F a",
    "◇a",
    "□b",
    "¬c",
]
CONNECTIVES = [
    "&",
    "&&",
    "/\\",
    "*",
    "|",
    "||",
    "\\/",
    "+",
    "->",
    "=>",
    "-->",
    "<->",
    "<=>",
    "<-->",
]
CONNECTIVES += ["xor", "^", "U", "W", "R", "V", "M", "∧", "∨", "→", "↔", "⊕"]


def random_letters(chance, shortest, longest):
    size = chance.randint(shortest, longest)
    return [frozenset(p for p in PROPOSITIONS if chance.random() < 0.5) for _ in range(size)]


def test_priorities_and_associativity_are_spots():
    chance = random.Random(1)
    for _ in range(600):
        parts = [chance.choice(OPERANDS)]
        for _ in range(chance.randint(1, 4)):
            parts += [chance.choice(CONNECTIVES), chance.choice(OPERANDS)]
        formula = " ".join(parts)
        for _ in range(2):
            prefix, cycle = random_letters(chance, 0, 3), random_letters(chance, 1, 3)
            assert holds(formula, prefix, cycle) == spot_holds(formula, prefix, cycle), formula


@pytest.mark.parametrize("style", ["spot", "utf8", "spin"])
def test_every_printing_style_of_spot_is_read(style):
    chance = random.Random(2)
    generator = spot.randltl(list(PROPOSITIONS), seed=3, tree_size=(5, 14))
    for _ in range(100):
        original = next(generator)
        printed = original.to_str(style)
        for _ in range(3):
            prefix, cycle = random_letters(chance, 0, 3), random_letters(chance, 1, 3)
            assert holds(printed, prefix, cycle) == holds(str(original), prefix, cycle), printed


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("GFa", "G(F(a))"),
        ("Fabc", 'F "abc"'),
        ("F1 & Xa", '"F1" & X a'),
        ("aUb", '"aUb"'),
        ("a U Ub", 'a U "Ub"'),
        ("p.q | _x", '"p.q" | "_x"'),
        ("a->b->c", "a -> (b -> c)"),
        ("a<->b->c<->d", "a <-> (b -> (c <-> d))"),
        ("a U b W c", "a U (b W c)"),
        ("!a U b", "(!a) U b"),
        ("a | b xor c & d", "a | (b xor (c & d))"),
        ("F[1:3]a", "X(a | X(a | Xa))"),
        ("F[2:]a", "XXFa"),
        ("G[1..2]a", "X(a & Xa)"),
    ],
)
def test_spellings(left, right):
    assert ltl_parser.parse(left) == ltl_parser.parse(right)
    assert spot.formula(left) == spot.formula(right)


@pytest.mark.parametrize(
    "formula",
    ["", "a b", "a &", "(a", "a)", "not a", "a and b", "U", "a U U", "a xorb", "1a", "a'"],
)
def test_what_spot_refuses_is_refused(formula):
    with pytest.raises(ValueError, match="syntax error"):
        holds(formula, [], word(""))


def test_hand_made_lassos():
    assert holds("G(a -> F b)", word("a"), word("", "b"))
    assert not holds("G(a -> F b)", word("b"), word("a"))
    assert holds("FG a", word("", "b"), word("a"))
    assert not holds("GF b", word("b", "b"), word("a"))
    assert holds("X X a", word(""), word("", "a"))


def test_hand_made_finite_traces():
    assert holds_finite("X a", word("b"))
    assert not holds_finite("X[!] a", word("b"))
    assert holds_finite("G a", word("a", "a"))
    assert not holds_finite("F b", word("a", "a"))
    assert holds_finite("a W b", word("a", "a"))
    assert not holds_finite("a U b", word("a", "a"))


@pytest.mark.parametrize(
    ("formula", "prefix", "cycle", "expected"),
    [
        ("G(a -> !b)", ["a", "b", "a b"], [""], 2),
        ("G(a -> !b)", ["a"], ["b", "a b"], 2),
        ("G(a -> !b) & G !c", ["c", "a b"], [""], 0),
        ("a W b", ["a", "c"], ["a"], 1),
        ("G(a -> X b)", ["a", "c"], [""], 1),
        ("a U b", ["a", ""], ["a b"], 1),
        ("F a", ["b"], ["b"], None),
        ("G(a -> F b)", ["a"], [""], None),
        ("G a", ["a"], ["a"], None),
        ("G X X X a", [""], ["a", ""], 4),
    ],
)
def test_first_violation(formula, prefix, cycle, expected):
    assert first_violation(formula, word(*prefix), word(*cycle)) == expected


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["a", "a -> b", "a xor (b & c)", "!c"]), prefixes, cycles)
def test_first_violation_of_an_invariant_is_the_first_bad_letter(body, prefix, cycle):
    bad = [i for i, step in enumerate(prefix + cycle) if not holds(body, [step], [step])]
    assert first_violation(f"G({body})", prefix, cycle) == (bad[0] if bad else None)


@settings(max_examples=300, deadline=None)
@given(formulas, prefixes, cycles, cycles)
def test_nothing_mends_a_bad_prefix(formula, prefix, cycle, other):
    position = first_violation(formula, prefix, cycle)
    if position is not None:
        unrolled = prefix + cycle * (position + 1)
        assert not holds(formula, unrolled[: position + 1], other)


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="cycle"):
        holds("a", word("a"), [])
    with pytest.raises(ValueError, match="trace"):
        holds_finite("a", [])


def test_long_words_and_deep_formulas():
    assert holds("G(a -> F b)", word("a") * 3000, word("b"))
    assert holds("(" * 400 + "a" + ")" * 400, word("a"), word(""))
    assert holds(" & ".join(["a"] * 3000), word("a"), word(""))


def test_the_evaluator_is_independent_of_spot():
    for module in (lasso_evaluation, ltl_parser):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert "import spot" not in source
        assert "verifier.formulas" not in source
