"""What the quality of quantization amounts to: headline rows, and tables of all cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.learning.page import Cell as TableCell
from benchmarks.learning.page import Table
from benchmarks.quantization_cells import NARROW, Cell, Method, Weights, all_cells
from benchmarks.quantization_text import WINDOW, increase_spread
from benchmarks.quantization_work import Plan
from benchmarks.results import Row, at_least
from pipeline.quantized.paired import clustered_interval, paired
from worlds.statistics import wilson

LESS = 2.0
"""AWQ adds at most half of the perplexity that round to nearest adds."""
MOST_DROP = 1.0
"""Points of strict success that may be lost."""

Found = Mapping[Cell, Mapping[str, Any]]
"""What was measured, by cell (`benchmarks.quantization_work.Work.measured`)."""

_WEIGHTS: Mapping[Weights, str] = {
    "original": "the embedded model",
    "tuned": "the champion, merged",
}
_METHODS: Mapping[Method, str] = {
    "bf16": "bf16",
    "exact": "exact import (Q4_1)",
    "rtn": "round to nearest",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "awq-gptq": "AWQ, then GPTQ",
    "atom": "Atom (W4A4, INT4 cache)",
}


def quality_rows(found: Found) -> list[Row]:
    """Increases of perplexity beside round to nearest's, and strict success beside bf16's."""
    rows: list[Row] = []
    rows += [row for cell in found if (row := _increase_row(found, cell)) is not None]
    rows += [row for cell in found if (row := _success_row(found, cell)) is not None]
    rows += [row for cell in found if (row := _drift_row(found, cell)) is not None]
    return rows


def _increase_row(found: Found, cell: Cell) -> Row | None:
    """Of the methods that are more than rounding, on groups of 64."""
    base = found.get(_bf16(cell))
    nearest = found.get(replace(cell, method="rtn"))
    ours = found[cell]
    if cell.method not in ("awq", "gptq", "awq-gptq") or cell.group != 64 or cell.adapter:
        return None
    if base is None or nearest is None:
        return None
    value, other = (one["perplexity"] - base["perplexity"] for one in (ours, nearest))
    row = Row(
        f"perplexity added to {_WEIGHTS[cell.weights]} by {_METHODS[cell.method]}, {_grid(cell)}",
        value,
        "",
        "round to nearest",
        other,
        other / value if value > 0 else None,
        note="The ratio says how many times more round to nearest adds on the same grid; its "
        "spread is over resampled windows of the text.",
    )
    if value > 0:
        sizes = _window_sizes(ours)
        losses = (one["losses"] for one in (base, ours, nearest))
        row = replace(row, spread=_finite(increase_spread(sizes, *losses)))
    if cell.method != "awq" or cell.head_bits != 8:
        return row
    return at_least(row, LESS) if value > 0 else replace(row, target=f"≥ {LESS:g}×", met=True)


def _success_row(found: Found, cell: Cell) -> Row | None:
    """Of every quantized model that answered."""
    base = found.get(_bf16(cell))
    if cell.method == "bf16" or base is None or "answers" not in found[cell]:
        return None
    before, after = ([ok for _, ok in one["answers"]] for one in (base, found[cell]))
    compared = paired(before, after)
    low, high = compared.interval()
    by_task = _interval_by_task(base, found[cell])
    change = 100 * (sum(after) - sum(before)) / len(before)
    beside = "the champion's adapter beside " if cell.adapter else ""
    return Row(
        f"strict success, {beside}{_WEIGHTS[cell.weights]} by {_METHODS[cell.method]}, "
        f"{_grid(cell)}",
        100 * sum(after) / len(after),
        "%",
        "bf16",
        100 * sum(before) / len(before),
        target=f"drop ≤ {MOST_DROP:g} point",
        met=change >= -MOST_DROP - 1e-9,
        note=f"{len(after)} answers to {len({task for task, _ in base['answers']})} held-out "
        "tasks, same prompts and random numbers on both sides. Change "
        f"{change:+.1f} points; 95 % interval {100 * low:+.1f} to {100 * high:+.1f} for "
        f"independent answers, {100 * by_task[0]:+.1f} to {100 * by_task[1]:+.1f} if answers to "
        f"one task count as alike; lost {compared.lost}, gained {compared.gained}.",
    )


def _drift_row(found: Found, cell: Cell) -> Row | None:
    moved = found[cell].get("drift")
    if moved is None:
        return None
    return Row(
        f"drift of the champion's adapter on its base by {_METHODS[cell.method]}, {_grid(cell)}",
        moved["per_token"],
        "nats / token",
        note="Kullback-Leibler divergence of the next token's distribution from that on the bf16 "
        f"base, along {moved['answers']} of its answers; "
        f"{100 * moved['same_choice']:.1f} % of the tokens stay the most probable ones.",
    )


def quality_tables(found: Found) -> list[Table]:
    """One table per weights, and one of the adapter beside them."""
    tables = [_table(found, weights) for weights in ("original", "tuned")]
    return [table for table in tables if table.rows]


def _table(found: Found, weights: Weights) -> Table:
    return Table(
        f"Quality, {_WEIGHTS[weights]}",
        f"Perplexity on the text, in windows of {WINDOW} tokens, by method and grid. Bits per "
        "weight count scales and zero points, of the layers alone and with embedding and head.",
        {
            "method": "text",
            "group": "text",
            "zero points": "text",
            "head": "text",
            "bits, layers": "number",
            "bits, all": "number",
            "perplexity": "text",
            "added": "text",
            "of rounding's": "share",
            "strict success": "rate",
            "change": "difference",
            "made in": "seconds",
        },
        [line for cell in found if cell.weights == weights for line in _lines(found, cell)],
        [
            f"Groups of 128 do not divide 576 columns: these have groups of {NARROW}, the others "
            "128.",
            "Atom keeps the columns that carry the most in 8 bits, and has 4-bit activations and a "
            "4-bit cache as well; all others keep activations and cache.",
        ],
    )


def _lines(found: Found, cell: Cell) -> Iterator[dict[str, TableCell]]:
    one = found[cell]
    base = found.get(_bf16(cell))
    about = one["checkpoint"]
    bare = cell.method in ("bf16", "exact")
    line: dict[str, TableCell] = {
        "method": _METHODS[cell.method] + (" + adapter beside" if cell.adapter else ""),
        "group": {"bf16": "", "exact": "32"}.get(cell.method, str(cell.group)),
        "zero points": "" if bare else ("no" if cell.symmetric else "yes"),
        "head": "" if cell.method == "bf16" else f"INT{cell.head_bits}",
        "bits, layers": about["bits"],
        "bits, all": about["bits_all"],
        "made in": about["seconds"],
    }
    if "perplexity" in one:
        line["perplexity"] = f"{one['perplexity']:.3f}"
        if base is not None and cell.method != "bf16":
            added = one["perplexity"] - base["perplexity"]
            line["added"] = f"{added:+.3f}"
            nearest = found.get(replace(cell, method="rtn"))
            if nearest is not None and not bare and cell.method not in ("rtn", "atom"):
                line["of rounding's"] = added / (nearest["perplexity"] - base["perplexity"])
    if "answers" in one:
        outcomes = [ok for _, ok in one["answers"]]
        line["strict success"] = wilson(sum(outcomes), len(outcomes)).to_json()
        if base is not None and cell.method != "bf16":
            before = [ok for _, ok in base["answers"]]
            compared = paired(before, outcomes)
            low, high = compared.interval()
            line["change"] = {"value": compared.difference, "low": low, "high": high}
    yield line


def about(found: Found, plan: Plan) -> list[str]:
    """How it was measured."""
    one = next(iter(found.values()), None)
    if one is None:
        return []
    text = one["text"]
    count, length = plan.calibration
    missing = [cell.name for cell in all_cells() if cell not in found]
    left = f"Not measured so far: {', '.join(missing)}."
    return [
        f"The text is all help topics of Python's standard library (`pydoc_data.topics`, "
        f"{text['hash'][:19]}…), {text['predicted']:,} predicted tokens in windows of {WINDOW}. "
        f"Methods that calibrate see {count} rows of at most {length} tokens: half of them the "
        "model's own answers to training tasks, half docstrings of other modules; no twelve "
        "consecutive words of these are in the text. Everything is computed by the native engine "
        "with 16-bit activations, bf16 included. The embedded model's weights lie on Q4_1's grid "
        "of 32 already: importing them exactly loses nothing, and says nothing of a method.",
        *([left] if missing else []),
    ]


def _bf16(cell: Cell) -> Cell:
    """What a cell is compared with."""
    return Cell(cell.weights, "bf16", adapter=cell.adapter)


def _grid(cell: Cell) -> str:
    zeros = "symmetric" if cell.symmetric else "with zero points"
    head = "" if cell.head_bits == 8 else f", INT{cell.head_bits} head"
    return f"groups of {cell.group}, {zeros}{head}"


def _window_sizes(one: Mapping[str, Any]) -> list[int]:
    """Predicted tokens of each window: all are full but the last."""
    count, predicted = len(one["losses"]), one["text"]["predicted"]
    return [WINDOW - 1] * (count - 1) + [predicted - (WINDOW - 1) * (count - 1)]


def _interval_by_task(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float]:
    changes: dict[str, list[float]] = {}
    for (task, old), (_, new) in zip(before["answers"], after["answers"], strict=True):
        changes.setdefault(task, []).append(float(new) - float(old))
    return clustered_interval(changes)


def _finite(spread: tuple[float, float]) -> tuple[float, float] | None:
    return spread if all(math.isfinite(bound) for bound in spread) else None


def ordered(found: Mapping[Cell, Mapping[str, Any]], cells: Sequence[Cell]) -> Found:
    """In the order of ``cells``."""
    return {cell: found[cell] for cell in cells if cell in found}
