"""Reading the rows of a stage, and putting them into tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.tracking.content import Cell, Data, Table

MAX_ROWS = 2000
"""A table that is longer is cut: a browser loads it whole. The file itself is logged beside it."""

Row = Mapping[str, Any]


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file; none if there is no such file."""
    return files.read_rows(file) if file.is_file() else []


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def data(name: str, file: Path, context: str) -> tuple[Data, ...]:
    """The rows of a file as a data set; none if there is no such file, or nothing in it."""
    rows = read_rows(file)
    if not rows:
        return ()
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return (Data(name, file, context, len(rows), columns),)


def verdict_cells(verdict: Row) -> dict[str, Cell]:
    """What a table says of a verdict."""
    return {
        "strict success": bool(verdict.get("strict_success")),
        "paper score": round(float(verdict.get("paper_score") or 0), 4),
        "violated": ", ".join(verdict.get("violated") or ()),
        "progress": verdict.get("progress"),
        "problems": "; ".join(verdict.get("problems") or ()),
    }


def answers_table(answers: Iterable[Row], verdicts: Mapping[str, Row]) -> Table:
    """Answers with their verdicts.

    Args:
        answers: Rows of answers; a verdict inside a row comes first.
        verdicts: By id of the answer.
    """
    rows = [
        {
            "task": row.get("task"),
            "split": row.get("split"),
            "origin": row.get("origin"),
            "answer": row.get("text"),
        }
        | verdict_cells(row.get("verdict") or verdicts.get(str(row.get("id")), {}))
        for row in answers
    ]
    return Table.of(rows[:MAX_ROWS])


def by_answer(verdicts: Sequence[Row]) -> dict[str, Row]:
    """Verdicts by the id of their answer."""
    return {str(row.get("answer")): row for row in verdicts}


def pairs_table(pairs: Sequence[Row]) -> Table:
    """Preference pairs."""
    return Table.of(
        [
            {
                "task": pair.get("task"),
                "source": pair.get("source"),
                "chosen": _side(pair, "chosen").get("text"),
                "rejected": _side(pair, "rejected").get("text"),
                "rejected for": _broken(_side(pair, "rejected")),
                "margin": pair.get("margin"),
            }
            for pair in pairs[:MAX_ROWS]
        ]
    )


def repairs_table(
    repaired: Sequence[Row], verdicts: Mapping[str, Row], originals: Mapping[str, Row]
) -> Table:
    """Repaired answers beside what they were made from."""
    return Table.of(
        [
            {
                "task": row.get("task"),
                "origin": row.get("origin"),
                "before": originals.get(str(row.get("parent")), {}).get("text"),
                "after": row.get("text"),
            }
            | verdict_cells(verdicts.get(str(row.get("id")), {}))
            for row in repaired[:MAX_ROWS]
        ]
    )


def _side(pair: Row, name: str) -> Row:
    return pair.get(name) or {}


def _broken(side: Row) -> str:
    """What is wrong with an answer, as far as its row says."""
    verdict = side.get("verdicts") or {}
    if verdict.get("parsed") is False:
        return "not readable"
    wrong = [*(verdict.get("violated") or ())]
    if verdict.get("progress") not in (None, "satisfied"):
        wrong.append(f"progress {verdict['progress']}")
    return ", ".join(wrong)
