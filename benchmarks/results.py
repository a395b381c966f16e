"""What a benchmark found, as docs/results/NAME.json and as a table on the terminal."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "docs" / "results"


@dataclass(frozen=True)
class Row:
    """One measurement, alone or beside a peer's on the same work in the same run.

    Attributes:
        what: What was measured, on what.
        value: Ours.
        unit: Of both values.
        peer: What it is compared with.
        peer_value: The peer's.
        ratio: How many times better we are (median over paired blocks).
        spread: 10th and 90th percentile of the ratio over the blocks.
        target: As text ("≥ 15×").
        met: Whether the target is met; None where there is none.
        note: Anything needed to read the row rightly.
    """

    what: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    target: str | None = None
    met: bool | None = None
    note: str = ""


def at_least(row: Row, ratio: float) -> Row:
    """The row with a target for its ratio."""
    met = row.ratio is not None and row.ratio >= ratio
    return dataclasses.replace(row, target=f"≥ {ratio:g}×", met=met)


def at_most(row: Row, value: float) -> Row:
    """The row with a target for its value."""
    return dataclasses.replace(row, target=f"≤ {value:g} {row.unit}", met=row.value <= value)


def write_results(
    name: str,
    rows: Sequence[Row],
    packages: Sequence[str],
    path: Path | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write docs/results/NAME.json (or ``path``).

    Args:
        name: The benchmark.
        rows: What it found.
        packages: Distributions whose versions matter.
        path: Another place.
        more: Further entries; the report knows ``pictures`` (``{"path", "shows"}``) and ``tables``.
    """
    path = path or FOLDER / f"{name}.json"
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "versions": _versions(packages),
        "rows": [_rounded(row) for row in rows],
        **(more or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Processor, cores and memory; nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """The rows as they are printed."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("what", "ours", "unit", "peer", "peer's", "ratio", "10–90 %", "target", ""):
        numeric = heading in {"ours", "peer's", "ratio", "10–90 %"}
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cells(row)))
    return table


def cells(row: Row) -> list[str]:
    """The row as texts, one per column."""
    spread = f"{number(row.spread[0])}–{number(row.spread[1])}" if row.spread else ""
    return [
        row.what,
        number(row.value),
        row.unit,
        row.peer or "",
        number(row.peer_value),
        f"{number(row.ratio)}×" if row.ratio is not None else "",
        spread,
        row.target or "",
        {True: "met", False: "missed", None: ""}[row.met],
    ]


def number(value: float | None) -> str:
    """Three significant digits, thousands separated."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(row: Row) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        return [short(v) for v in value] if isinstance(value, tuple) else value

    return {key: short(value) for key, value in dataclasses.asdict(row).items()}


def commit() -> str:
    """The commit that the code stands at, and whether code was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" (changed)" if changed else "")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
