"""Whatever the text: no crash, no hang, and never a controller from words that were not read."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.steps import steps_to_controller
from verifier.steps.lexicon import lexicon_of
from verifier.vocabulary import load_vocabulary

DRIVING = load_vocabulary("driving")
LEXICON = lexicon_of(DRIVING)
KNOWN = {
    *LEXICON.fillers,
    *LEXICON.possessives,
    *LEXICON.numbers,
    *(word for phrase in LEXICON.phrases for word in phrase.lower().replace("-", " ").split()),
    *(w for phrase in LEXICON.phrases for w in phrase.replace("_", " ").lower().split()),
    "step",
}
VOCABULARY = sorted(KNOWN)
REAL = (
    "Observe the traffic light.",
    "If the traffic light is green and there is no car from left, turn right.",
    "Stop and wait until the light turns green.",
    "If there is neither a car from left nor a pedestrian at right, turn right; otherwise, stop.",
    "Yield to pedestrians, then go straight through the intersection.",
    "Check the car from left and the pedestrian at right.",
    "Turn left unless there is an opposite car.",
    "If the light is red, stop and go to step 1.",
)


def unknown_words(text: str) -> set[str]:
    """Runs of letters that are in no phrase."""
    letters = "".join(c if c.isalpha() or c in "'’" else " " for c in text.lower())
    return {
        w for w in letters.replace("’", "'").split() if w.strip("'") and w.strip("'") not in KNOWN
    }


def check(text: str) -> bool:
    """Whether it was read; asserts that a controller left no word out."""
    alignment = steps_to_controller(text, DRIVING, "natural")
    assert (alignment.controller is None) == bool(alignment.problems)
    if alignment.controller is not None:
        assert not unknown_words("\n".join(alignment.controller.steps)), text
        assert all(t.step is not None for t in alignment.controller.transitions)
    return alignment.controller is not None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text(text):
    check(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*VOCABULARY, ",", ".", "\n", "1.", "2."]), max_size=25))
def test_known_words_in_any_order(words):
    check(" ".join(words))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(REAL), min_size=1, max_size=5),
    st.data(),
    st.text("bcdfghjklmnpqrstvwxz", min_size=4, max_size=9),
)
def test_a_strange_word_anywhere_in_a_step_is_a_problem(steps, data, strange):
    words = [step.split() for step in steps]
    which = data.draw(st.integers(0, len(words) - 1))
    words[which].insert(data.draw(st.integers(0, len(words[which]))), strange)
    text = "\n".join(f"{number}. {' '.join(step)}" for number, step in enumerate(words, start=1))
    alignment = steps_to_controller(text, DRIVING, "natural")
    assert strange in KNOWN or alignment.controller is None
    assert strange in KNOWN or any(
        p.line == which + 1 and strange in p.words for p in alignment.problems
    )


def mutated(rng: random.Random) -> str:
    """A real step with characters deleted, doubled or swapped."""
    characters = list(rng.choice(REAL))
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(characters))
        characters[position] = rng.choice(["", " ", ",", "x", ".", characters[position] * 2, "\n"])
    return "".join(characters)


def gibberish(rng: random.Random) -> str:
    """Words that do not exist."""
    words = ["".join(rng.choices("bcdfghjklmnpqrtvwxz", k=rng.randint(4, 8))) for _ in range(4)]
    return f"{rng.choice(['', '1. ', '- '])}{' '.join(words)}"


def characters(rng: random.Random) -> str:
    """Characters from all of Unicode."""
    codes = (rng.choice([rng.randrange(32, 127), rng.randrange(0xD800)]) for _ in range(12))
    return "".join(map(chr, codes))


@pytest.mark.parametrize("kind", [mutated, gibberish, characters])
def test_a_hundred_thousand_texts(kind):
    rng = random.Random(20261123)
    for _ in range(34_000):
        text = kind(rng)
        read = check(text)
        assert not (read and kind is gibberish), text


def test_hostile_texts():
    for text in (
        "1. " + "if " * 20_000,
        "1. " + "there is no " * 5_000 + "car",
        "If " + " and ".join(["there is no car from left"] * 2_000) + ", stop.",
        "9" * 5_000 + ". stop",
        "go to step " + "9" * 5_000,
        "1. stop and go to step 99999999999.",
        "\n".join(f"{n}. stop" for n in range(1, 25_000)),
        "If the light is green, stop; otherwise, " * 3_000 + "stop.",
        "1. If the light is red, stop.\n" + "Otherwise, if the light is green, stop.\n" * 3_000,
        "\x00\x1b[31m1. stop\u202e",
    ):
        check(text)
