"""Several ways to do the same work on a GPU, timed in alternating passes beside its copy rate.

A pass is a CUDA graph of one call per copy of the data, so that neither Python nor the launch of
each kernel is part of the time; the copies together exceed the second-level cache several times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.kernels_timing import Contender, Times

COLD_CACHES = 4
"""How many second-level caches the copies of one contender's data fill."""

Pass = Callable[[], float]
"""Runs once through all copies; seconds per call."""


@dataclass(frozen=True)
class Device:
    """Where things run, and how passes are timed.

    Attributes:
        name: ``cuda``; ``cpu`` is for trying the benchmark out in Triton's interpreter.
        cold: Bytes that do not fit its caches.
        blocks: Passes per contender.
    """

    name: str
    cold: int
    blocks: int

    def prepare(self, one: Contender) -> Pass:
        """A pass of a contender, compiled and warm."""
        one.call(0)
        if self.name == "cpu":
            return partial(_wall_seconds, one)
        torch.cuda.synchronize()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            one.call(0)
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for copy in range(one.copies):
                one.call(copy)
        return partial(_graph_seconds, graph, one.copies)

    def copies_of(self, size: int) -> int:
        """How many copies of so many bytes are larger than its caches; at most 200."""
        return max(1, min(200, -(-self.cold // size)))


def this_gpu(blocks: int) -> Device:
    """The current CUDA device."""
    cache = torch.cuda.get_device_properties().L2_cache_size
    return Device("cuda", COLD_CACHES * cache, blocks)


def _graph_seconds(graph: torch.cuda.CUDAGraph, copies: int) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / copies


def _wall_seconds(one: Contender) -> float:
    began = time.perf_counter()
    for copy in range(one.copies):
        one.call(copy)
    return (time.perf_counter() - began) / one.copies


def copier(device: Device) -> Callable[[], float]:
    """Runs a copy through memory; its rate in GB/s, bytes read and written."""
    size = max(1, device.cold) * 4
    source = torch.empty(size, dtype=torch.uint8, device=device.name)
    target = torch.empty_like(source)
    run = device.prepare(Contender("copy", lambda _: target.copy_(source)))
    return lambda: 2 * size / run() / 1e9


def alternate(
    contenders: Sequence[Contender], device: Device, copy_rate: Callable[[], float]
) -> Times:
    """Time all in turns; who begins changes from pass to pass."""
    passes = {one.name: device.prepare(one) for one in contenders}
    for run in passes.values():
        run()
    names = list(passes)
    found: dict[str, list[float]] = {name: [] for name in names}
    rates: list[float] = []
    for block in range(device.blocks):
        rates.append(copy_rate())
        first = block % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(passes[name]())
    return Times({name: tuple(times) for name, times in found.items()}, tuple(rates))
