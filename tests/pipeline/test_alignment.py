"""Alignment of answers: as they are written, or rephrased by a model within the vocabulary."""

import pytest

from pipeline.alignment import align_as_written, align_with_model, count_steps, model_aligner
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
    [(LOOSE, 3), (STRICT, 2), ("- Look.\n\n- Go.", 2), (NONSENSE, 1), (" \n", 0)],
)
def test_steps_are_counted(text, count):
    assert count_steps(text) == count


def test_what_any_model_rephrases_can_be_read(tiny, tmp_path):
    texts = [LOOSE, STRICT, NONSENSE, "1. " * 50, "x\n" * 40]
    for text, aligned in zip(texts, with_model(tiny, texts, cache=tmp_path), strict=True):
        assert aligned.alignment.controller is not None, aligned.text
        assert count_steps(aligned.text) <= count_steps(text)
        assert actions(aligned) <= {"epsilon", *SCENE.actions}
        assert "opposite" not in aligned.text


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
def test_the_real_model_keeps_what_is_in_the_vocabulary(smollm2, tmp_path):
    (aligned,) = with_model(smollm2, [STRICT], cache=tmp_path)
    assert aligned.text == STRICT


@pytest.mark.model
def test_the_real_model_makes_a_loose_answer_readable(smollm2, tmp_path):
    (written,) = align_as_written([LOOSE], VOCABULARY, "natural")
    (aligned,) = with_model(smollm2, [LOOSE], cache=tmp_path)
    assert written.alignment.controller is None
    assert aligned.alignment.controller is not None
    assert "car from left" in aligned.text
