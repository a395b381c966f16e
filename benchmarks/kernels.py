"""The CPU kernels against torch's, each number beside the memory's speed.

``python -m benchmarks.kernels`` writes docs/results/kernels.json; ``--quick`` takes a few small
shapes and writes nothing. Contenders alternate block by block in one process with the same number
of threads; an answer that is wrong stops it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.kernel_bandwidth import Memory, bandwidth_rows
from benchmarks.kernels_attention import (
    CONTEXTS,
    HEADS,
    AttentionCase,
    Contexts,
    Heads,
    measure_attention,
)
from benchmarks.kernels_linear import (
    ROWS,
    SHAPES,
    LinearCase,
    Shape,
    call_costs,
    measure_shape,
)
from benchmarks.kernels_lora import MIXED, SAME, LoraCase, measure_adapters
from benchmarks.kernels_lora import SHAPES as LORA_SHAPES
from benchmarks.kernels_tables import (
    attention_rows,
    attention_table,
    linear_rows,
    linear_table,
    lora_rows,
    lora_table,
)
from benchmarks.kernels_timing import COLD, Effort
from benchmarks.results import Row, table_of, write_results
from kernels.cpu import isa, set_num_threads

PACKAGES = ("torch",)
_EFFORT = Effort()
_PASSES = 3
"""Of reading memory in every block; the fastest counts, since it is to be a limit."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long.

    Attributes:
        effort: Of every comparison.
        memory: Bytes that are read to know the limit.
        cold: Bytes of each contender's copies.
        shapes: Of linear layers.
        rows: Of activations.
        lora: Adapted layers' weights.
        adapters: Numbers of adapters in a batch of ``batch`` rows.
        batch: See ``adapters``.
        heads: Of attention.
        contexts: Batches of attention.
    """

    effort: Effort = _EFFORT
    memory: int = 256 * 2**20
    cold: int = COLD
    shapes: tuple[Shape, ...] = SHAPES
    rows: tuple[int, ...] = ROWS
    lora: tuple[Shape, ...] = LORA_SHAPES
    adapters: tuple[int, ...] = (1, 8, 32)
    batch: int = 32
    heads: tuple[Heads, ...] = HEADS
    contexts: tuple[Contexts, ...] = CONTEXTS


QUICK = Plan(
    Effort(blocks=3, seconds=0.002),
    memory=2**22,
    cold=2**20,
    shapes=(Shape("SmolLM2-135M", "o", 192, 192), Shape("7B", "o", 128, 256)),
    rows=(1, 32),
    lora=(Shape("SmolLM2-135M", "q", 192, 192),),
    heads=(Heads("SmolLM2-135M", 6, 2, 64),),
    contexts=(Contexts(2, 70),),
)


@dataclass(frozen=True)
class Found:
    """All measurements."""

    linear: list[LinearCase]
    lora: list[LoraCase]
    attention: list[AttentionCase]

    def rows(self) -> list[Row]:
        """Headlines."""
        ours, torchs = call_costs()
        cost = Row("cost of a call from Python", ours * 1e6, "µs", "torch", torchs * 1e6)
        return [
            *linear_rows(self.linear),
            *lora_rows(self.lora),
            *attention_rows(self.attention),
            cost,
        ]

    def tables(self) -> list[dict[str, object]]:
        """Everything, as JSON."""
        tables = (
            linear_table(self.linear),
            lora_table(self.lora),
            attention_table(self.attention),
        )
        return [table.to_json() for table in tables]


def measure(plan: Plan, show: Callable[[str], None]) -> Found:
    """Measure all of a plan.

    Raises:
        MismatchError: A contender's answer is wrong.
    """
    torch.manual_seed(0)
    memory = Memory(plan.memory)

    def read() -> float:
        return memory.read(_PASSES)

    linear: list[LinearCase] = []
    for shape in plan.shapes:
        show(f"int4_linear {shape.name}")
        linear += measure_shape(shape, plan.rows, plan.effort, read, plan.cold)
    lora = list(_adapters(plan, read, show))
    attention: list[AttentionCase] = []
    for heads in plan.heads:
        for contexts in plan.contexts:
            show(f"paged_attention {contexts.sequences} × {contexts.length}")
            attention.append(measure_attention(heads, contexts, plan.effort, read, plan.cold))
    return Found(linear, lora, attention)


def _adapters(
    plan: Plan, read: Callable[[], float], show: Callable[[str], None]
) -> Iterator[LoraCase]:
    """Equal ranks from memory and from a cache, mixed ones from memory."""
    for shape in plan.lora:
        for ranks, cold in ((SAME, plan.cold), (SAME, 0), (MIXED, plan.cold)):
            show(f"lora_sgmv {shape.name}")
            yield measure_adapters(
                shape,
                ranks,
                plan.effort,
                read,
                adapters=plan.adapters,
                cold=cold,
                rows=plan.batch,
            )


def use_threads(count: int) -> None:
    """Ours and torch's."""
    torch.set_num_threads(count)
    set_num_threads(count)


def main() -> int:
    """Run it, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(2)")
    parser.add_argument("--quick", action="store_true", help="small shapes; nothing written")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    plan = QUICK if options.quick else Plan()
    console = Console(width=None if sys.stdout.isatty() else 160)
    torch.set_num_threads(options.threads)
    memory = bandwidth_rows(options.threads, 5 if options.quick else 15, plan.memory)
    use_threads(options.threads)
    with torch.inference_mode():
        found = measure(plan, lambda what: console.print(f"  {what}", style="dim"))
    rows = [*memory, *found.rows()]
    console.print(table_of(f"kernels ({options.threads} threads, {isa()})", rows))
    if options.output or not options.quick:
        about = (
            f"Threads on both sides: {options.threads}; our instruction set is {isa()}. Contenders "
            f"take turns in {plan.effort.blocks} blocks; values are medians, ratios medians over "
            "the blocks with their 10th and 90th percentile."
        )
        more = {"about": [about], "tables": found.tables()}
        print(write_results("kernels", rows, PACKAGES, options.output, more))
    return 0


if __name__ == "__main__":
    sys.exit(main())
