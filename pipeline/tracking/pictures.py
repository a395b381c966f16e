"""Answers worth looking at, drawn: the best controllers, and how the worst break the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation import Judge, Judged
from pipeline.tasks import Task
from verifier.dot import controller_dot, counterexample_dot
from verifier.drawing import render

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """An answer to be shown.

    Attributes:
        row: The answer's row.
        controller: PNG of its controller.
        rule: The rule that it breaks; empty for a good one.
        text: What the rule says.
        explanation: The counterexample in English.
        film: PNG of the counterexample.
    """

    row: Row
    controller: bytes
    rule: str = ""
    text: str = ""
    explanation: str = ""
    film: bytes = b""


def best_rows(answers: Sequence[Row], count: int) -> list[Row]:
    """Answers with strict success and distinct controllers, of as many tasks as possible."""
    good = [row for row in answers if _verdict(row).get("strict_success")]
    return _distinct(sorted(good, key=lambda row: -_verdict(row).get("paper_score", 0)), count)


def worst_rows(answers: Sequence[Row], count: int) -> list[Row]:
    """Readable answers that fail, those that break most rules first."""

    def badness(row: Row) -> tuple[int, float]:
        verdict = _verdict(row)
        return -len(verdict.get("violated") or ()), verdict.get("paper_score", 0)

    bad = [row for row in answers if _verdict(row).get("parsed")]
    bad = [row for row in bad if not _verdict(row).get("strict_success")]
    return _distinct(sorted(bad, key=badness), count)


def draw_best(row: Row, task: Task, judge: Judge) -> Shown | None:
    """The controller; None if the answer cannot be read any more."""
    controller = judge.judge(task, str(row["text"])).controller
    if controller is None:
        return None
    return Shown(row, render(controller_dot(controller, judge.vocabulary), "png"))


def draw_worst(row: Row, task: Task, judge: Judge) -> list[Shown]:
    """Every broken rule of `road` (and the manoeuvre that is not made) with its counterexample."""
    judged = judge.judge(task, str(row["text"]), counterexamples=True)
    if judged.controller is None:
        return []
    controller = render(controller_dot(judged.controller, judge.vocabulary), "png")
    return _broken(row, judged, controller, judge)


def _broken(row: Row, judged: Judged, controller: bytes, judge: Judge) -> list[Shown]:
    assert judged.controller is not None
    rules = {rule.id: rule for rule in judged.rules.specifications}
    return [
        Shown(
            row=row,
            controller=controller,
            rule=verdict.id,
            text=rules[verdict.id].text or rules[verdict.id].formula,
            explanation=verdict.explanation or "",
            film=render(
                counterexample_dot(
                    verdict.counterexample,
                    rules[verdict.id],
                    judged.controller.steps,
                    judge.vocabulary,
                ),
                "png",
            ),
        )
        for verdict in judged.road.verdicts
        if verdict.counterexample is not None
    ]


def _verdict(row: Row) -> Row:
    return row.get("verdict") or {}


def _distinct(rows: Sequence[Row], count: int) -> list[Row]:
    """At most ``count`` rows with distinct controllers; of new tasks as long as there are some."""
    once = _first(rows, lambda row: _verdict(row).get("controller"))
    spread = _first(once, lambda row: row.get("task"))
    rest = [row for row in once if not any(row is other for other in spread)]
    return [*spread, *rest][:count]


def _first(rows: Sequence[Row], key: Callable[[Row], object]) -> list[Row]:
    found: dict[object, Row] = {}
    for row in rows:
        found.setdefault(key(row), row)
    return list(found.values())
