"""trl's DPO trainer over planned updates of shared-prefix rows."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import use_adapter

from pipeline.files import write_text
from pipeline.training import curves
from pipeline.training.batches import RowCollator, RowContent
from pipeline.training.checkpoints import mark_complete, remove_others
from pipeline.training.forward import Tensors
from pipeline.training.losses import row_losses
from pipeline.training.pairs import TokenGroup
from pipeline.training.plan import Step
from pipeline.training.probe import EVERY, divergence, probe_row
from pipeline.training.reference import Reference, reference_log_probs
from pipeline.training.settings import TrainSettings
from verifier.errors import InputError

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

CHECKPOINTS, REFERENCE = "checkpoints", "reference.json"

_CURVES = "curves.json"
_COPY = "ref"
"""trl's name for the frozen copy of the adapter as it was at the start: the reference."""


def arguments(
    settings: TrainSettings, updates: int, folder: Path, *, on_cpu: bool, mixed: bool
) -> DPOConfig:
    """What trl and transformers are told.

    Args:
        settings: How to train.
        updates: How many there will be.
        folder: For checkpoints.
        on_cpu: Although there may be a GPU.
        mixed: Multiply in bfloat16.
    """
    imitates = settings.method == "sft"
    return DPOConfig(
        loss_type=["sft"] if imitates else [settings.loss, "sft"],
        loss_weights=[1.0] if imitates else [1.0, settings.sft_weight],
        beta=settings.beta,
        num_train_epochs=1,
        max_length=None,
        disable_dropout=settings.lora_dropout == 0,
        gradient_checkpointing=settings.gradient_checkpointing,
        **common_arguments(settings, updates, folder, on_cpu=on_cpu, mixed=mixed),
    )


def common_arguments(
    settings: TrainSettings, updates: int, folder: Path, *, on_cpu: bool, mixed: bool
) -> dict[str, Any]:
    """What transformers is told whatever the loss is; as `arguments`."""
    return {
        "output_dir": str(folder),
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(settings.warmup * updates),
        "optim": "adamw_torch",
        "per_device_train_batch_size": 1,
        "train_sampling_strategy": "sequential",
        "bf16": mixed,
        "use_cpu": on_cpu,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_every,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "seed": settings.seed % 2**32,
    }


