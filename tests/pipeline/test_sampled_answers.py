"""The corpus of sampled answers: complete, consistent with the bank, and really sampled."""

import json
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.tasks import load_tasks
from verifier.steps import steps_to_controller
from verifier.vocabulary import load_vocabulary

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
ROWS = [json.loads(line) for line in (CORPUS / "answers.jsonl").read_text("utf-8").splitlines()]
FIELDS = {
    *("id", "task", "prompt", "world", "action", "split"),
    *("template", "temperature", "seed", "sample", "finish", "text"),
}


def test_size():
    assert len(ROWS) >= 600
    assert (CORPUS / "answers.jsonl").stat().st_size < 1_000_000
    assert len({row["text"] for row in ROWS}) >= 600


def test_rows_have_the_documented_fields_and_distinct_ids():
    assert all(set(row) == FIELDS for row in ROWS)
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert {row["finish"] for row in ROWS} == {"stop", "list_end", "length"}


def test_rows_agree_with_the_task_bank():
    tasks = {task.id: task for task in load_tasks()}
    for row in ROWS:
        task = tasks[row["task"]]
        assert (row["prompt"], row["world"]) == (task.prompt, task.world)
        assert (row["action"], row["split"]) == (task.action, task.split)


def test_parts_are_those_of_the_script():
    parts = runpy.run_path(str(CORPUS / "make.py"))["PARTS"]
    tasks = len({row["task"] for row in ROWS})
    counts = Counter((row["template"], row["temperature"], row["seed"]) for row in ROWS)
    assert counts == {
        (part.template, part.sampling.temperature, part.sampling.seed): part.samples * tasks
        for part in parts
    }


def test_holds_readable_and_unreadable_answers():
    vocabulary = load_vocabulary()
    read = [
        bool(steps_to_controller(row["text"], vocabulary, "natural").controller) for row in ROWS
    ]
    assert 100 < sum(read) < len(ROWS) - 100


@pytest.mark.model
def test_the_script_samples_the_same_answers_again(tmp_path, monkeypatch, smollm2):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))  # forget cached answers
    script = runpy.run_path(str(CORPUS / "make.py"))
    vocabulary = load_vocabulary()
    tasks = script["tasks_of_corpus"](vocabulary)[:1]
    # Functions of a script read its global names when called.
    script["rows"].__globals__["tasks_of_corpus"] = lambda _vocabulary: tasks
    part = script["PARTS"][1]
    brief = replace(part, samples=2, sampling=replace(part.sampling, max_new_tokens=20))
    again = list(script["rows"](brief, smollm2, vocabulary))
    texts = {row["id"]: row["text"] for row in ROWS}
    assert len(again) == 2
    for row in again:
        assert len(row["text"]) > 40
        assert texts[row["id"]].startswith(row["text"])
