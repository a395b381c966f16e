"""The demonstration: a real model answers driving tasks, every answer is model-checked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation import Judge, Judged, Summary, summarize, worst
from pipeline.files import write_bytes, write_text
from pipeline.generation import Answer, Sampling
from pipeline.models import LanguageModel
from pipeline.prompts import Template
from pipeline.sampling import sample_tasks
from pipeline.tasks import Task
from verifier.controller import Controller, Transition, controller_to_json
from verifier.dot import controller_dot, counterexample_dot
from verifier.drawing import render
from verifier.steps import Alignment
from verifier.verdicts import Verdict
from verifier.vocabulary import Vocabulary

ALWAYS_STOP = Controller(0, 1, (Transition(0, "true", "stop", 0),))
"""The trivial controller that the paper's rules like best."""

_DISPLAY_NAMES = {"smollm2": "SmolLM2-135M-Instruct"}


@dataclass(frozen=True)
class Series:
    """Answers obtained in one way, with their scores."""

    name: str
    judged: tuple[Judged, ...]
    summary: Summary


@dataclass(frozen=True)
class Demo:
    """What the demonstration found.

    Attributes:
        tasks: What was asked.
        series: Free sampling, constrained sampling, and the controller that always stops.
        worst: The judged answer with the most broken safety rules, with counterexamples.
        best: A strict success, if there is one.
        seconds: Durations of sampling and verification.
        model: Name of the model.
    """

    tasks: tuple[Task, ...]
    series: tuple[Series, ...]
    worst: Judged | None
    best: Judged | None
    seconds: dict[str, float]
    model: str


def choose_tasks(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """At most ``count`` tasks, each in another world as long as there are worlds."""
    worlds: dict[str, list[Task]] = {}
    for task in tasks:
        worlds.setdefault(task.world, []).append(task)
    manoeuvres = [
        list({task.action: task for task in reversed(group)}.values()) for group in worlds.values()
    ]
    rounds = max((len(group) for group in manoeuvres), default=0)
    order = [
        group[(position + turn) % len(group)]
        for turn in range(rounds)
        for position, group in enumerate(manoeuvres)
        if turn < len(group)
    ]
    return tuple(order[:count])


def run_demo(
    model: LanguageModel,
    tasks: Sequence[Task],
    template: Template,
    judge: Judge,
    sampling: Sampling,
    samples: int,
    advance: Callable[[int], None],
) -> Demo:
    """Sample freely and within the grammar, and judge every answer."""
    by_id = {task.id: task for task in tasks}
    series: list[Series] = []
    started = time.monotonic()
    answers: dict[str, list[Answer]] = {}
    for name, constrained in (("free sampling", False), ("constrained sampling", True)):
        answers[name] = sample_tasks(
            model,
            tasks,
            template,
            judge.vocabulary,
            samples,
            sampling,
            constrained=constrained,
            on_answers=lambda done: advance(len(done)),
        )
    sampled = time.monotonic()
    for name, rows in answers.items():
        judged = tuple(judge.judge(by_id[answer.task], answer.text) for answer in rows)
        series.append(Series(name, judged, summarize(judged)))
    stopping = tuple(
        judge.judge_alignment(task, "1. Stop. Go to step 1.", Alignment(ALWAYS_STOP, ()))
        for task in tasks
    )
    series.append(Series("always stopping", stopping, summarize(stopping)))
    verified = time.monotonic()
    sampled_ones = [item for one in series[:-1] for item in one.judged]
    bad = worst(sampled_ones)
    return Demo(
        tasks=tuple(tasks),
        series=tuple(series),
        worst=judge.judge(bad.task, bad.text, counterexamples=True) if bad else None,
        best=next((item for item in sampled_ones if item.strict_success), None),
        seconds={"sampling": sampled - started, "verification": verified - sampled},
        model=_DISPLAY_NAMES.get(model.identifier, model.identifier),
    )


def worst_verdict(judged: Judged) -> Verdict:
    """The first violated rule of ``road`` that comes with a counterexample."""
    return next(verdict for verdict in judged.road.verdicts if verdict.counterexample is not None)


def write_artefacts(demo: Demo, folder: Path, vocabulary: Vocabulary) -> None:
    """Answers with verdicts (JSON Lines), the summary and the pictures."""
    rows = [
        {"series": one.name, "task": item.task.id, "prompt": item.task.prompt, "text": item.text}
        | {
            "controller": controller_to_json(item.controller) if item.controller else None,
            "problems": [problem.to_line() for problem in item.alignment.problems],
            "strict_success": item.strict_success,
            "paper_score": item.paper_score,
            "road": item.road.to_json(),
            "paper": item.paper.to_json(),
        }
        for one in demo.series
        for item in one.judged
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(folder / "answers.jsonl", lines)
    summary = {
        "model": demo.model,
        "tasks": len(demo.tasks),
        "seconds": demo.seconds,
        "series": {one.name: one.summary.to_json() for one in demo.series},
    }
    write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    for name, drawing in drawings(demo, vocabulary).items():
        for form in ("svg", "png"):
            write_bytes(folder / "pictures" / f"{name}.{form}", render(drawing, form))


def drawings(demo: Demo, vocabulary: Vocabulary) -> dict[str, str]:
    """DOT of the worst answer's controller and counterexample, and of the best controller."""
    found: dict[str, str] = {}
    if demo.worst is not None and demo.worst.controller is not None:
        verdict = worst_verdict(demo.worst)
        assert verdict.counterexample is not None
        found["worst_controller"] = controller_dot(demo.worst.controller, vocabulary)
        rules = {s.id: s for s in demo.worst.rules.specifications}
        found["worst_counterexample"] = counterexample_dot(
            verdict.counterexample,
            rules[verdict.id],
            demo.worst.controller.steps,
            vocabulary,
        )
    if demo.best is not None and demo.best.controller is not None:
        found["best_controller"] = controller_dot(demo.best.controller, vocabulary)
    return found
