"""Two ways to do the same work, timed in alternating blocks; their answers must be equal."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_MINIMUM_BLOCKS = 3


class MismatchError(Exception):
    """Ours and the peer's answers differ: no speed counts until that is explained."""


@dataclass
class Comparison:
    """CPU seconds of each block (children included), ours and the peer's."""

    items: list[int] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    def add(self, items: int, ours: float, peer: float) -> None:
        """One more block."""
        self.items.append(items)
        self.ours.append(ours)
        self.peer.append(peer)

    @property
    def ratios(self) -> list[float]:
        """How many times faster we are, block by block."""
        return [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """Median over the blocks."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """10th and 90th percentile over the blocks."""
        ordered = sorted(self.ratios)
        last = len(ordered) - 1
        return ordered[round(0.1 * last)], ordered[round(0.9 * last)]

    def rates(self, per_item: int) -> tuple[float, float]:
        """Things per second, ``per_item`` of them in each item: ours, the peer's."""
        count = sum(self.items) * per_item
        return count / sum(self.ours), count / sum(self.peer)


@dataclass(frozen=True)
class Contest(Generic[T]):
    """Two functions that must agree on every item."""

    ours: Callable[[T], object]
    peer: Callable[[T], object]

    def run(self, items: Sequence[T], seconds: float) -> Comparison:
        """Alternate over blocks of fresh items until they or the time are used up.

        The first two items warm both sides up and are not counted.

        Raises:
            MismatchError: An item on which the two differ.
        """
        found = Comparison()
        warm, rest = items[:2], items[2:]
        each = 1.0
        for item in warm:
            began = cpu_seconds()
            theirs = self.peer(item)
            each = cpu_seconds() - began
            _require_equal([self.ours(item)], [theirs], [item])
        size = max(1, min(20, int(0.25 / each), len(rest) // _MINIMUM_BLOCKS))
        end = time.monotonic() + seconds
        for number, start in enumerate(range(0, len(rest) - size + 1, size)):
            if number >= _MINIMUM_BLOCKS and time.monotonic() > end:
                break
            block = rest[start : start + size]
            if number % 2:
                theirs, peer_time = timed(self.peer, block)
                answers, our_time = timed(self.ours, block)
            else:
                answers, our_time = timed(self.ours, block)
                theirs, peer_time = timed(self.peer, block)
            _require_equal(answers, theirs, block)
            found.add(size, our_time, peer_time)
        return found


def timed(function: Callable[[T], object], items: Iterable[T]) -> tuple[list[object], float]:
    """Answers and CPU seconds."""
    began = cpu_seconds()
    answers = [function(item) for item in items]
    return answers, cpu_seconds() - began


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _agree(mine: object, theirs: object) -> bool:
    """Equal; a verdict that the peer gives up on (None among its verdicts) is not compared."""
    if isinstance(mine, tuple) and isinstance(theirs, tuple) and len(mine) == len(theirs):
        return all(their is None or my == their for my, their in zip(mine, theirs, strict=True))
    return mine == theirs


def _require_equal(ours: Sequence[object], peer: Sequence[object], items: Sequence[object]) -> None:
    for mine, theirs, item in zip(ours, peer, items, strict=True):
        if not _agree(mine, theirs):
            raise MismatchError(f"ours {mine}, peer {theirs} on {item}")
