"""Held-out tasks by world, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.run_report.reading import Run
from pipeline.run_report.scores import Answer
from pipeline.tasks import Task
from worlds.statistics import Rate, wilson


@dataclass(frozen=True)
class TaskTile:
    """A held-out task.

    Attributes:
        task: Its id.
        prompt: Its wording; the id if the bank is not at hand.
        answers: How many it got after training.
        correct: How many of them are proven correct.
        correct_before: Share before; None if not evaluated.
        distinct: Distinct correct controllers.
    """

    task: str
    prompt: str
    answers: int
    correct: int
    correct_before: float | None
    distinct: int


@dataclass(frozen=True)
class WorldRow:
    """The held-out tasks of a world."""

    world: str
    new: bool
    tiles: tuple[TaskTile, ...]
    before: Rate
    after: Rate
    distinct: int


def world_rows(run: Run, tasks: Mapping[str, Task]) -> list[WorldRow]:
    """The tasks of the run's headline split by world, those that training never showed last."""
    after, before = run.after, run.before
    if after is None:
        return []
    known = {task.world for task in tasks.values() if task.split == "train"}
    new_answers, old_answers = (
        _by_task(after.on(run.split)),
        _by_task(before.on(run.split) if before else ()),
    )
    worlds: dict[str, list[str]] = {}
    for name in new_answers:
        worlds.setdefault(tasks[name].world if name in tasks else "other", []).append(name)
    rows = []
    for world, names in worlds.items():
        new = [answer for name in names for answer in new_answers[name]]
        old = [answer for name in names for answer in old_answers.get(name, ())]
        rows.append(
            WorldRow(
                world.rsplit("/", 1)[-1].removesuffix(".yaml").replace("_", " "),
                bool(known) and world not in (*known, "other"),
                tuple(_tile(n, tasks, new_answers[n], old_answers.get(n, ())) for n in names),
                wilson(sum(answer.success for answer in old), len(old)),
                wilson(sum(answer.success for answer in new), len(new)),
                len({answer.controller for answer in new if answer.success}),
            )
        )
    return sorted(rows, key=lambda row: row.new)


def _by_task(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.task, []).append(answer)
    return groups


def _tile(
    name: str, tasks: Mapping[str, Task], new: Sequence[Answer], old: Sequence[Answer]
) -> TaskTile:
    return TaskTile(
        name,
        tasks[name].prompt if name in tasks else name,
        len(new),
        sum(answer.success for answer in new),
        sum(answer.success for answer in old) / len(old) if old else None,
        len({answer.controller for answer in new if answer.success}),
    )
