"""The Triton kernels beside the GPU's copy and matrix rates, cuBLAS and torch's own INT4.

``python -m benchmarks.gpu_kernels`` writes docs/results/gpu_kernels.json; ``--quick`` takes a few
shapes and writes nothing; ``--tune`` tries configurations of linear layers first. Without a CUDA
GPU it says so and writes nothing. Weights are cold; an answer that is wrong stops it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.gpu_bench import CUBLAS, OURS, TORCH, Bench, Plan, against
from benchmarks.gpu_timing import copier, this_gpu
from benchmarks.kernels_timing import Contender
from benchmarks.results import Row, table_of, write_results

PACKAGES = ("torch", "triton")

QUICK = Plan(
    shapes=((4096, 4096),), rows=(1, 16, 1024), ranks=(16,), batches=(32,), contexts=((32, 2048),)
)


def machine_rows(bench: Bench) -> Iterator[Row]:
    """What the GPU can do at most."""
    name = torch.cuda.get_device_name() if bench.device.name == "cuda" else "interpreter"
    rates = [bench.copy_rate() for _ in range(bench.device.blocks)]
    note = "Bytes read plus bytes written."
    yield Row(f"{name}: copying memory", statistics.median(rates), "GB/s", note=note)
    side = bench.plan.square
    a, b = bench.random(side, side), bench.random(side, side)
    times = bench.times([Contender(CUBLAS, lambda _: a @ b)])
    yield Row(f"bf16 product of {side}² matrices", 2 * side**3 / times[CUBLAS] / 1e12, "TFLOP/s")
    left, right = (
        torch.randint(-9, 9, (side, side), dtype=torch.int8, device=bench.device.name) for _ in "ab"
    )
    library: Any = torch
    times = bench.times([Contender(CUBLAS, lambda _: library._int_mm(left, right.t()))])
    yield Row(f"INT8 product of {side}² matrices", 2 * side**3 / times[CUBLAS] / 1e12, "TOP/s")


def small_rows(bench: Bench) -> Iterator[Row]:
    """Norms, activation and sampling, beside the same in PyTorch's operations."""
    from kernels.triton import elementwise, sampling

    rows, width = bench.plan.batch, bench.plan.shapes[0][1]
    x, weight = bench.random(rows, width), bench.random(width)
    both = bench.random(rows, 2 * width)
    logits = bench.random(rows, bench.plan.vocabulary, dtype=torch.float32)
    draws = torch.rand(rows, dtype=torch.float64, device=bench.device.name)
    one, part = (torch.full((rows,), n, device=bench.device.name) for n in (1.0, 0.9))

    def sorted_choice(_: int) -> torch.Tensor:
        ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        upto = ordered.cumsum(dim=-1)
        kept = ordered.masked_fill(upto - ordered >= 0.9, 0.0).cumsum(dim=-1)
        found = torch.searchsorted(kept, (draws.float() * kept[:, -1])[:, None], right=True)
        return order.gather(1, found)

    plain = torch.nn.functional
    contests = [
        (
            f"rms_norm {rows}×{width}",
            lambda _: elementwise.rms_norm(x, weight, 1e-5),
            lambda _: plain.rms_norm(x, (width,), weight, 1e-5),
        ),
        (
            f"silu_mul {rows}×{width}",
            lambda _: elementwise.silu_mul(both),
            lambda _: plain.silu(both[:, :width]) * both[:, width:],
        ),
        (
            f"sample top-p 0.9, {rows}×{bench.plan.vocabulary}",
            lambda _: sampling.sample(logits, draws, one, part),
            sorted_choice,
        ),
    ]
    for what, ours, theirs in contests:
        times = bench.times([Contender(OURS, ours), Contender(TORCH, theirs)])
        yield against(what, times, TORCH)


def all_rows(bench: Bench) -> Iterator[Row]:
    """Everything there is to measure."""
    from benchmarks.gpu_attention import attention_rows
    from benchmarks.gpu_linear import linear_rows
    from benchmarks.gpu_lora import lora_rows

    yield from machine_rows(bench)
    yield from linear_rows(bench)
    yield from lora_rows(bench)
    yield from attention_rows(bench)
    yield from small_rows(bench)


def main() -> None:
    """Run it, print the table, write the results; without a GPU say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few shapes, nothing written")
    parser.add_argument("--tune", action="store_true", help="try configurations of linear layers")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    if not torch.cuda.is_available():
        console.print("not measured: no CUDA GPU")
        return
    device = this_gpu(blocks=5 if options.quick else 15)
    plan = QUICK if options.quick else Plan()
    bench = Bench(device, plan, copier(device), options.tune)
    rows = []
    for row in all_rows(bench):
        console.print(f"  {row.what}: {row.value:,.4g} {row.unit}", style="dim")
        rows.append(row)
    console.print(table_of("GPU kernels", rows))
    if options.output or not options.quick:
        write_results("gpu_kernels", rows, PACKAGES, options.output)


if __name__ == "__main__":
    main()
