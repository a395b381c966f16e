"""Alignment of answers: as they are written, or rephrased by a model within the vocabulary."""

from dataclasses import replace

import pytest

from pipeline.alignment import align_as_written, align_with_model, model_aligner, steps_of
from pipeline.prompts import Scene
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
SCENE = Scene("", None, ("car_from_left", "pedestrian_at_right"), ("stop", "turn_right"))
LOOSE = (
    "Sure! Here are the steps:\n\n"
    "1. Have a look whether the car from left is there, my friend.\n"
    "2. If the car from left is near you, stop and wait for a moment.\n"
    "3. If the pedestrian at right is gone, turn right now, slowly.\n"
)
STRICT = "1. Observe the car from left.\n2. If there is no car from left, turn right."
NONSENSE = "Bananas are yellow."


def with_model(model, texts, scene=SCENE, **options):
    return align_with_model(model, texts, [scene] * len(texts), VOCABULARY, "natural", **options)


def actions(aligned):
    return {t.action for t in aligned.alignment.controller.transitions}


def test_as_written():
    strict, nonsense = align_as_written([STRICT, NONSENSE], VOCABULARY, "natural")
    assert (strict.text, nonsense.text) == (STRICT, NONSENSE)
    assert strict.alignment.controller is not None
    assert nonsense.alignment.controller is None
    assert nonsense.alignment.problems


@pytest.mark.parametrize(
    ("text", "count"),
    [(LOOSE, 3), (STRICT, 2), ("- Look.\n\n- Go.", 2), (NONSENSE, 1), (" \n", 0), ("x\n" * 40, 12)],
)
def test_steps_are_found(text, count):
    assert len(steps_of(text, VOCABULARY)) == count


def test_what_any_model_rephrases_can_be_read(tiny, tmp_path):
    texts = [LOOSE, NONSENSE, "1. " * 50, "x\n" * 40]
    for text, aligned in zip(texts, with_model(tiny, texts, cache=tmp_path), strict=True):
        assert aligned.alignment.controller is not None, aligned.text
        # A token is a letter to this model: twelve steps do not always fit.
        assert len(aligned.text.splitlines()) in (len(steps_of(text, VOCABULARY)), 4)
        assert actions(aligned) <= {"epsilon", *SCENE.actions}
        assert "opposite" not in aligned.text


def test_what_can_be_read_is_not_rephrased(tiny, tmp_path):
    first, last = "If there is a “car from left”, stop.", "Then turn right."
    (aligned,) = with_model(tiny, [f"1) {first}\n2) Whistle.\n3) {last}"], cache=tmp_path)
    lines = aligned.text.splitlines()
    assert (lines[0], lines[2]) == (f"1. {first}", f"3. {last}")
    assert lines[1].startswith("2. ")
    assert "Whistle" not in lines[1]
    fresh = replace(tiny)
    (aligned,) = with_model(fresh, [STRICT], cache=tmp_path)
    assert aligned.text == STRICT
    assert "model" not in vars(fresh)


def test_what_needs_other_steps_is_rephrased_with_them(tiny, tmp_path):
    text = "1. Whistle if there is a car from left.\n2. Otherwise, stop.\n3. Go to step 2."
    (aligned,) = with_model(tiny, [text], cache=tmp_path)
    assert aligned.alignment.controller is not None, aligned.text


def test_an_empty_answer_stays_empty(tiny, tmp_path):
    (aligned,) = with_model(tiny, [""], cache=tmp_path)
    assert aligned.text == ""
    assert aligned.alignment.controller is None


def test_one_at_a_time_is_the_same(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))
    align = model_aligner(tiny, VOCABULARY, "natural", SCENE)
    (aligned,) = with_model(tiny, [LOOSE], cache=tmp_path / "other")
    assert align(LOOSE) == aligned.alignment
    assert model_aligner(tiny, VOCABULARY, "natural")(LOOSE).controller is not None


@pytest.mark.model
def test_the_real_model_makes_a_loose_answer_readable(smollm2, tmp_path):
    (written,) = align_as_written([LOOSE], VOCABULARY, "natural")
    (aligned,) = with_model(smollm2, [LOOSE], cache=tmp_path)
    assert written.alignment.controller is None
    assert aligned.alignment.controller is not None
    assert "car from left" in aligned.text
