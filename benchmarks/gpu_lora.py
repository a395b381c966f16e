"""Decoding with adapters on a GPU: one of its own for each row, and one for all."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu_bench import OURS, Bench, of_copying
from benchmarks.kernels_timing import Contender, Times, require_close
from benchmarks.results import Row, at_most
from kernels.triton import lora


def lora_rows(bench: Bench) -> Iterator[Row]:
    """By rank and number of rows; distinct adapters should take little longer than a shared one."""
    n, k = bench.plan.lora
    for rank in bench.plan.ranks:
        for rows in bench.plan.batches:
            what = f"lora_sgmv r{rank}, {rows} rows, %d adapters, {n}×{k}"
            shared, _ = _measure(bench, rows, 1, rank, what % 1)
            times, size = _measure(bench, rows, rows, rank, what % rows)
            yield of_copying(what % rows, times, size, target=True)
            ratio = times[OURS] / shared[OURS]
            yield at_most(Row(f"{what % rows}: time of one shared adapter", ratio, "×"), 1.3)


def _measure(bench: Bench, rows: int, segments: int, rank: int, what: str) -> tuple[Times, int]:
    """Times of adapters in scattered pages, cold; the bytes that one call moves."""
    n, k = bench.plan.lora
    name, page = bench.device.name, 2048 if k >= 2048 else 32
    ranks, of_a, of_b = segments * rank, -(-k // page), -(-n // page)
    size = 2 * ranks * (of_a + of_b) * page
    count = bench.device.copies_of(size)
    pool = bench.random(count * ranks * (of_a + of_b), page) * 0.05
    order = torch.randperm(len(pool)).int().to(name).view(count, -1)
    tables = [
        (one[: ranks * of_a].view(ranks, of_a), one[ranks * of_a :].view(ranks, of_b))
        for one in order
    ]
    bounds = torch.linspace(0, rows, segments + 1).int().to(name)
    limits = torch.arange(segments + 1, device=name, dtype=torch.int32) * rank
    scales = torch.ones(segments, device=name)
    x, y = bench.random(rows, k), bench.random(rows, n)

    def call(copy: int, out: torch.Tensor = y) -> torch.Tensor:
        a, b = tables[copy]
        return lora.lora_sgmv(out, x, pool, bounds, a, b, limits, scales)

    a, b = (
        pool[pages.long()].flatten(1)[:, :width].view(segments, rank, width).double()
        for pages, width in zip(tables[0], (k, n), strict=True)
    )
    added = x.double().view(segments, -1, k) @ a.transpose(1, 2) @ b
    require_close(what, call(0, y.clone()), y.double() + added.view(rows, n), 1e-2)
    return bench.times([Contender(OURS, call, count)]), size + 2 * rows * (2 * n + k)
