"""How fast this machine's memory is: the limit that the other benchmarks name fractions of.

``python -m benchmarks.kernel_bandwidth`` prints what one and two threads read and copy; the rows
are part of docs/results/kernels.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from rich.console import Console

from benchmarks.paired import MismatchError
from benchmarks.results import Row, table_of
from kernels.cpu import bandwidth, set_num_threads

SIZE = 256 * 2**20
"""Bytes that are read: far beyond the last cache."""
STREAMS = (1, 4, 8)

_NOTE = (
    "Median and percentiles of passes over {size} MiB. Reading sums up 64-bit words, each thread "
    "from several places in turns (the best of {streams}); copying counts the bytes that are read "
    "and those that are written."
)


class Memory:
    """Memory to read and to copy to.

    Attributes:
        streams: Places that a thread reads from in turns: what is fastest.
    """

    def __init__(self, size: int = SIZE, streams: Sequence[int] = STREAMS) -> None:
        """Fill it, and see that what is read is what is there.

        Raises:
            MismatchError: It is not.
        """
        words = size // 8 // 8 * 8
        self._source = torch.arange(words, dtype=torch.int64)
        self._target = torch.empty_like(self._source)
        expected = words * (words - 1) // 2 % 2**64
        if any(bandwidth.read(self._source, count) != expected for count in streams):
            raise MismatchError("reading does not give the sum of what is in memory")
        bandwidth.copy(self._target, self._source)
        if not torch.equal(self._source, self._target):
            raise MismatchError("the copy differs from what was copied")
        self.streams = max(streams, key=lambda count: max(self._read(count) for _ in range(3)))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._source.numel() * 8

    def read(self, passes: int = 1) -> float:
        """GB/s of the fastest of some passes of reading."""
        return max(self._read(self.streams) for _ in range(passes))

    def copy(self) -> float:
        """GB/s of one pass of copying."""
        began = time.perf_counter()
        bandwidth.copy(self._target, self._source)
        return 2 * self.size / (time.perf_counter() - began) / 1e9

    def _read(self, streams: int) -> float:
        began = time.perf_counter()
        bandwidth.read(self._source, streams)
        return self.size / (time.perf_counter() - began) / 1e9


def bandwidth_rows(threads: int, passes: int = 15, size: int = SIZE) -> list[Row]:
    """Reading and copying with one thread and with ``threads``; leaves that many in use."""
    rows: list[Row] = []
    for count in dict.fromkeys((1, threads)):
        set_num_threads(count)
        memory = Memory(size)
        note = _NOTE.format(size=round(memory.size / 2**20), streams=", ".join(map(str, STREAMS)))
        word = f"{count} thread{'s' if count > 1 else ''}"
        for what, one_pass in (("reading memory", memory.read), ("copying memory", memory.copy)):
            speeds = sorted(one_pass() for _ in range(passes))
            low, high = speeds[round(0.1 * (passes - 1))], speeds[round(0.9 * (passes - 1))]
            median = statistics.median(speeds)
            rows.append(Row(f"{what}, {word}", median, "GB/s", spread=(low, high), note=note))
    return rows


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="besides one (2)")
    parser.add_argument("--quick", action="store_true", help="fewer passes over less memory")
    options = parser.parse_args()
    passes, size = (3, 64 * 2**20) if options.quick else (15, SIZE)
    Console().print(table_of("memory", bandwidth_rows(options.threads, passes, size)))


if __name__ == "__main__":
    main()
