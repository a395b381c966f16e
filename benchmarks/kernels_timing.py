"""Several ways to do the same work, timed in alternating blocks beside the memory's speed."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.paired import Comparison, MismatchError

COLD = 96 * 2**20
"""Bytes that copies of one contender's data have in all: three times the last cache."""

_REST = 0.01
"""Seconds between contenders, in which the threads of the one before go to sleep."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: Told in tables.
        call: Does it once, with the copy of the data of this number.
        copies: Of its data; taken in turns, so that none is in a cache when its turn comes.
    """

    name: str
    call: Callable[[int], object]
    copies: int = 1


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        blocks: Rounds through all contenders.
        seconds: What a contender's block should take, at least one call.
    """

    blocks: int = 9
    seconds: float = 0.008


@dataclass(frozen=True)
class Times:
    """Seconds per call of every contender in every block; GB/s of reading memory in each."""

    seconds: Mapping[str, tuple[float, ...]]
    read: tuple[float, ...]

    def __getitem__(self, name: str) -> float:
        """Median seconds of a contender's call."""
        return statistics.median(self.seconds[name])

    def best(self, names: Sequence[str]) -> str:
        """The fastest of these."""
        return min((name for name in names if name in self.seconds), key=self.__getitem__)

    def against(self, ours: str, peer: str) -> Comparison:
        """Two contenders, block by block."""
        return compared(self.seconds[ours], self.seconds[peer])

    def rate(self, name: str, size: float) -> float:
        """GB/s where a call reads ``size`` bytes."""
        return size / self[name] / 1e9

    def share(self, name: str, size: float) -> Comparison:
        """What a contender takes of the memory's speed: ratios are its GB/s to those of reading."""
        return compared(self.seconds[name], [size / read / 1e9 for read in self.read])


def compared(ours: Sequence[float], peer: Sequence[float]) -> Comparison:
    """Seconds of both, block by block; ratios say how many times faster the first is."""
    return Comparison([1] * len(ours), list(ours), list(peer))


def alternate(
    contenders: Sequence[Contender], effort: Effort, read: Callable[[], float] = lambda: 1.0
) -> Times:
    """Time all in turns; who begins changes from block to block.

    Args:
        contenders: Each is called a few times first, uncounted.
        effort: How long.
        read: One pass through memory, in GB/s.
    """
    counts = {one.name: _calls(one, effort.seconds) for one in contenders}
    used = dict.fromkeys(counts, 0)
    found: dict[str, list[float]] = {name: [] for name in counts}
    speeds: list[float] = []
    collects = gc.isenabled()
    gc.disable()
    try:
        for block in range(effort.blocks):
            first = block % len(contenders)
            time.sleep(_REST)
            speeds.append(read())
            for one in (*contenders[first:], *contenders[:first]):
                time.sleep(_REST)
                start, count = used[one.name], counts[one.name]
                one.call(start % one.copies)  # wakes its threads
                began = time.perf_counter()
                for number in range(start + 1, start + 1 + count):
                    one.call(number % one.copies)
                found[one.name].append((time.perf_counter() - began) / count)
                used[one.name] = (start + 1 + count) % one.copies
    finally:
        if collects:
            gc.enable()
    return Times({name: tuple(times) for name, times in found.items()}, tuple(speeds))


def _calls(one: Contender, seconds: float) -> int:
    """Calls that take about this time."""
    one.call(0)
    count, spent = 0, 0.0
    began = time.perf_counter()
    while spent < seconds / 4 and count < 1000:
        one.call(count % one.copies)
        count += 1
        spent = time.perf_counter() - began
    return max(1, round(seconds * count / spent))


def copies_of(size: int, cold: int = COLD) -> int:
    """How many copies of so many bytes are larger than any cache."""
    return max(1, -(-cold // size))


def require_close(
    name: str, answer: torch.Tensor, expected: torch.Tensor, tolerance: float
) -> None:
    """See that an answer is right before anything is timed.

    Args:
        name: Whose it is.
        answer: What it gave.
        expected: What is right.
        tolerance: Root mean square of the difference, relative to that of what is right.

    Raises:
        MismatchError: It is not.
    """
    right = expected.double()
    error = float((answer.double() - right).norm() / right.norm())
    if not error <= tolerance:  # NaN is no answer either
        raise MismatchError(f"{name}: relative error {error:.2g}, more than {tolerance:g}")
