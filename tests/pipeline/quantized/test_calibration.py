"""Calibration rows: answers and prose in equal parts, the same every time, no held-out task."""

import pytest

from pipeline.perplexity import neutral_text
from pipeline.prompts import Message, Prompt, chat_text
from pipeline.quantized.calibration import calibration_rows, prose

PROMPTS = [Prompt(str(i), "plain", (Message("user", f"Turn {word}."),)) for i, word in enumerate(("left", "right", "back"))]  # fmt: skip


def rows_of(model, count, length=40, seed=0, **how):
    return calibration_rows(model, count, length, seed, prompts=PROMPTS, **how)


@pytest.mark.parametrize("count", [1, 2, 5, 11])
def test_half_are_prompts_with_answers_and_half_is_prose(tiny, tmp_path, count):
    rows = rows_of(tiny, count, folder=tmp_path)
    assert len(rows) == count
    starts = [tuple(tiny.tokenizer(chat_text(tiny.tokenizer, p)).input_ids) for p in PROMPTS]
    said = [row for row in rows if any(tuple(row[: len(s)]) == s for s in starts)]
    assert len(said) == (count + 1) // 2
    assert len({tuple(row) for row in said}) == len(said)
    text = prose()
    for row in rows[len(said) :]:
        assert len(row) == 40
        assert tiny.tokenizer.decode(row, skip_special_tokens=True).strip("\ufffd") in text


def test_rows_follow_from_the_seed(tiny, tmp_path):
    first = rows_of(tiny, 6, folder=tmp_path / "a")
    assert rows_of(tiny, 6, folder=tmp_path / "b") == first
    assert rows_of(tiny, 6, seed=1, folder=tmp_path / "c") != first


def test_what_was_sampled_is_not_sampled_again(tiny, tmp_path, monkeypatch):
    first = rows_of(tiny, 4, folder=tmp_path)
    monkeypatch.setattr("pipeline.chunks.generate", pytest.fail)
    assert rows_of(tiny, 4, folder=tmp_path) == first


def test_long_rows_are_cut_and_more_prose_than_there_is_overlaps(tiny, tmp_path):
    assert {len(row) for row in rows_of(tiny, 6, length=7, folder=tmp_path)} == {7}
    length = len(tiny.tokenizer(prose(), verbose=False).input_ids) // 2
    rows = calibration_rows(tiny, 5, length, 0, prompts=[])
    assert [len(row) for row in rows] == [length] * 5


def test_the_shipped_tasks_are_those_of_training(tiny, monkeypatch):
    from pipeline.tasks import load_tasks
    from verifier.vocabulary import load_vocabulary

    asked = []

    def nothing(_model, prompts, *_args, **_kwargs):
        asked.extend(prompt.task for prompt in prompts)
        return []

    monkeypatch.setattr("pipeline.generation.generate", nothing)
    calibration_rows(tiny, 1000, 16, 0)
    tasks = load_tasks("driving", load_vocabulary())
    assert asked == [task.id for task in tasks if task.split == "train"]


def test_prose_is_long_and_not_what_perplexity_is_measured_on():
    text = prose()
    assert len(text.split()) > 20_000
    measured = set(neutral_text().split("\n\n"))
    assert not measured & {part for part in text.split("\n\n") if len(part) > 60}
