"""A model's score on a file of tasks: what ``specdrive evaluate`` computes and shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import adapter_hash
from pipeline.evaluation import Judge, Judged, Summary, summarize
from pipeline.prompts import Template
from pipeline.sampling import sample_tasks
from pipeline.tasks import Task
from verifier.verdicts import Verdict

if TYPE_CHECKING:
    from pipeline.generation import Answer, Sampling
    from pipeline.models import LanguageModel

_Row = tuple[Judged, int]
"""An answer and the number of its tokens."""


@dataclass(frozen=True)
class Scorecard:
    """What a model scores on tasks.

    Attributes:
        model: The model.
        samples: Answers per task.
        sampling: How they were drawn.
        constrained: Whether only steps in the vocabulary could be produced.
        semantics: The profile of the verdicts, as stored with every score.
        tasks: What was asked, in order.
        summary: Scores of all answers.
        by_task: Scores of the answers to each task, by id.
        by_world: Scores of the answers in each world, by name or path.
        worst: The answer that breaks the most rules, with its counterexamples; None if none
            breaks any.
        unread: The first answer that is no controller; None if all are.
    """

    model: LanguageModel
    samples: int
    sampling: Sampling
    constrained: bool
    semantics: Mapping[str, str]
    tasks: tuple[Task, ...]
    summary: Summary
    by_task: Mapping[str, Summary]
    by_world: Mapping[str, Summary]
    worst: Judged | None
    unread: Judged | None

    def to_json(self) -> dict[str, Any]:
        """Rates as ``{"value", "low", "high"}``, of all answers and per task."""
        return {
            "model": {"name": self.model.identifier, "hash": self.model.hash},
            "adapter": _adapter(self.model.adapter),
            "semantics": dict(self.semantics),
            "samples": self.samples,
            "seed": self.sampling.seed,
            "temperature": self.sampling.temperature,
            "constrained": self.constrained,
            **self.summary.to_json(),
            "tasks": {
                task.id: {
                    "prompt": task.prompt,
                    "world": task.world,
                    "action": task.action,
                    "split": task.split,
                    **self.by_task[task.id].to_json(),
                }
                for task in self.tasks
            },
            "worst": self._worst(),
            "unread": self._unread(),
        }

    def _worst(self) -> dict[str, Any] | None:
        if self.worst is None:
            return None
        verdict = explained(self.worst)
        return {
            "task": self.worst.task.id,
            "text": self.worst.text,
            "violated": list(self.worst.violated),
            "rule": verdict.id,
            "explanation": verdict.explanation,
        }

    def _unread(self) -> dict[str, Any] | None:
        if self.unread is None:
            return None
        return {
            "task": self.unread.task.id,
            "text": self.unread.text,
            "problems": [problem.to_line() for problem in self.unread.alignment.problems],
        }


def evaluate_tasks(
    model: LanguageModel,
    tasks: Sequence[Task],
    template: Template,
    judge: Judge,
    samples: int,
    sampling: Sampling,
    *,
    constrained: bool = False,
    on_answers: Callable[[Sequence[Answer]], None] = lambda _answers: None,
) -> Scorecard:
    """Sample answers to tasks, verify each, and count.

    Raises:
        InputError: A world or the model cannot be loaded.
    """
    by_id = {task.id: task for task in tasks}
    answers = sample_tasks(
        model,
        tasks,
        template,
        judge.vocabulary,
        samples,
        sampling,
        constrained=constrained,
        on_answers=on_answers,
    )
    rows = [(judge.judge(by_id[answer.task], answer.text), answer.tokens) for answer in answers]
    judged = [item for item, _ in rows]
    bad = _worst(judged)
    return Scorecard(
        model=model,
        samples=samples,
        sampling=sampling,
        constrained=constrained,
        semantics=judge.semantics.to_json(),
        tasks=tuple(tasks),
        summary=_summary(rows),
        by_task=_grouped(rows, lambda task: task.id),
        by_world=_grouped(rows, lambda task: task.world),
        worst=judge.judge(bad.task, bad.text, counterexamples=True) if bad else None,
        unread=next((item for item in judged if item.controller is None), None),
    )


def explained(judged: Judged) -> Verdict:
    """The first rule of ``road`` that the worst answer violates, with its counterexample."""
    return next(v for v in judged.road.verdicts if v.value == "violated")


def _worst(judged: Sequence[Judged]) -> Judged | None:
    """The answer that breaks the most safety rules, else one that fails its manoeuvre."""
    guilty = [item for item in judged if item.violated or item.progress == "violated"]
    return max(guilty, key=lambda item: len(item.violated), default=None)


def _summary(rows: Sequence[_Row]) -> Summary:
    return summarize([judged for judged, _ in rows], [tokens for _, tokens in rows])


def _grouped(rows: Sequence[_Row], key: Callable[[Task], str]) -> dict[str, Summary]:
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(key(row[0].task), []).append(row)
    return {name: _summary(group) for name, group in groups.items()}


def _adapter(folder: Path | None) -> dict[str, str] | None:
    return {"path": str(folder), "hash": adapter_hash(folder)} if folder is not None else None
