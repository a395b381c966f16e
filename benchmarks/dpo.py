"""Preference pairs per second of our trainer and of trl's, and whether their losses agree.

``python -m benchmarks.dpo`` writes docs/results/dpo.json; ``--quick`` makes two updates of two
pairs per trainer and writes nothing. Pairs are made of the repository's sampled answers as a run
makes them, or taken from a run (``--pairs RUN/round-01/rank/pairs.jsonl``). Every trainer starts
from the same weights and makes the same updates, each training in a process of its own, in turns.
It fails if an update's loss differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.dpo_run import Job, Result, groups_of
from benchmarks.dpo_tokens import Work, work_of
from benchmarks.paired import Comparison, MismatchError
from benchmarks.preferences import (
    Preference,
    preferences_of_corpus,
    preferences_of_run,
    write_preferences,
)
from benchmarks.results import REPOSITORY, Row, at_least, at_most, table_of, write_results
from pipeline.config_files import load_config
from pipeline.models import DEFAULT_MODEL, load_model
from pipeline.stages.train import train_settings
from pipeline.training.pairs import tokenized
from pipeline.training.plan import plan_steps
from pipeline.training.settings import TrainSettings
from verifier.errors import InputError

OURS = "ours"
DEFAULT, PRECOMPUTED = "trl, its defaults", "trl, reference precomputed"
FASTEST = "trl, reference precomputed, no gradient checkpointing"
RIVALS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    PRECOMPUTED: {"precompute_ref_log_probs": True},
    FASTEST: {"precompute_ref_log_probs": True, "gradient_checkpointing": False},
}
"""What trl's trainer is told. In trl 1.16 ``padding_free`` only warns and pads all the same."""

TARGET, TOLERANCE = 2.0, 1e-3
CONFIG = "reproduce"
PACKAGES = ("torch", "transformers", "trl", "peft")

_LONGEST = 1024
"""trl's default ``max_length``: what is longer it would cut off."""
_SPEED_NOTE = (
    "Wall-clock time of whole trainings without loading the model: tokens, reference log-"
    "probabilities (one epoch: each is used once), updates, curves and saving. Ours also measures "
    "the divergence from the reference and writes a checkpoint; trl's does neither. LoRA, order, "
    "rate and precision (float32) are the same; trl's bf16 default is off for that. Each training "
    "in a process of its own, in turns; ratio and spread are over the turns."
)
_COUNT_NOTE = (
    "Counted, not timed. trl passes the reference over the padded batches once more, and on a CPU "
    "computes logits at all their positions."
)


def plain_dpo(pairs_per_prompt: int | None) -> TrainSettings:
    """The shipped configuration's training as trl's default has it: no imitation, float32."""
    settings = train_settings(load_config(CONFIG), 1)
    settings = replace(settings, sft_weight=0.0, dtype="float32", epochs=1)
    return replace(settings, pairs_per_prompt=pairs_per_prompt) if pairs_per_prompt else settings


