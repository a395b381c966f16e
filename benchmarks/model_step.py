"""Tokens per second of the whole model: ours, llama.cpp, transformers; with and without adapters.

``python -m benchmarks.model_step`` writes docs/results/model_step.json; ``--quick`` makes a few
steps and writes nothing. Every engine runs in a process of its own with the same number of threads
and answers in turns; before anything is timed, their predictions are compared, and a difference
beyond rounding stops the benchmark. llama.cpp is measured where llama-cpp-python is installed
(``pip install 'specdrive[llama]'``: compiled, it knows this processor).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from benchmarks.kernel_bandwidth import Memory
from benchmarks.model_step_files import Files, write_files
from benchmarks.model_step_tables import (
    GROUPS_8,
    LLAMA_0,
    LLAMA_1,
    OURS_8,
    OURS_16,
    TRANSFORMERS,
    Case,
    Measured,
    step_rows,
    step_table,
)
from benchmarks.model_step_work import ALL_ADAPTERS, Engine, EngineSpec, row_ids
from benchmarks.model_step_worker import Worker
from benchmarks.paired import MismatchError
from benchmarks.results import table_of, write_results
from kernels.cpu import set_num_threads
from pipeline.models import embedded_gguf

PACKAGES = ("torch", "llama-cpp-python", "transformers")

MOST = 0.05
"""Nats: the most that predictions of two engines may diverge. Rounding activations to 8 bits costs
0.01, an adapter makes more than 0.1."""
ENGINES = (OURS_8, OURS_16, GROUPS_8, LLAMA_0, LLAMA_1, TRANSFORMERS)
"""In the order of tables."""
_COMPARED = (8, 30)
"""Rows and their length."""
_REST = 0.03
"""Seconds between engines, in which the threads of the one before go to sleep."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        rounds: Through all engines.
        steps: Steps of a block, by batch size.
        few: The same for engines that compute sequences one by one, or slowly.
        prompt: Tokens of the prompt whose reading is timed.
        memory: Bytes that are read to know the limit.
        layers: Only so many of the model's, for tests.
    """

    rounds: int = 7
    steps: tuple[tuple[int, int], ...] = ((1, 48), (8, 24), (32, 12))
    few: tuple[tuple[int, int], ...] = ((1, 16), (8, 8), (32, 4))
    prompt: int = 512
    memory: int = 256 * 2**20
    layers: int | None = None

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of sequences."""
        return tuple(batch for batch, _ in self.steps)

    def cases(self) -> list[Case]:
        """In order."""
        decoding = [
            Case(batch, adapters)
            for batch in self.batches
            for adapters in ALL_ADAPTERS
            if batch > 1 or adapters != "distinct"
        ]
        return [*decoding, Case(1, "none", self.prompt)]

    def steps_of(self, engine: str, case: Case) -> int:
        """Of a block."""
        slow = engine == TRANSFORMERS or (engine == LLAMA_0 and case.adapters == "distinct")
        return dict(self.few if slow else self.steps)[case.batch]


QUICK = Plan(rounds=2, steps=((1, 8), (4, 4)), few=((1, 4), (4, 2)), prompt=64, memory=2**26)


def specs_of(files: Files, threads: int, sequences: int) -> dict[str, EngineSpec]:
    """Every engine, how it is loaded."""
    ours, theirs = (tuple(map(str, found)) for found in (files.adapters, files.their_adapters))

    def spec(
        kind: str, model: Path, adapters: tuple[str, ...] = (), bits: Literal[16, 8] = 8
    ) -> EngineSpec:
        return EngineSpec(kind, str(model), adapters, threads, bits, sequences)

    return {
        OURS_8: spec("ours", files.q4_0, ours),
        OURS_16: spec("ours", files.q4_0, ours, 16),
        GROUPS_8: spec("ours", files.checkpoint, ours),
        LLAMA_0: spec("llama", files.q4_0, theirs),
        LLAMA_1: spec("llama", files.q4_1),
        TRANSFORMERS: spec("transformers", files.q4_0),
    }


def cases_of(engine: str, plan: Plan) -> list[Case]:
    """What an engine is measured on: two of them without adapters only."""
    bare = engine in (LLAMA_1, TRANSFORMERS)
    return [case for case in plan.cases() if case.adapters == "none" or not bare]


def compare(engines: Mapping[str, Engine]) -> dict[str, float]:
    """Divergence of everybody's predictions from ours with 16-bit activations, in nats.

    The engines with the same weights are compared, without an adapter and with the first; keys say
    which.

    Raises:
        MismatchError: One is too large.
    """
    count, length = _COMPARED
    rows = [row_ids(100 + row, length) for row in range(count)]
    found: dict[str, float] = {}
    for adapter in (None, 0):
        ours = torch.log_softmax(engines[OURS_16].logits(rows, adapter).double(), dim=-1)
        for name in (OURS_8, LLAMA_0, TRANSFORMERS):
            if name not in engines or (adapter is not None and name == TRANSFORMERS):
                continue
            theirs = torch.log_softmax(engines[name].logits(rows, adapter).double(), dim=-1)
            apart = float((ours.exp() * (ours - theirs)).sum(dim=-1).mean())
            what = f"{name}, {'no adapter' if adapter is None else 'an adapter'}"
            if not apart <= MOST:
                raise MismatchError(f"predictions of {what}, are {apart:.3g} nats from ours")
            found[what] = apart
    return found


