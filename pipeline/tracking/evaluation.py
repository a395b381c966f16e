"""What the evaluation of a checkpoint logs: scores, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.evaluation import Judge
from pipeline.tasks import Task, load_tasks
from pipeline.tracking.content import Cell, Content, Picture, Point, Table
from pipeline.tracking.layout import Place, RunFolder
from pipeline.tracking.pictures import (
    Shown,
    best_rows,
    draw_best,
    draw_worst,
    worst_rows,
)
from pipeline.tracking.rows import answers_table, data, read_object, read_rows
from pipeline.tracking.scores import (
    essential,
    headline,
    points,
    rate_points,
    rule_points,
    rules_table,
    splits_table,
    summary_points,
)
from pipeline.tracking.trials import trial_points, worst_drive
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary, load_vocabulary

SHOWN_SPLIT = "test"
"""Per-specification metrics and pictures are of held-out tasks, where there are some."""

_DRAWN = 3
"""So many of the best and of the worst answers are drawn."""


def evaluate(run: RunFolder, place: Place) -> Content:
    """Scores of every split and other set of answers, with their intervals, and the answers."""
    summary = read_object(place.folder / "summary.json")
    splits: dict[str, dict[str, Any]] = summary.get("splits") or {}
    answers = read_rows(place.folder / "answers.jsonl")
    vocabulary = _vocabulary(run)
    step, split = place.round, shown_split(splits)
    groups = {**splits, **_others(summary)}
    shown_scores = splits.get(split) or {}
    found = headline(shown_scores, step)
    found += [
        point for name, scores in groups.items() for point in summary_points(name, scores, step)
    ]
    found += rule_points(shown_scores, step)
    found += _single(summary, step)
    found += trial_points(place.folder, step)
    worst = worst_drive(place.folder)
    drawn = _draw(run, answers, split, vocabulary)
    tables = {
        "tables/splits.json": splits_table(groups),
        "tables/specifications.json": rules_table(
            {split: shown_scores, **splits}, _texts(vocabulary)
        ),
        "tables/answers.json": answers_table(answers, {}),
    } | drawn.tables
    return Content(
        tags={"spec_split": split, "adapter": str(summary.get("adapter") or "none")},
        metrics=tuple(_with_split(found, splits)),
        parent_metrics=tuple(point for point in found if essential(point)),
        parent_tags={"spec_split": split},
        datasets=data(f"answers of {place.title}", place.folder / "answers.jsonl", "evaluation"),
        tables={path: table for path, table in tables.items() if table.rows},
        files={"data/summary.json": place.folder / "summary.json"},
        blobs={**drawn.files, **worst},
        parent_blobs={
            f"pictures/round-{step:02d}_{name}.png": png for name, png in drawn.shown.items()
        }
        | {f"pictures/round-{step:02d}_worst_drive.png": png for png in worst.values()},
    )


@dataclass(frozen=True)
class _Drawn:
    """Pictures, the table that holds them, and those that the run of the pipeline shows."""

    tables: dict[str, Table] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, bytes] = field(default_factory=dict)


def _draw(
    run: RunFolder, answers: Sequence[Mapping[str, Any]], split: str, vocabulary: Vocabulary | None
) -> _Drawn:
    drawn = _Drawn()
    tasks = _tasks(run, vocabulary) if vocabulary is not None else {}
    candidates = [row for row in answers if row.get("split") == split and row.get("task") in tasks]
    if vocabulary is None or not candidates:
        return drawn
    judge = Judge(vocabulary, load_semantics(run.setting("tasks", "semantics", "default")))
    for place, row in enumerate(best_rows(candidates, _DRAWN), start=1):
        shown = draw_best(row, tasks[row["task"]], judge)
        if shown is not None:
            drawn.files[f"pictures/best_{place}.png"] = shown.controller
            drawn.shown.setdefault("best_controller", shown.controller)
    rows = []
    for place, row in enumerate(worst_rows(candidates, _DRAWN), start=1):
        for shown in draw_worst(row, tasks[row["task"]], judge):
            film = f"pictures/worst_{place}_{shown.rule}.png"
            drawn.files[f"pictures/worst_{place}.png"] = shown.controller
            drawn.files[film] = shown.film
            drawn.shown.setdefault("worst_controller", shown.controller)
            drawn.shown.setdefault("worst_counterexample", shown.film)
            rows.append(_counterexample_cells(shown, film))
    drawn.tables["tables/counterexamples.json"] = Table.of(rows)
    return drawn


def _counterexample_cells(shown: Shown, film: str) -> dict[str, Cell | Picture]:
    return {
        "task": shown.row.get("task"),
        "rule": shown.rule,
        "what happens": shown.explanation,
        "film": Picture(film),
        "answer": shown.row.get("text"),
        "the rule says": shown.text,
    }


def _others(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Further sets of answers that are summarised like a split."""
    found = {name: summary.get(name) for name in ("paraphrased", "renamed")}
    found |= summary.get("trivial") or {}
    return {name: scores for name, scores in found.items() if isinstance(scores, Mapping)}


def _single(summary: Mapping[str, Any], step: int) -> list[Point]:
    """Numbers that are not of a set of answers."""
    best = summary.get("best_of") or {}
    found = [
        point
        for name in ("strict_success", "paper_score")
        for point in rate_points(f"best_of_{best.get('n', 'n')}", name, best.get(name), step)
    ]
    for seed, scores in (summary.get("per_seed") or {}).items():
        for name, value in scores.items():
            found += rate_points(f"seed_{seed}", name, value, step)
    found += points({"neutral/perplexity": (summary.get("perplexity") or {}).get("neutral")}, step)
    kl = summary.get("kl") or {}
    return [*found, *points({f"kl/{key}": value for key, value in kl.items()}, step)]


def _with_split(found: Sequence[Point], splits: Mapping[str, Any]) -> list[Point]:
    """Points of a split know it."""
    return [
        Point(p.key, p.value, p.step, group if (group := p.key.split("/")[0]) in splits else None)
        for p in found
    ]


def shown_split(splits: Mapping[str, Any]) -> str:
    """The split whose scores stand for the whole: the held-out one, or the first there is."""
    if SHOWN_SPLIT in splits:
        return SHOWN_SPLIT
    return next(iter(splits), SHOWN_SPLIT)


def _vocabulary(run: RunFolder) -> Vocabulary | None:
    """None if the run's vocabulary is a file that is not here any more."""
    try:
        return load_vocabulary(run.setting("tasks", "vocabulary", "driving"))
    except InputError:
        return None


def _tasks(run: RunFolder, vocabulary: Vocabulary) -> dict[str, Task]:
    """Tasks by id; none if the bank is a file that is not here any more."""
    try:
        bank = run.setting("tasks", "bank", "driving")
        return {task.id: task for task in load_tasks(bank, vocabulary)}
    except InputError:
        return {}


def _texts(vocabulary: Vocabulary | None) -> dict[str, str]:
    """What the shipped rules say."""
    if vocabulary is None:
        return {}
    books = [load_rules(name, vocabulary) for name in ("paper", "road")]
    return {rule.id: rule.text for book in books for rule in book.specifications}
