"""One training in a process of its own: ``python -m benchmarks.dpo_run JOB.json RESULT.json``.

The clock starts when the network is in memory and has made a pass, and stops when the adapter is
on disk: tokens, reference, updates and everything a trainer records are part of the time.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.preferences import Preference, read_preferences
from pipeline.models import DEFAULT_MODEL, LanguageModel, load_model
from pipeline.training.pairs import PromptGroup, TokenGroup, group_pairs, tokenized
from pipeline.training.plan import plan_steps
from pipeline.training.settings import TrainSettings

Sequences = Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""Token ids of prompt, chosen and rejected completion of each pair."""


@dataclass(frozen=True)
class Job:
    """What to train.

    Attributes:
        pairs: File of preferences.
        settings: How; a rival gets the same as far as it knows them.
        rival: What trl's trainer is told besides; None for ours.
        model: As `load_model` takes it.
    """

    pairs: Path
    settings: TrainSettings
    rival: dict[str, Any] | None
    model: str = DEFAULT_MODEL

    def write(self, path: Path) -> None:
        """As `read` reads it."""
        content = asdict(self) | {"pairs": str(self.pairs)}
        path.write_text(json.dumps(content), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Job:
        """What `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = content["settings"]
        settings["lora_targets"] = tuple(settings["lora_targets"])
        pairs, rival, model = Path(content["pairs"]), content["rival"], content["model"]
        return Job(pairs, TrainSettings(**settings), rival, model)


@dataclass(frozen=True)
class Result:
    """What a training took.

    Attributes:
        seconds: Wall-clock.
        cpu_seconds: Of all threads.
        losses: Of each update.
        peak_mib: Largest resident memory of the process.
        gpu_peak_mib: Largest memory that torch held on the GPU; 0 without one.
        tokens_hash: Of the token ids of all pairs in the order trained on.
    """

    seconds: float
    cpu_seconds: float
    losses: tuple[float, ...]
    peak_mib: float
    gpu_peak_mib: float
    tokens_hash: str


class Clock:
    """Wall-clock and CPU time from when it is made until it is stopped."""

    def __init__(self) -> None:
        self.seconds, self.cpu_seconds = -time.perf_counter(), -time.process_time()

    def stop(self) -> None:
        """Once."""
        self.seconds += time.perf_counter()
        self.cpu_seconds += time.process_time()


def groups_of(preferences: Sequence[Preference]) -> list[PromptGroup]:
    """The pairs by prompt, as our trainer takes them."""
    return group_pairs((p.messages, p.chosen, p.rejected) for p in preferences)


def ordered(groups: Sequence[TokenGroup], settings: TrainSettings) -> list[tuple[int, int, int]]:
    """Group, chosen and rejected completion of each pair, in the order of our updates."""
    parts = [part for step in plan_steps(groups, settings) for part in step.parts[0]]
    items = [item for part in parts for item in part.items]
    return [(i.group, i.chosen, i.rejected) for i in items if i.rejected is not None]


def ours(model: LanguageModel, job: Job, work: Path) -> tuple[Clock, list[float], Sequences]:
    """Time, losses and tokens of our training."""
    from pipeline.files import read_rows
    from pipeline.training import trainer as _  # noqa: F401  # imports are not timed
    from pipeline.training.train import CURVES, train

    groups = groups_of(read_preferences(job.pairs))
    clock = Clock()
    train(model, groups, job.settings, work / "adapter", work / "partial")
    clock.stop()
    losses = [row["loss"] for row in read_rows(work / "adapter" / CURVES)]
    tokens = [tokenized(model.tokenizer, group) for group in groups]
    found = [
        (tokens[g].prompt, tokens[g].completions[c], tokens[g].completions[r])
        for g, c, r in ordered(tokens, job.settings)
    ]
    return clock, losses, found


def theirs(model: LanguageModel, job: Job, work: Path) -> tuple[Clock, list[float], Sequences]:
    """Time, losses and tokens of trl's training on the same pairs in the same updates."""
    import datasets
    from datasets import Dataset
    from peft import LoraConfig
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    datasets.disable_progress_bars()
    settings = job.settings
    groups = groups_of(read_preferences(job.pairs))
    tokens = [tokenized(model.tokenizer, group) for group in groups]
    order = ordered(tokens, settings)
    rows = [_conversation(groups[g], chosen, rejected) for g, chosen, rejected in order]
    updates = -(-len(rows) // settings.pairs_per_step)
    clock = Clock()
    args = DPOConfig(
        output_dir=str(work),
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        warmup_steps=int(settings.warmup * updates),
        num_train_epochs=1,
        per_device_train_batch_size=settings.pairs_per_step,
        train_sampling_strategy="sequential",
        bf16=False,
        use_cpu=model.device == "cpu",
        logging_steps=1,
        save_strategy="no",  # in its favour: ours writes a checkpoint
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        **(job.rival or {}),
    )
    trainer = DPOTrainer(
        model=model.model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=model.tokenizer,
        peft_config=LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=list(settings.lora_targets),
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.save_model(str(work / "adapter"))
    clock.stop()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    data: Any = trainer.train_dataset
    found = [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in data]
    return clock, losses, found


def _conversation(group: PromptGroup, chosen: int, rejected: int) -> dict[str, Any]:
    """A pair as trl takes it."""

    def answer(completion: int) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": group.completions[completion]}]

    prompt = [{"role": m.role, "content": m.content} for m in group.messages]
    return {"prompt": prompt, "chosen": answer(chosen), "rejected": answer(rejected)}


def _make_ready(model: LanguageModel) -> None:
    """Weights are read from disk when they are first used: use them."""
    import torch

    ids = torch.tensor([model.tokenizer("ready")["input_ids"]], device=model.device)
    with torch.no_grad():
        model.model(input_ids=ids)


def run(job: Job) -> Result:
    """Carry the job out."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    model = load_model(job.model, dtype="float32")
    _make_ready(model)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "adapter").mkdir()
        (work / "partial").mkdir()
        clock, losses, found = (ours if job.rival is None else theirs)(model, job, work)
    plain = [[list(ids) for ids in pair] for pair in found]
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return Result(
        clock.seconds,
        clock.cpu_seconds,
        tuple(losses),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        gpu,
        sha256(json.dumps(plain).encode()).hexdigest(),
    )


def main() -> None:
    """Read the job, write the result."""
    job, result = (Path(argument) for argument in sys.argv[1:])
    result.write_text(json.dumps(asdict(run(Job.read(job)))), encoding="utf-8")


if __name__ == "__main__":
    main()
