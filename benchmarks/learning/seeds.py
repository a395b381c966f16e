"""Several runs of the same loop with other seeds, as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from benchmarks.learning.page import Bounds, Cell, Kind, Table
from benchmarks.learning.tables import rate_cell
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import Scores
from pipeline.runs.comparison import flattened

Row = Mapping[str, Cell]

_CHAMPION = "champion"
_NOT_LEARNING = ("name", "workers", "tracking.", "model.device", "select.", "quantize.", "variants")
_MEASURING = ("evaluate.samples", "evaluate.seeds", "evaluate.splits", "evaluate.robustness",
              "evaluate.perplexity", "evaluate.every_round")  # fmt: skip


def seeds(runs: Sequence[Run]) -> Table:
    """Strict success by round of every run, and mean and range of those with equal settings.

    Args:
        runs: The main one first.
    """
    main = runs[0]
    numbers = sorted({one.number for run in runs for one in run.rounds if one.number})
    columns = ["base", *(f"round {number}" for number in numbers), _CHAMPION]
    kinds: dict[str, Kind] = {"": "text", "settings": "text", "answers": "count"}
    kinds |= {**dict.fromkeys(columns, "rate"), "which": "text"}
    rows: list[Row] = []
    kinds_of_run = _by_differences(runs)
    for group in _groups(runs):
        found = [_row(run, main, kinds_of_run) for run in group]
        rows += found
        if len(group) > 1:
            ranges = {column: _range([row.get(column) for row in found]) for column in columns}
            rows.append({"": f"mean of {len(group)} (lowest–highest)", **ranges})
    return Table(
        "Training seeds",
        f"Answers to {main.split} tasks that are proven correct, by round, of runs that differ in "
        "the seed of everything random.",
        kinds,
        rows if len(runs) > 1 else (),
        [
            "A run's brackets are the 95 % interval over its answers; those of a mean are the "
            "lowest and highest run. Means are over runs that learn with the same settings. The "
            f"champion is the round with the best answers to {_split(main)} tasks.",
            *(f"Settings of {name} that differ: {what}." for what, name in kinds_of_run.items()),
        ],
    )


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with equal settings together, in the order of their first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        learning = {key: v for key, v in _flat(run).items() if key not in (*_MEASURING, "rounds")}
        groups.setdefault(repr(sorted(learning.items())), []).append(run)
    return list(groups.values())


def _flat(run: Run) -> dict[str, Any]:
    """Dotted key -> value of all that bears on what is learned or measured; the seed apart."""
    flat = flattened(run.config)
    return {k: v for k, v in flat.items() if k != "seed" and not k.startswith(_NOT_LEARNING)}


def _by_differences(runs: Sequence[Run]) -> dict[str, str]:
    """Settings that are not the main run's -> what the runs with these settings are called.

    Runs are called by what their names begin with: "quick" for quick-0, quick-1 and quick-2.
    """
    names: dict[str, list[str]] = {}
    for run in runs[1:]:
        names.setdefault(_differences(run, runs[0]), []).append(str(run.config.get("name", "run")))
    return {what: _common(called) for what, called in names.items() if what}


def _common(names: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same).rstrip("-_.") or names[0]


def _row(run: Run, main: Run, called: Mapping[str, str]) -> Row:
    scores = {
        "base" if not one.number else one.label: found.strict_success
        for one in run.rounds
        if (found := _scores(one, main.split)) and found.answers
    }
    champion = run.champion
    if champion is not None and (found := _scores(champion, main.split)) and found.answers:
        scores[_CHAMPION] = found.strict_success
    answers = {found.answers for one in run.rounds if (found := _scores(one, main.split))}
    return {
        "": f"seed {run.config.get('seed', '–')}",
        "settings": "the run above"
        if run is main
        else called.get(_differences(run, main), "the same"),
        "answers": max(answers, default=None),
        **{label: rate_cell(rate) for label, rate in scores.items()},
        "which": champion.label if champion is not None else None,
    }


def _split(run: Run) -> str:
    return str((run.selection or {}).get("split", "validation"))


def _scores(one: Round, split: str) -> Scores | None:
    return one.evaluation.splits.get(split) if one.evaluation else None


def _differences(run: Run, main: Run) -> str:
    """Settings in which a run is not like the main one."""
    mine, other = _flat(run), _flat(main)
    differ = [key for key in dict.fromkeys((*mine, *other)) if mine.get(key) != other.get(key)]
    return "; ".join(f"{key} {_told(mine.get(key))}" for key in differ)


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return f"[{'; '.join(map(_told, value))}]"
    return "none" if value is None else str(value)


def _range(cells: Sequence[Cell]) -> Bounds | None:
    """Mean, lowest and highest of rates; None unless every run has one."""
    values = [cell["value"] for cell in cells if isinstance(cell, Mapping)]
    known = [value for value in values if value is not None]
    if len(known) < len(cells):
        return None
    return {"value": sum(known) / len(known), "low": min(known), "high": max(known)}
