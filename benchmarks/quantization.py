"""What quantization costs: perplexity and strict success by method and grid.

``python -m benchmarks.quantization`` writes docs/results/quantization.json. It takes two hours or
more on two cores; every part is kept in a work folder, so that an interrupted run goes on there,
and ``--minutes`` ends it early with what has been measured. ``--only PART`` (repeatable) measures
cells whose name contains PART, such as ``tuned/awq``; ``--list`` names them. ``--quick`` measures a
few on little text and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.quantization_cells import Cell, all_cells
from benchmarks.quantization_tables import Found, about, ordered, quality_rows, quality_tables
from benchmarks.quantization_work import Plan, Work
from benchmarks.results import table_of, write_results
from kernels.cpu import set_num_threads
from pipeline.models import cache_folder

PACKAGES = ("torch", "transformers", "peft")
QUICK = Plan(windows=2, calibration=(4, 64), samples=2, tasks=2, max_new_tokens=60)
QUICK_CELLS = (
    "original/bf16",
    "original/exact",
    "original/rtn-g64-asym",
    "original/awq-g64-asym",
    "tuned/bf16",
    "tuned/rtn-g64-asym",
)


def chosen(names: Sequence[str], core: bool) -> list[Cell]:
    """Cells whose name contains one of the parts (all if none is given), in order."""
    return [
        cell
        for cell in all_cells()
        if (not names or any(name in cell.name for name in names)) and (cell.core or not core)
    ]


def measure(work: Work, cells: Sequence[Cell], until: float, console: Console) -> list[Cell]:
    """Measure cells until a time (`time.monotonic`); those that are left."""
    for number, cell in enumerate(cells):
        if work.done(cell) is None and time.monotonic() > until:
            return list(cells[number:])
        began = time.monotonic()
        found = work.measured(cell)
        told = f"perplexity {found['perplexity']:.3f}" if "perplexity" in found else ""
        if "answers" in found:
            right = sum(ok for _, ok in found["answers"])
            told += f"  {right} of {len(found['answers'])} answers right"
        spent = f"{time.monotonic() - began:.0f} s"
        console.print(f"  {cell.name}: {told.strip()} ({spent})", style="dim", highlight=False)
    return []


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(2)")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="(all)")
    parser.add_argument("--core", action="store_true", help="the most important cells only")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell later")
    parser.add_argument("--work", type=Path, help="work folder (in the user's cache)")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    parser.add_argument("--quick", action="store_true", help="little of it; nothing written")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    names = options.only or (list(QUICK_CELLS) if options.quick else [])
    cells = chosen(names, options.core)
    for name in names:
        if not any(name in cell.name for cell in cells):
            parser.error(f"no cell has {name!r} in its name; --list names them")
    if options.list:
        console.print("\n".join(cell.name for cell in cells), highlight=False)
        return 0
    set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    plan = QUICK if options.quick else Plan()
    name = "quick" if options.quick else "full"
    folder = options.work or cache_folder() / "benchmarks" / "quantization" / name
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("") as status:
        work = Work(folder, plan, lambda what: status.update(what))
        left = measure(work, cells, time.monotonic() + 60 * options.minutes, console)
    found = _found(work)
    rows = quality_rows(found)
    console.print(table_of("quantization", rows))
    if left:
        console.print(f"{len(left)} cells are left: run it again to go on")
    if options.output or not options.quick:
        more = {
            "about": about(found, plan),
            "tables": [table.to_json() for table in quality_tables(found)],
        }
        print(write_results("quantization", rows, PACKAGES, options.output, more))
    return 0


def _found(work: Work) -> Found:
    """Everything that has been measured, now or before."""
    cells = all_cells()
    results = {cell: found for cell in cells if (found := work.done(cell)) is not None}
    return ordered(results, cells)


if __name__ == "__main__":
    sys.exit(main())
