"""docs/results/learning.json and its picture, from finished runs.

``python -m benchmarks.learning runs/reproduce [runs/reproduce-1 ...]``: the first is told in full,
the others are further seeds. ``--variants RUN`` takes the variants from another folder with the
same answers of round 1. ``python -m benchmarks.report`` then writes docs/results.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from benchmarks.learning import making, tables
from benchmarks.learning.page import Table
from benchmarks.learning.picture import draw
from benchmarks.learning.quantized import quantized
from benchmarks.learning.seeds import seeds
from benchmarks.results import FOLDER, commit, machine
from pipeline.run_report.comparisons import SPLIT_WORDS
from pipeline.run_report.headline import sentences
from pipeline.run_report.making import versions
from pipeline.run_report.reading import Run, read_run
from pipeline.runs.comparison import flattened
from verifier.errors import InputError

PICTURE = "pictures/learning.svg"
_DIGITS = 5


def content(runs: Sequence[Run]) -> dict[str, Any]:
    """What docs/results/learning.json holds.

    Args:
        runs: The main one first, then further seeds.

    Raises:
        InputError: Nothing of the main run was evaluated.
    """
    main = runs[0]
    if main.after is None:
        raise InputError(
            "nothing was evaluated",
            file=main.folder,
            remedy="let the run finish: specdrive run --resume",
        )
    found = {
        "benchmark": "learning",
        "run": main.name,
        "date": main.created[:10],
        "commit": commit(),
        "machine": machine(),
        "versions": versions(main),
        "split": main.split,
        "summary": [" ".join(_plain(told) for told in sentences(main, _regressions(main)))],
        "picture": {"path": PICTURE, "shows": "Scores by round, with 95 % intervals"},
        "scores": scores_by_round(main),
        "tables": [table.to_json() for table in all_tables(runs)],
        "configuration": _configuration(main),
    }
    return _rounded(found)


def with_variants(run: Run, other: Run) -> Run:
    """The run with the variants of another that has the same answers of round 1.

    Raises:
        InputError: Its variants branch off other answers.
    """
    first, second = (_round_1(one) for one in (run, other))
    if not first or first != second:
        raise InputError(
            f"its variants do not branch off the answers of {run.name}",
            file=other.folder,
            remedy="name a run with a copy of the other's round-01",
        )
    names = {one.name for one in other.variants}
    added = tuple(stage for stage in other.stages if stage.place in names)
    return dataclasses.replace(
        run,
        config={**run.config, "variants": other.config.get("variants", [])},
        variants=other.variants,
        stages=(*(stage for stage in run.stages if stage.place not in names), *added),
    )


def _round_1(run: Run) -> list[tuple[str, str]]:
    """(answer, text) that variants branch off."""
    return [
        (answer.id, answer.text)
        for one in run.rounds
        if one.number == 1
        for answer in (*one.generated, *one.repaired)
    ]


def all_tables(runs: Sequence[Run]) -> list[Table]:
    """The tables in the order of the page."""
    main = runs[0]
    return [
        making.setup(main),
        tables.comparison(main),
        tables.by_split(main, "strict_success"),
        tables.by_split(main, "paper_score"),
        tables.paper_count(main),
        seeds(runs),
        quantized(main),
        making.origins(main),
        making.pairs(main),
        tables.rules(main),
        tables.robustness(main),
        tables.keeping(main),
        making.costs(main),
    ]


def scores_by_round(run: Run) -> list[dict[str, Any]]:
    """What the picture shows: rates of the rounds, and of the variants beside round 1."""
    return [
        {
            "label": one.label,
            "name": one.name,
            "round": 1 if one.number is None else one.number,
            "variant": one.number is None,
            "splits": {
                split: {
                    metric: scores.rate(metric).to_json()
                    for metric in ("strict_success", "paper_score")
                }
                for split, scores in one.evaluation.splits.items()
                if split in SPLIT_WORDS and scores.answers
            },
        }
        for one in tables.evaluated(run)
        if one.evaluation
    ]


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Read the runs; write ``folder``/learning.json and the picture beside it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--variants", type=Path, metavar="RUN", help="take the variants from here")
    options = parser.parse_args(arguments)
    try:
        first, *others = (read_run(path) for path in options.runs)
        if options.variants:
            first = with_variants(first, read_run(options.variants))
        found = content([first, *others])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "learning.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    draw(found["scores"], found["split"], folder.parent / PICTURE)
    print(f"wrote docs/results/learning.json and docs/{PICTURE}")
    return 0


def _regressions(run: Run) -> list[str]:
    return [str(row[""]) for row in tables.rules(run).rows if row["mark"] == tables.REGRESSION]


def _plain(text: str) -> str:
    """A sentence of the run's page without its signs against line breaks."""
    return text.replace("\u00a0", " ").replace("\u2060", "").replace("\u202f", ",")


def _configuration(run: Run) -> dict[str, Any]:
    """Dotted key -> value, without what says where the run was kept."""
    flat = flattened(run.config)
    return {key: _placeless(value) for key, value in flat.items() if "tracking." not in key}


def _placeless(value: Any) -> Any:
    """The value with absolute paths cut to their last part."""
    if isinstance(value, str) and PurePath(value).is_absolute():
        return PurePath(value).name
    return value


def _rounded(value: Any) -> Any:
    """The same with every float rounded, mappings and lists throughout."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    sys.exit(main())
