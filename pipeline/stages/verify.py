"""Stage ``verify``: every answer read, and judged under both rule books (see `feedback`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline import feedback
from pipeline.evaluation import Judge
from pipeline.feedback import judging
from pipeline.files import read_rows, write_rows
from pipeline.stages.context import StageContext
from pipeline.stages.generate import ANSWERS, round_tasks
from pipeline.tasks import Task

SECTIONS = ("tasks", *feedback.SECTIONS)
NEEDS = ("generate",)

VERDICTS = "verdicts.jsonl"


def run(context: StageContext) -> None:
    """Write ``verdicts.jsonl``, one row per answer in the answers' order."""
    generate = context.inputs["generate"]
    answers = read_rows(generate / ANSWERS)
    total = len(answers)
    with judging(context.config) as judge:
        write_verdicts(
            answers,
            round_tasks(generate),
            judge,
            context.work / VERDICTS,
            lambda done: context.report("verifying", done, total),
        )


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
        row = {"answer": answer["id"], "task": answer["task"], **judged.to_json()}
        seen = {v.id: v.reason for v in judged.road.verdicts if "episodes" in (v.reason or "")}
        rows.append(row | ({"simulated": seen} if seen else {}))
        on_done(len(rows))
    write_rows(path, rows)