class PreferenceTrainer(DPOTrainer):
    """Makes the updates of a plan.

    Differs from its base class in what a batch is (all rows of an update) and how it is run
    (every common beginning once). The loss is the same.

    Args:
        model: A peft model whose network went through `add_row_forward`.
        tokenizer: The model's.
        args: From `arguments`.
        groups: Prompts and completions.
        steps: All updates.
        settings: How to train.
        partial: Folder for the state of an interrupted training.
        report: Progress.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        args: DPOConfig,
        groups: Sequence[TokenGroup],
        steps: Sequence[Step],
        settings: TrainSettings,
        partial: Path,
        report: Report,
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        """Of the curves: one per update made."""
        self._groups, self._steps, self._settings = groups, steps, settings
        self._partial, self._report = partial, report
        self._reference: Reference | None = None
        self._probe: _Probe | None = None
        self._sums: curves.Sums = defaultdict(float)
        numbers = range(len(steps) * len(steps[0].parts))
        super().__init__(
            model=model,
            args=args,
            processing_class=tokenizer,
            train_dataset=Dataset.from_dict({"number": list(numbers)}),
            data_collator=RowCollator(steps, groups),
            callbacks=[_Hooks(self)],
        )

    def continue_from(self, checkpoint: Path | None) -> None:
        """Make all updates, or those that are left after a checkpoint of this training."""
        if checkpoint is not None:
            self.rows = json.loads((checkpoint / _CURVES).read_text(encoding="utf-8"))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)

    def begin(self) -> None:
        """Called once the model is where it will be trained, before the first update."""
        done = len(self.rows)
        if self._settings.method == "dpo" and done < len(self._steps):
            self._reference = reference_log_probs(
                self._reference_scores,
                self._groups,
                self._steps,
                self._partial / REFERENCE,
                self.accelerator.process_index,
                self.accelerator.num_processes,
                lambda done, total: self._report("scoring with the reference", done, total),
            )
        self._report("training", done, len(self._steps))

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Forward and backward pass of every row of an update; the update's loss."""
        parts = inputs["parts"]
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts, start=1):
            if number == len(parts):
                total += super().training_step(model, part, num_items_in_batch)
            else:
                with self.accelerator.no_sync(model):
                    total += super().training_step(model, part, num_items_in_batch)
        return total

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """A row's share of the update's loss."""
        content: RowContent = inputs["content"]
        log_probs = model(row=inputs["row"]).sum(-1)
        reference = None
        if self._reference is not None:
            known = [self._reference[completion] for completion in content.completions]
            reference = log_probs.new_tensor(known)
        losses = row_losses(log_probs, reference, content, self._settings)
        self._sums["loss"] += losses.total.item()
        self._sums["sft_loss"] += losses.imitation.item()
        if losses.preference is not None and reference is not None:
            self._sums["preference_loss"] += losses.preference.item()
            measured = curves.pair_sums(
                log_probs.tolist(),
                reference.tolist(),
                content.lengths,
                list(zip(content.chosen, content.rejected, strict=True)),
                content.prompts,
            )
            for name, value in measured.items():
                self._sums[name] += value
        return losses.total

    def log(
        self,
        logs: dict[str, float],
        start_time: float | None = None,  # noqa: ARG002
    ) -> None:
        """Add a row to the curves; called by the base class after every update.

        Raises:
            InputError: The loss or the gradient is not a finite number.
        """
        if "grad_norm" not in logs:
            return  # durations, at the end
        number = self.state.global_step
        sums = self._reduced()
        if not (math.isfinite(sums["loss"]) and math.isfinite(logs["grad_norm"])):
            raise InputError(
                f"update {number}: the loss is no longer a finite number",
                remedy="lower train.learning_rate, or set train.dtype=float32",
            )
        measured: dict[str, float | None] = {
            "loss": sums["loss"],
            "preference_loss": sums["preference_loss"] if self._reference is not None else None,
            "sft_loss": sums["sft_loss"],
            **curves.means({name: sums[name] for name in curves.SUMS}),
            "kl": self._divergence(number),
            "learning_rate": logs["learning_rate"],
            "gradient_norm": logs["grad_norm"],
        }
        epoch = self._steps[number - 1].epoch
        ordered = {name: measured[name] for name in curves.MEASURES}
        self.rows.append({"step": number, "epoch": epoch, **ordered})
        self._report("training", number, len(self._steps))

    def seal(self) -> None:
        """Finish the checkpoint that the base class has just written; remove older ones."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            folder = self._partial / CHECKPOINTS
            checkpoint = folder / f"checkpoint-{self.state.global_step}"
            write_text(checkpoint / _CURVES, json.dumps(self.rows))
            mark_complete(checkpoint)
            remove_others(folder, checkpoint)

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """Not for checkpoints."""

    def _prepare_dataset(self, dataset: Any, *_args: Any, **_kwargs: Any) -> Any:
        return dataset  # only numbers; what they stand for is planned already

    def _send_telemetry(self) -> None:
        """Nobody's business."""

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Not counted."""
        return 0

    @property
    def _network(self) -> Any:
        # Another object once FSDP has taken it over.
        return self.model

    def _reference_scores(self, row: Tensors) -> list[float]:
        with self._as_reference():
            return self._network(row=self._prepare_inputs(row)).sum(-1).tolist()

    def _as_reference(self) -> Any:
        return _Frozen(self._network, self.accelerator.unwrap_model(self._network))

    def _divergence(self, number: int) -> float | None:
        if number != 1 and number % EVERY and number != len(self._steps):
            return None
        if self._probe is None:
            row: Any = self._prepare_inputs(probe_row(self._groups))
            with self._as_reference():
                self._probe = _Probe(row, self._network(row=row, distributions=True))
        self._network.eval()
        with torch.no_grad():
            policy = self._network(row=self._probe.row, distributions=True)
        return divergence(policy, self._probe.reference)

    def _reduced(self) -> curves.Sums:
        """Sums over all processes; losses are means of what each has as its share."""
        sums, processes = self._sums, self.accelerator.num_processes
        self._sums = defaultdict(float)
        if processes > 1:
            names = ("loss", "preference_loss", "sft_loss", *curves.SUMS)
            mine = torch.tensor([sums[name] for name in names], dtype=torch.float32)
            both: Any = self.accelerator.reduce(mine.to(self.accelerator.device), "sum")
            sums = dict(zip(names, both.tolist(), strict=True))
            for name in names[:3]:
                sums[name] /= processes
        return sums


@dataclass(frozen=True)
class _Probe:
    row: Tensors
    reference: torch.Tensor


class _Frozen:
    """Within it the model is the reference, and no gradient is kept.

    Args:
        model: As it is called.
        adapted: The peft model in it.
    """

    def __init__(self, model: Any, adapted: Any) -> None:
        self._model = model
        self._adapter, self._no_grad = use_adapter(adapted, _COPY), torch.no_grad()

    def __enter__(self) -> None:
        self._model.eval()
        self._no_grad.__enter__()
        self._adapter.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._adapter.__exit__(*error)
        self._no_grad.__exit__(*error)


class _Hooks(TrainerCallback):
    def __init__(self, trainer: PreferenceTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        self._trainer.begin()

    def on_save(self, *_args: Any, **_kwargs: Any) -> None:
        self._trainer.seal()
