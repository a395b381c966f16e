"""Stage ``verify``: every answer read, and model-checked under both rule books."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation import Judge
from pipeline.files import read_rows, write_rows
from pipeline.stages.context import StageContext
from pipeline.stages.generate import ANSWERS, round_tasks
from pipeline.tasks import Task
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

SECTIONS = ("tasks",)
NEEDS = ("generate",)

VERDICTS = "verdicts.jsonl"


def run(context: StageContext) -> None:
    """Write ``verdicts.jsonl``, one row per answer in the answers' order."""
    generate = context.inputs["generate"]
    answers = read_rows(generate / ANSWERS)
    judge = make_judge(context)
    total = len(answers)
    write_verdicts(
        answers,
        round_tasks(generate),
        judge,
        context.work / VERDICTS,
        lambda done: context.report("verifying", done, total),
    )


def make_judge(context: StageContext) -> Judge:
    """Reads and verifies under the run's vocabulary and semantics."""
    tasks = context.config.tasks
    return Judge(load_vocabulary(tasks.vocabulary), load_semantics(tasks.semantics))


def write_verdicts(
    answers: Iterable[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    judge: Judge,
    path: Path,
    on_done: Callable[[int], None] = lambda _done: None,
) -> None:
    """Judge answer rows and write their verdict rows."""
    rows: list[dict[str, Any]] = []
    for answer in answers:
        judged = judge.judge(tasks[answer["task"]], answer["text"])
        rows.append({"answer": answer["id"], "task": answer["task"], **judged.to_json()})
        on_done(len(rows))
    write_rows(path, rows)
