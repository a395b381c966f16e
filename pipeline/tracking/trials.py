"""Trial drives as metrics: ``trials/road/yield_to_left``, ``trials/collision``, and the worst."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.tracking.content import Point
from pipeline.tracking.rows import read_object
from pipeline.tracking.scores import points, rate_points
from pipeline.trials import TRIALS, WORST

_GROUP = "trials"


def trial_points(folder: Path, step: int) -> list[Point]:
    """Rates of rules kept and of what became of the car; nothing where nothing was driven."""
    if not (folder / TRIALS).exists():
        return []
    content = read_object(folder / TRIALS)
    found: list[Point] = []
    for book, rules in (content.get("rules") or {}).items():
        for rule, rate in rules.items():
            found += rate_points(f"{_GROUP}/{book}", rule, rate, step)
    for name, value in (content.get("driving") or {}).items():
        if isinstance(value, Mapping):
            found += rate_points(_GROUP, name, value, step)
    seconds = (content.get("driving") or {}).get("seconds_to_finish")
    return [*found, *points({f"{_GROUP}/seconds_to_finish": seconds}, step)]


def worst_drive(folder: Path) -> dict[str, bytes]:
    """The filmstrip of the worst drive under the name of its artefact."""
    path = folder / WORST
    return {"pictures/worst_drive.png": path.read_bytes()} if path.exists() else {}