def measure(
    engines: Mapping[str, Engine],
    plan: Plan,
    read: Callable[[], float],
    show: Callable[[str], None],
) -> tuple[dict[str, dict[Case, list[float]]], list[float]]:
    """Tokens per second by engine and case, and the memory's speed, round by round."""
    rates: dict[str, dict[Case, list[float]]] = {name: {} for name in engines}
    speeds: list[float] = []
    names = list(engines)
    for name in names:  # contexts are made and threads woken
        for case in cases_of(name, plan):
            _rate(engines[name], name, case, plan, 2)
    for number in range(plan.rounds):
        speeds.append(read())
        for case in plan.cases():
            start = number % len(names)
            for name in names[start:] + names[:start]:
                if case in cases_of(name, plan):
                    time.sleep(_REST)
                    rate = _rate(engines[name], name, case, plan)
                    rates[name].setdefault(case, []).append(rate)
        show(f"round {number + 1} of {plan.rounds}")
    return rates, speeds


def _rate(engine: Engine, name: str, case: Case, plan: Plan, most: int | None = None) -> float:
    """Tokens per second in a block, from its median step."""
    if case.prompt is not None:
        return case.prompt / engine.prompt(case.prompt)
    steps = plan.steps_of(name, case)
    seconds = engine.steps(case.batch, case.adapters, min(steps, most or steps))
    return case.batch / statistics.median(seconds)


def run(plan: Plan, threads: int, show: Callable[[str], None]) -> tuple[Measured, list[str]]:
    """Everything, and a few sentences on how it was done.

    Raises:
        MismatchError: Two engines predict different things.
    """
    set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show("writing models and adapters")
        files = write_files(embedded_gguf(), folder, max(plan.batches), plan.layers)
        specs = specs_of(files, threads, max(plan.batches))
        workers: dict[str, Worker] = {}
        missing: dict[str, str] = {}
        try:
            for number, (engine, spec) in enumerate(specs.items()):
                show(f"loading {engine}")
                worker = Worker(spec, folder, f"engine-{number}")
                if worker.missing:
                    missing[engine] = worker.missing
                else:
                    workers[engine] = worker
            apart = compare(workers)
            told = {engine: worker.info() for engine, worker in workers.items()}
            rates, read = measure(workers, plan, partial(Memory(plan.memory).read, 3), show)
        finally:
            for worker in workers.values():
                worker.close()
    sizes = (files.bytes["q4_0"], files.bytes["checkpoint"], files.bytes["q4_1"])
    by_engine = dict(zip((OURS_8, GROUPS_8, LLAMA_1), sizes, strict=True))
    by_engine |= {OURS_16: sizes[0], LLAMA_0: sizes[0], TRANSFORMERS: files.bytes["bf16"]}
    return Measured(rates, read, by_engine, missing), _about(threads, plan, apart, told)


def _about(
    threads: int, plan: Plan, apart: Mapping[str, float], told: Mapping[str, str]
) -> list[str]:
    worst = max(apart, key=apart.__getitem__) if apart else ""
    built = f" {told[LLAMA_0]}." if LLAMA_0 in told else ""
    compared = (
        f"Before anything is timed, predictions are compared: the engines with the same weights "
        f"are at most {apart[worst]:.2g} nats per token from ours ({worst})."
        if apart
        else "There was no other engine to compare predictions with."
    )
    return [
        f"Threads of each engine: {threads}. Every engine runs in a process of its own, in turns; "
        f"rounds: {plan.rounds}. Rates are of the median step of a block, ratios medians over the "
        f"rounds with their 10th and 90th percentile.{built}",
        compared,
    ]


def main() -> int:
    """Run it, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(2)")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help=f"({Plan.rounds})")
    parser.add_argument("--quick", action="store_true", help="a few steps; nothing written")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    plan = QUICK if options.quick else replace(Plan(), rounds=options.rounds)
    console = Console(width=None if sys.stdout.isatty() else 160)
    found, about = run(plan, options.threads, lambda what: console.print(f"  {what}", style="dim"))
    rows = step_rows(found, plan.batches, plan.prompt)
    console.print(table_of(f"model step ({options.threads} threads)", rows))
    if options.output or not options.quick:
        table = step_table(found, plan.cases(), ENGINES)
        more = {"about": about, "tables": [table.to_json()]}
        print(write_results("model_step", rows, PACKAGES, options.output, more))
    return 0


if __name__ == "__main__":
    sys.exit(main())
