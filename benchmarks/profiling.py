"""Where the time goes, in words for a note."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def where_time_goes(function: Callable[[T], object], items: Iterable[T], most: int = 5) -> str:
    """The functions with the largest own time, as shares of the whole."""
    profile = cProfile.Profile()
    for item in items:
        profile.runcall(function, item)
    entries = pstats.Stats(profile).stats  # pyright: ignore[reportAttributeAccessIssue]
    own = {key: row[2] for key, row in entries.items()}
    total = sum(own.values())
    largest = sorted(own, key=lambda key: -own[key])[:most]
    return ", ".join(f"{_name(*key)} {own[key] / total:.0%}" for key in largest)


def _name(file: str, _line: int, function: str) -> str:
    if file == "~":  # built in: <built-in method spot.impl.product>
        return function.strip("<>").removeprefix("built-in method ").rpartition(".")[2]
    return f"{Path(file).stem}.{function}"
