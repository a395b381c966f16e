"""Which decision breaks a rule."""

import pytest
import spot
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.rules import RuleBook, Specification, load_rules
from verifier.vocabulary import load_vocabulary
from worlds.recording.violations import first_bad, is_safety, violations_of

VOCABULARY = load_vocabulary()
ROAD = load_rules("road", VOCABULARY)
LETTERS = st.frozensets(st.sampled_from(["a", "b"]))


def trace(text: str) -> list[frozenset[str]]:
    return [frozenset(word.split("+")) - {"-"} for word in text.split()]


def broken(text: str, *propositions: str) -> list[tuple[str, int | None]]:
    found = violations_of(trace(text), ROAD, VOCABULARY, propositions)
    return [(v.rule.id, v.decision) for v in found]


def test_the_moving_decision_breaks_the_rule():
    word = "car_from_left+stop car_from_left+turn_right stop"
    assert broken(word, "car_from_left") == [("yield_to_left", 1)]


def test_what_must_come_before_is_broken_when_it_did_not():
    """G(X(sign & moving) -> sign & stop) is broken by the move, not by the moment before it."""
    word = "stop_sign+stop stop_sign+go_straight stop_sign+turn_right stop"
    assert broken(word, "stop_sign", "car_from_left") == [("stop_before_entering", 2)]


@pytest.mark.parametrize("end", ["", " stop", " - -"])
def test_the_end_of_a_trace_breaks_no_safety_rule(end):
    word = f"stop_sign+stop stop_sign+turn_right{end}"
    assert broken(word, "stop_sign", "car_from_left", "green_traffic_light") == [
        ("right_on_red_after_stop", 1)
    ] * ("green" in word)


def test_rules_out_of_scope_are_not_asked():
    assert broken("car_from_left+turn_right", "stop_sign") == []


def test_earliest_first_and_the_end_last():
    rules = RuleBook("r", (
        Specification("end", "F stop", "progress"),
        Specification("late", "G !turn_right", "safety"),
        Specification("early", "G !turn_left", "safety"),
    ))  # fmt: skip
    found = violations_of(trace("turn_left turn_right"), rules, VOCABULARY, ())
    assert [(v.rule.id, v.decision) for v in found] == [("early", 0), ("late", 1), ("end", None)]


def test_a_response_that_was_not_given_is_broken_in_the_end():
    rules = RuleBook("r", (Specification("r", "G(car_from_left -> F stop)", "response"),))
    assert violations_of(trace("car_from_left stop"), rules, VOCABULARY, ()) == ()
    (only,) = violations_of(trace("stop car_from_left"), rules, VOCABULARY, ())
    assert only.decision is None


@pytest.mark.parametrize(
    ("formula", "word", "index"),
    [
        ("0", "a", 0), ("1", "a", None), ("a", "b", 0), ("G(a -> X b)", "a b a a", 3),
        ("a U b", "a a - b", 2), ("F a", "b b", None), ("GF a & G b", "b a+b a", 2),
        ("X X a", "- - b", 2), ("G(X a -> b)", "- - a", 2),
    ],
)  # fmt: skip
def test_first_bad(formula, word, index):
    assert first_bad(formula, trace(word)) == index


FORMULAS = ["G(a -> X b)", "a W b", "G(X(a & !b) -> b)", "(a U b) | G a", "F a & G !b", "X G a"]


@settings(max_examples=60)
@given(st.sampled_from(FORMULAS), st.lists(LETTERS, min_size=1, max_size=6))
def test_a_prefix_is_bad_exactly_if_no_word_continues_it(formula, word):
    """Against the definition: prefix · anything, intersected with the formula's automaton."""

    def continues(prefix):
        letters = "; ".join(
            " & ".join(name if name in letter else f"!{name}" for name in ("a", "b"))
            for letter in prefix
        )
        automaton = spot.parse_word(f"{letters}; cycle{{1}}").as_automaton()
        return automaton.intersects(spot.translate(formula))

    bad = [i for i in range(len(word)) if not continues(word[: i + 1])]
    assert first_bad(formula, word) == (bad[0] if bad else None)


def test_safety():
    assert is_safety("G(a -> X b)")
    assert is_safety("a W b")
    assert not is_safety("F a")
    assert not is_safety("G(a -> F b)")
