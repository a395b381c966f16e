"""Controllers to text and back, and the grammar for constrained decoding."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.canonical import equivalent
from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.steps import controller_to_steps, decoding_grammar, steps_to_controller
from verifier.truth_tables import formula_of
from verifier.vocabulary import load_vocabulary

DRIVING = load_vocabulary("driving")
PROFILES = ("natural", "wait", "skip")
ACTIONS = (*DRIVING.action_names, "epsilon")


def numbered(steps: tuple[str, ...]) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))


@st.composite
def deterministic_controllers(draw):
    """Every label of a state goes to one of a few moves, or to none (it waits)."""
    final = draw(st.integers(1, 5))
    transitions = []
    for state in range(final):
        support = tuple(
            draw(
                st.lists(
                    st.sampled_from(DRIVING.proposition_names), unique=True, min_size=1, max_size=3
                )
            )
        )
        choice = draw(st.lists(st.integers(0, 3), min_size=8, max_size=8))
        for move in range(3):
            rows = [row for row in range(2 ** len(support)) if choice[row] == move]
            guard = formula_of(sum(1 << row for row in rows), support)
            action, target = draw(st.sampled_from(ACTIONS)), draw(st.integers(0, final))
            transitions.append(Transition(state, guard, action, target))
    return Controller(0, final, tuple(transitions))


@settings(max_examples=150, deadline=None)
@given(deterministic_controllers())
def test_there_and_back_under_every_profile(controller):
    text = numbered(controller_to_steps(controller, DRIVING))
    for profile in PROFILES:
        alignment = steps_to_controller(text, DRIVING, profile)
        assert alignment.controller is not None, [p.to_line() for p in alignment.problems]
        assert equivalent(alignment.controller, controller)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "text",
    [
        "If there is a car from left, stop. Otherwise, turn right.",
        "1. Check the light.\n2. Stop until the light is green.",
        "1. Stop and wait for the green light.\n2. Unless there is a pedestrian, turn left.",
        "1. Yield to traffic.\n2. If the light is red, go to step 1.\n3. Go straight and finish.",
    ],
)
def test_text_to_controller_to_text_to_controller(profile, text):
    first = steps_to_controller(text, DRIVING, profile).controller
    assert first is not None
    again = numbered(controller_to_steps(first, DRIVING))
    for other in PROFILES:
        second = steps_to_controller(again, DRIVING, other).controller
        assert second is not None
        assert equivalent(first, second)


def test_the_wording():
    controller = Controller(
        0,
        2,
        (
            Transition(0, "car_from_left | pedestrian_at_right", "stop", 0),
            Transition(0, "!car_from_left & !pedestrian_at_right", "turn_right", 1),
            Transition(1, "opposite_car", "go_straight", 2),
        ),
    )
    assert controller_to_steps(controller, DRIVING) == (
        "If there is no car from left and no pedestrian at right, turn right; otherwise, stop and "
        "go to step 1.",
        "If there is an opposite car, go straight; otherwise, go to step 2.",
    )


def test_guards_that_overlap_are_refused():
    rows = (
        Transition(0, "car_from_left", "stop", 0),
        Transition(0, "pedestrian_at_right", "turn_right", 1),
    )
    with pytest.raises(InputError, match="not deterministic"):
        controller_to_steps(Controller(0, 1, rows), DRIVING)


def test_a_controller_that_is_done_at_once_is_refused():
    with pytest.raises(InputError, match="initial state is final"):
        controller_to_steps(Controller(0, 0, ()), DRIVING)


def sentence(grammar: str, rng: random.Random) -> str:
    """A random sentence of a grammar in the plain form that `decoding_grammar` promises."""
    rules = {}
    for line in grammar.splitlines():
        name, body = line.split(": ", 1)
        rules[name] = [alternative_parts(part) for part in split_outside_quotes(body, " | ")]

    def expand(name: str) -> str:
        parts = rng.choice(rules[name])
        return "".join(eval(part) if part.startswith('"') else expand(part) for part in parts)

    return expand("start")


def split_outside_quotes(text: str, separator: str) -> list[str]:
    parts, quoted, start = [], False, 0
    for position, character in enumerate(text):
        quoted ^= character == '"'
        if not quoted and text.startswith(separator, position):
            parts.append(text[start:position])
            start = position + len(separator)
    return [*parts, text[start:]]


def alternative_parts(text: str) -> list[str]:
    return [part for part in split_outside_quotes(text.strip(), " ") if part]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(DRIVING.proposition_names), unique=True),
    st.lists(st.sampled_from(DRIVING.action_names), unique=True, min_size=1),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_the_reader_accepts_every_sentence_of_the_decoding_grammar(names, actions, most, rng):
    text = sentence(decoding_grammar(DRIVING, names, actions, most), rng)
    alignment = steps_to_controller(text, DRIVING, "natural")
    assert alignment.controller is not None, (text, [p.to_line() for p in alignment.problems])
    used = {t.action for t in alignment.controller.transitions}
    assert used <= {*actions, "epsilon"}


def test_the_decoding_grammar_is_valid():
    llguidance = pytest.importorskip("llguidance")
    grammar = decoding_grammar(DRIVING, DRIVING.proposition_names, DRIVING.action_names, 8)
    matcher = llguidance.LLMatcher
    error = matcher.validate_grammar(
        matcher.grammar_from_lark(grammar), llguidance.LLTokenizer("byte")
    )
    assert not error


def test_the_decoding_grammar_refuses_unknown_names():
    with pytest.raises(InputError, match="unknown action 'fly'"):
        decoding_grammar(DRIVING, [], ["fly"], 3)
    with pytest.raises(InputError, match="nothing to say"):
        decoding_grammar(DRIVING, [], [], 3)
