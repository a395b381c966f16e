"""Chunks: kept whole, used again, sampled from nothing but their own prompts."""

import json

import pytest

from pipeline import generation
from pipeline.chunks import sample_in_chunks
from pipeline.generation import Sampling, generate
from pipeline.prompts import Message, Prompt

SHORT = Sampling(max_new_tokens=4, seed=5)
PROMPTS = [Prompt(f"t{i}", "plain", (Message("user", f"question {i}"),)) for i in range(5)]


@pytest.fixture
def batches(monkeypatch):
    """Sizes of the batches that were sampled."""
    sizes: list[int] = []
    sample = generation.sample_batch

    def counted(model, requests, **how):
        sizes.append(len(requests))
        return sample(model, requests, **how)

    monkeypatch.setattr(generation, "sample_batch", counted)
    return sizes


def chunked(model, folder, prompts=PROMPTS, samples=2, sampling=SHORT, chunk=4, **how):
    return sample_in_chunks(model, prompts, samples, sampling, folder, chunk=chunk, **how)


def test_answers_are_those_of_plain_sampling(tiny, tmp_path, batches):
    told = []
    answers = chunked(tiny, tmp_path / "a", on_answers=told.append)
    assert (batches, told) == ([4, 4, 2], [4, 4, 2])
    assert answers == generate(tiny, PROMPTS, 2, SHORT, cache=tmp_path / "b")
    assert [(a.task, a.sample) for a in answers] == [(p.task, i) for p in PROMPTS for i in (0, 1)]


def test_what_is_there_is_not_sampled_again(tiny, tmp_path, batches):
    whole = chunked(tiny, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name[:5] for file in files] == ["00000", "00002", "00004"]
    files[1].unlink()
    files[2].write_text(files[2].read_text("utf-8")[:-30])  # torn
    batches.clear()
    assert chunked(tiny, tmp_path) == whole
    assert batches == [4, 2]
    batches.clear()
    assert chunked(tiny, tmp_path) == whole
    assert batches == []
    assert sorted(tmp_path.iterdir()) == files


def test_the_users_cache_is_neither_read_nor_written(tiny, tmp_path, batches, monkeypatch):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path / "cache"))
    generate(tiny, PROMPTS, 2, SHORT)
    held = {file: file.read_bytes() for file in (tmp_path / "cache").rglob("*.jsonl")}
    batches.clear()
    chunked(tiny, tmp_path / "run")
    assert batches == [4, 4, 2]
    assert {f: f.read_bytes() for f in (tmp_path / "cache").rglob("*.jsonl")} == held


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(max_new_tokens=4, seed=6)},
        {"samples": 1, "chunk": 2},
        {"chunk": 5},
        {"prompts": [*PROMPTS[1:], PROMPTS[0]]},
        {"grammars": ['start: "a"+'] * 5},
    ],
    ids=lambda change: "+".join(change),
)
def test_other_questions_are_other_chunks(tiny, tmp_path, batches, change):
    chunked(tiny, tmp_path)
    batches.clear()
    chunked(tiny, tmp_path, **change)
    assert len(batches) >= 3


def test_a_prompt_with_more_samples_than_a_chunk_is_not_torn_apart(tiny, tmp_path, batches):
    answers = chunked(tiny, tmp_path, PROMPTS[:2], samples=6)
    assert [(a.task, a.sample) for a in answers] == [(t, i) for t in ("t0", "t1") for i in range(6)]
    assert len([*tmp_path.iterdir()]) == 2
    assert batches == [4, 2, 4, 2]


def test_each_prompt_has_its_own_grammar(tiny, tmp_path):
    grammars = ['start: "x"', None, 'start: "y"', None, 'start: "z"']
    answers = chunked(tiny, tmp_path, samples=1, grammars=grammars)
    assert [a.text for a in answers][::2] == ["x", "y", "z"]
    rows = [json.loads(line) for f in sorted(tmp_path.iterdir()) for line in f.open()]
    assert [row["sampling"]["grammar"] is None for row in rows] == [False, True] * 2 + [False]
