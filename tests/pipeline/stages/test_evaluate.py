"""Stage evaluate: rows, scores, variations, divergence; the same whether or not it was killed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig
from pipeline.decoding import Completion, Request
from pipeline.models import LanguageModel
from pipeline.stages import evaluate
from pipeline.stages.context import StageContext
from pipeline.tasks import load_tasks

FILES = ("answers.jsonl", "robustness.jsonl", "summary.json")


def config(model: LanguageModel, **changes: Any) -> RunConfig:
    settings = {"samples": 2, "limit": 3, "max_new_tokens": 5, "seeds": [0, 1]} | changes
    return RunConfig.model_validate(
        {
            "model": {"name": str(model.folder), "device": "cpu"},
            "evaluate": settings,
            "select": {"split": settings.get("splits", ["validation"])[0]},
        }
    )


def run(
    config: RunConfig, work: Path, adapter: Path | None = None, report: Any = None
) -> dict[str, Any]:
    work.mkdir(exist_ok=True)
    inputs = {"adapter": adapter} if adapter else {}
    context = StageContext(config, 2, inputs, work, report or (lambda *_: None))
    evaluate.run(context)
    return json.loads((work / "summary.json").read_text("utf-8"))


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def whole(tiny, tiny_adapter, tmp_path_factory) -> Path:
    """An evaluation of a random adapter that nothing disturbed."""
    work = tmp_path_factory.mktemp("whole")
    run(config(tiny), work, tiny_adapter)
    return work


def test_every_task_is_answered_by_every_seed(whole):
    answers = rows(whole / "answers.jsonl")
    asked = [
        task.id
        for split in ("train", "validation", "test")
        for task in load_tasks(splits=[split])[:3]
    ]
    expected = [(seed, task, sample) for seed in (0, 1) for task in asked for sample in (0, 1)]
    assert [(r["seed"], r["task"], r["sample"]) for r in answers] == expected
    assert [r["id"] for r in answers] == [f"e02-{i:05d}" for i in range(36)]
    assert all(r["verdict"]["answer"] == r["id"] for r in answers)
    assert len({r["text"] for r in answers}) > 30


def test_summary_has_every_field(whole, tiny):
    summary = json.loads((whole / "summary.json").read_text("utf-8"))
    assert list(summary) == [
        *("model", "adapter", "samples", "seeds", "temperature", "splits", "best_of"),
        *("paraphrased", "renamed", "trivial", "perplexity", "kl", "per_seed"),
    ]
    assert {name: s["answers"] for name, s in summary["splits"].items()} == {
        "train": 12,
        "validation": 12,
        "test": 12,
        "test_known_worlds": 12,
        "test_new_worlds": 0,
    }
    assert summary["paraphrased"]["answers"] == summary["renamed"]["answers"] == 3
    assert summary["adapter"].startswith("sha256:")
    assert summary["model"] != tiny.hash
    assert list(summary["per_seed"]) == ["0", "1"]
    assert summary["trivial"]["always_stop"]["strict_success"]["value"] == 0
    assert summary["perplexity"]["neutral"] > 1
    assert summary["kl"]["answers"] == 3
    assert 0 < summary["kl"]["per_token"] < summary["kl"]["per_answer"]


def test_variations_are_in_their_own_file(whole):
    varied = rows(whole / "robustness.jsonl")
    assert [(r["id"], r["variation"], r["renaming"]) for r in varied] == [
        ("p02-00000", "paraphrased", None),
        ("p02-00001", "paraphrased", None),
        ("p02-00002", "paraphrased", None),
        ("r02-00000", "renamed", "familiar"),
        ("r02-00001", "renamed", "invented"),
        ("r02-00002", "renamed", "familiar"),
    ]
    wordings = {task.id: task.prompt for task in load_tasks()}
    assert all(row["asked"] != wordings[row["task"]] for row in varied)
    assert {(row["seed"], row["sample"], row["split"]) for row in varied} == {(0, 0, "test")}


class Killed(BaseException):
    """In place of a signal."""


@pytest.mark.parametrize("after", [1, 3, 5, 6])
def test_a_killed_attempt_is_taken_up_without_a_trace(after, whole, tiny, tiny_adapter, tmp_path):
    heard: list[tuple[str, int, int]] = []

    def report(what: str, done: int, total: int) -> None:
        heard.append((what, done, total))
        if len(heard) == after:
            raise Killed

    with pytest.raises(Killed):
        run(config(tiny), tmp_path, tiny_adapter, report)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "partial").rglob("*.json*")}
    assert before
    run(config(tiny), tmp_path, tiny_adapter)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_switches_and_the_base(tiny, tmp_path):
    settings = config(tiny, robustness=False, perplexity=False, splits=["validation"], limit=1)
    summary = run(settings, tmp_path)
    assert summary["adapter"] is None
    assert [summary[key] for key in ("paraphrased", "renamed", "perplexity", "kl")] == [None] * 4
    assert list(summary["splits"]) == ["validation"]
    assert (tmp_path / "robustness.jsonl").read_text() == ""
    only = run(config(tiny, robustness=False, limit=1, splits=["test"]), tmp_path / "base")
    assert only["perplexity"]["tokens"] > 4000
    assert only["kl"] is None


def scripted(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The model now waits until all that it was told of is absent, then makes the manoeuvre."""
    asked: list[str] = []

    def sample(_model: Any, requests: Sequence[Request], **_how: Any) -> list[Completion]:
        return [Completion(answer(model.tokenizer.decode(r.ids)), 9, "stop") for r in requests]

    def answer(prompt: str) -> str:
        asked.append(prompt)
        task, seen = re.findall(r"steps to (.*?)\. .*?observations: (.*?)\.", prompt, re.DOTALL)[-1]
        side = re.search(r"\b(left|right)\b(?!-turn)", task)
        manoeuvre = f"turn {side[0]}" if side else "go straight"
        absent = " and ".join(f"no {thing}" for thing in seen.split(", ") if "green" not in thing)
        green = [f"the {thing[6:]} is green" for thing in seen.split(", ") if "green" in thing][:1]
        return f"1. If {' and '.join([*green, 'there is ' + absent])}, {manoeuvre}."

    monkeypatch.setattr("pipeline.generation.sample_batch", sample)
    return asked


def test_renamed_answers_are_read_in_their_own_words(tiny, tmp_path, monkeypatch):
    asked = scripted(tiny, monkeypatch)
    settings = config(tiny, samples=1, seeds=[0], limit=9, splits=["test"], perplexity=False)
    summary = run(settings, tmp_path)
    plain = rows(tmp_path / "answers.jsonl")
    varied = rows(tmp_path / "robustness.jsonl")
    assert len(asked) == 27
    assert summary["splits"]["test"]["parse_rate"]["value"] == 1
    assert summary["splits"]["test"]["strict_success"]["value"] > 0.5
    # The same driver gets the same verdicts under whatever names.
    for variation in ("paraphrased", "renamed"):
        others = [row for row in varied if row["variation"] == variation]
        assert summary[variation]["strict_success"] == summary["splits"]["test"]["strict_success"]
        for one, other in zip(plain, others, strict=True):
            for part in ("road", "paper", "controller"):
                assert one["verdict"][part] == other["verdict"][part]
    texts = [row["text"] for row in varied if row["renaming"] == "familiar"]
    assert all("tram" in text and "car" not in text for text in texts)