def train_in_turns(
    job: Job, folder: Path, rounds: int, show: Callable[[str, Result], None]
) -> dict[str, list[Result]]:
    """Results of every trainer, one per round; who begins changes from round to round."""
    contenders: dict[str, dict[str, Any] | None] = {OURS: None, **RIVALS}
    found: dict[str, list[Result]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(_train(replace(job, rival=contenders[name]), folder))
            show(name, found[name][-1])
    return found


def _train(job: Job, folder: Path) -> Result:
    """One training in a process of its own, cut off from the model hub.

    Raises:
        subprocess.CalledProcessError: It failed; its output was shown.
    """
    request, answer = folder / "job.json", folder / "result.json"
    job.write(request)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dpo_run", str(request), str(answer)],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return Result(**json.loads(answer.read_text(encoding="utf-8")))


def largest_difference(ours: Sequence[Result], theirs: Sequence[Result]) -> float:
    """Of the losses of an update, over all updates and rounds.

    Raises:
        MismatchError: The two did not learn from the same tokens in as many updates.
    """
    for mine, other in zip(ours, theirs, strict=True):
        if mine.tokens_hash != other.tokens_hash:
            raise MismatchError("the trainers read different tokens")
        if len(mine.losses) != len(other.losses):
            raise MismatchError(f"{len(mine.losses)} updates, and {len(other.losses)} of trl")
    return max(
        abs(mine - other)
        for one, two in zip(ours, theirs, strict=True)
        for mine, other in zip(one.losses, two.losses, strict=True)
    )


def measured_rows(found: Mapping[str, Sequence[Result]], pairs: int) -> list[Row]:
    """Speed, agreement and memory beside each rival."""
    ours = found[OURS]
    losses = ours[0].losses
    speeds, efforts, differences, memory = [], [], [], []
    for name in RIVALS:
        theirs, spent = found[name], Comparison()
        for mine, other in zip(ours, theirs, strict=True):
            spent.add(pairs, mine.seconds, other.seconds)
        rate, rival_rate = spent.rates(1)
        what = f"training on {pairs} pairs in {len(losses)} updates"
        row = Row(what, rate, "pairs / s", name, rival_rate, spent.ratio, spent.spread)
        row = replace(row, note=_SPEED_NOTE)
        speeds.append(at_least(row, TARGET) if name == DEFAULT else row)
        efforts.append(_effort_row(name, ours, theirs, pairs))
        note = f"The loss goes from {losses[0]:.3g} to {losses[-1]:.3g} in these updates."
        apart = largest_difference(ours, theirs)
        row = Row("largest difference of an update's loss", apart, "nats", name, note=note)
        differences.append(at_most(row, TOLERANCE))
        memory += _memory_rows(name, ours, theirs)
    return [*speeds, *efforts, *differences, *memory]


def _effort_row(name: str, ours: Sequence[Result], theirs: Sequence[Result], pairs: int) -> Row:
    """CPU time of all threads: hardly depends on what else the machine does."""
    spent = Comparison()
    for mine, other in zip(ours, theirs, strict=True):
        spent.add(pairs, mine.cpu_seconds, other.cpu_seconds)
    mine, other = (1 / rate for rate in spent.rates(1))
    return Row("CPU time", mine, "s / pair", name, other, spent.ratio, spent.spread)


def _memory_rows(name: str, ours: Sequence[Result], theirs: Sequence[Result]) -> list[Row]:
    kinds = [("peak memory of the process", "peak_mib")]
    if ours[0].gpu_peak_mib:
        kinds.append(("peak memory on the GPU", "gpu_peak_mib"))
    rows = []
    for what, field in kinds:
        mine, other = (max(getattr(r, field) for r in results) for results in (ours, theirs))
        rows.append(Row(what, mine, "MiB", name, other, other / mine))
    return rows


def counted_rows(work: Work) -> list[Row]:
    """Where the work goes that is saved."""
    passes = 2 * work.padded
    steps = (
        ("in updates: as batches without filling", work.apart, work.padded),
        ("in updates: a pair's prompt once", work.in_pairs, work.padded),
        (
            "in updates: common beginnings within a prompt's pairs once",
            work.in_prompts,
            work.padded,
        ),
        ("in updates: common beginnings of prompts once (as it is)", work.in_rows, work.padded),
        ("for the reference", work.reference, work.padded),
        ("in all", work.in_rows + work.reference, passes),
        ("with logits", work.predictions, work.padded_predictions),
    )
    each = work.pairs
    return [
        Row(
            f"positions {what}",
            mine / each,
            "per pair",
            DEFAULT,
            other / each,
            other / mine,
            note=_COUNT_NOTE,
        )
        for what, mine, other in steps
    ]


def main() -> int:
    """Run it, print the table, write the results; 1 if the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, help="a run's pairs.jsonl; else made of the corpus")
    parser.add_argument("--count", type=int, default=16, help="pairs to train on (16)")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each trainer (3)")
    parser.add_argument("--pairs-per-prompt", type=int, help=f"other than in {CONFIG}.yaml")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="another model: folder or name")
    parser.add_argument("--quick", action="store_true", help="4 pairs, once; nothing written")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    count, rounds = (4, 1) if options.quick else (options.count, options.rounds)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        pairs = _pairs(options.pairs, count)
    except InputError as error:
        parser.error(str(error))
    settings = plain_dpo(options.pairs_per_prompt)
    if options.quick:
        settings = replace(settings, pairs_per_step=2)
    tokenizer = load_model(options.model).tokenizer
    groups = [tokenized(tokenizer, group) for group in groups_of(pairs)]
    longest = max(len(g.prompt) + max(map(len, g.completions)) for g in groups)
    if longest > _LONGEST:
        parser.error(f"a pair has {longest} tokens, and trl cuts off after {_LONGEST}")
    console.print(f"{len(pairs)} pairs of {len(groups)} prompts, at most {longest} tokens")

    def show(name: str, result: Result) -> None:
        times = f"{result.seconds:.1f} s, CPU {result.cpu_seconds:.1f} s"
        console.print(f"  {name}: {times}, {result.peak_mib:,.0f} MiB", style="dim")

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        write_preferences(file, pairs)
        found = train_in_turns(Job(file, settings, None, options.model), Path(folder), rounds, show)
    rows = measured_rows(found, len(pairs))
    rows += counted_rows(work_of(groups, plan_steps(groups, settings)))
    console.print(
        table_of(f"dpo ({options.model}, {settings.pairs_per_step} pairs / update)", rows)
    )
    differing = [row for row in rows if row.unit == "nats" and not row.met]
    if differing:
        console.print("the losses differ: no speed counts until that is explained", style="red")
        return 1
    if options.output or not options.quick:
        write_results("dpo", rows, PACKAGES, options.output)
    return 0


def _pairs(path: Path | None, count: int) -> list[Preference]:
    if path is not None:
        return preferences_of_run(path, count)
    return preferences_of_corpus(load_config(CONFIG), count)


if __name__ == "__main__":
    sys.exit(main())
