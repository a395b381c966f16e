"""What a model answers to a set of tasks, and two models compared on the same prompts and seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.chunks import sample_in_chunks
from pipeline.evaluation import Judge, Judged, summarize
from pipeline.files import write_text
from pipeline.generation import Answer, Sampling
from pipeline.likelihood import Said
from pipeline.perplexity import perplexity
from pipeline.prompts import Prompt, Template
from pipeline.quantized.drift import drift
from pipeline.quantized.paired import clustered_interval, paired
from pipeline.stages.evaluate import Evaluated
from pipeline.tasks import Task, task_prompt

if TYPE_CHECKING:
    from pipeline.models import LanguageModel

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Questions:
    """What every model is asked, and how answers are judged.

    Attributes:
        tasks: In order.
        template: How they are asked.
        judge: What decides.
        samples: Answers per task and seed.
        samplings: One per seed.
        partial: Folder that keeps what an interrupted attempt has found.
        report: Progress.
    """

    tasks: tuple[Task, ...]
    template: Template
    judge: Judge
    samples: int
    samplings: tuple[Sampling, ...]
    partial: Path
    report: Report

    @property
    def prompts(self) -> list[Prompt]:
        """One per task."""
        return [task_prompt(task, self.template, self.judge.vocabulary) for task in self.tasks]


@dataclass(frozen=True)
class Measured:
    """A model's answers, judged, and its perplexity.

    Attributes:
        name: ``bf16``, ``quantized`` or ``recovered``.
        model: Its hash.
        rows: In the order of seeds, tasks and samples.
        perplexity: As `pipeline.perplexity` gives it.
    """

    name: str
    model: str
    rows: tuple[Evaluated, ...]
    perplexity: Mapping[str, Any]

    @property
    def strict_success(self) -> float:
        """Share of the answers; 0 without any."""
        return sum(row.judged.strict_success for row in self.rows) / max(1, len(self.rows))

    def first_answers(self) -> list[Said]:
        """The first answer to every task."""
        seed = self.rows[0].seed if self.rows else 0
        return [
            Said(row.prompt, row.answer.text, row.answer.finish == "stop")
            for row in self.rows
            if row.seed == seed and row.answer.sample == 0
        ]

    def to_json(self) -> dict[str, Any]:
        """Scores of all answers and of each split."""
        return {
            "model": self.model,
            "all": _summary(self.rows),
            "splits": {name: _summary(rows) for name, rows in by_split(self.rows).items()},
            "perplexity": dict(self.perplexity),
        }


def measure(questions: Questions, model: LanguageModel, name: str) -> Measured:
    """Ask a model everything; what an interrupted attempt has asked is not asked again."""
    prompts = questions.prompts
    total, done = len(prompts) * questions.samples * len(questions.samplings), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        questions.report(f"answers of the {name} model", done, total)

    by_id = {task.id: (task, prompt) for task, prompt in zip(questions.tasks, prompts, strict=True)}
    rows: list[Evaluated] = []
    for sampling in questions.samplings:
        answers = sample_in_chunks(
            model,
            prompts,
            questions.samples,
            sampling,
            questions.partial / "answers",
            on_answers=advance,
        )
        rows += [
            _judged(questions, answer, *by_id[answer.task], sampling.seed, name, len(rows) + i)
            for i, answer in enumerate(answers)
        ]

    def on_text() -> dict[str, Any]:
        questions.report(f"perplexity of the {name} model", 0, 1)
        return perplexity(model).to_json()

    file = questions.partial / "perplexity" / f"{model.hash.removeprefix('sha256:')}.json"
    return Measured(name, model.hash, tuple(rows), kept(file, on_text))


def compare(
    questions: Questions,
    before: Measured,
    after: Measured,
    models: tuple[LanguageModel, LanguageModel],
) -> dict[str, Any]:
    """What changes from one model to another, with intervals.

    ``strict_success`` has Newcombe's interval for paired proportions, ``by_task`` one that takes
    answers to one task for alike; ``drift`` is along the first answers of the model before.

    Args:
        questions: What both were asked.
        before: What one answered.
        after: What the other answered.
        models: Both, in this order.
    """
    pairs = list(zip(before.rows, after.rows, strict=True))
    keys = [model.removeprefix("sha256:")[:16] for model in (before.model, after.model)]

    def moved() -> dict[str, Any]:
        questions.report(f"drift of the {after.name} model", 0, 1)
        return drift(*models, before.first_answers()).to_json()

    file = questions.partial / "drift" / f"{'-'.join(keys)}.json"
    splits = {split: _differences(part) for split, part in _pairs_by_split(pairs).items()}
    return {
        **_differences(pairs),
        "splits": splits,
        "perplexity": after.perplexity["neutral"] - before.perplexity["neutral"],
        "drift": kept(file, moved),
    }


def kept(file: Path, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A measurement from an interrupted attempt, else made now and kept."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    result = measured()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(result) + "\n")
    return result


def by_split(rows: Sequence[Evaluated]) -> dict[str, list[Evaluated]]:
    """Answers by the split of their tasks, in the order of the splits."""
    groups: dict[str, list[Evaluated]] = {}
    for row in rows:
        groups.setdefault(row.judged.task.split, []).append(row)
    return groups


_Pair = tuple[Evaluated, Evaluated]


def _pairs_by_split(pairs: Sequence[_Pair]) -> dict[str, list[_Pair]]:
    groups: dict[str, list[_Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair[0].judged.task.split, []).append(pair)
    return groups


def _differences(pairs: Sequence[_Pair]) -> dict[str, Any]:
    strict = paired(*([row.judged.strict_success for row in side] for side in _sides(pairs)))
    return {
        "strict_success": strict.to_json(),
        "by_task": _clustered(pairs, lambda judged: float(judged.strict_success)),
        "paper_score": _clustered(pairs, lambda judged: judged.paper_score),
        "same_text": sum(a.answer.text == b.answer.text for a, b in pairs) / max(1, len(pairs)),
    }


def _sides(pairs: Sequence[_Pair]) -> tuple[list[Evaluated], list[Evaluated]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _clustered(pairs: Sequence[_Pair], score: Callable[[Judged], float]) -> dict[str, float | None]:
    changes: dict[str, list[float]] = {}
    for before, after in pairs:
        change = score(after.judged) - score(before.judged)
        changes.setdefault(before.judged.task.id, []).append(change)
    low, high = clustered_interval(changes)
    flat = [change for group in changes.values() for change in group]
    return {"value": sum(flat) / len(flat) if flat else None, "low": low, "high": high}


def _judged(
    questions: Questions,
    answer: Answer,
    task: Task,
    prompt: Prompt,
    seed: int,
    name: str,
    number: int,
) -> Evaluated:
    judged = questions.judge.judge(task, answer.text)
    return Evaluated(f"{name}-{number:05d}", seed, answer, judged, prompt, {"weights": name})


def _summary(rows: Sequence[Evaluated]) -> dict[str, Any]:
    return summarize([row.judged for row in rows], [row.answer.tokens for row in rows]).to_json()
