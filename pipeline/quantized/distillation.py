"""Distillation: an adapter brings one model's predictions back to those of another.

The loss of a text is the mean, over the tokens of its second part, of the Kullback-Leibler
divergence KL(teacher || student) of the next token's distributions at temperature 1 (Hinton,
Vinyals and Dean: Distilling the Knowledge in a Neural Network, 2015, section 2). With texts that
the teacher has written itself, its minimum is the teacher's distribution of whole answers.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from pipeline.files import write_text
from pipeline.reading import Tokens
from pipeline.training.checkpoints import latest_complete, mark_complete, remove_others
from pipeline.training.settings import TrainSettings
from pipeline.training.trainer import CHECKPOINTS, common_arguments
from verifier.errors import InputError

Text = tuple[Tokens, Tokens]
"""What is read, and what is predicted in it: prompt and answer."""

Report = Callable[[str, int, int], None]

_CURVE = "curve.json"


def distill(
    student: Any,
    teacher: Any,
    texts: Sequence[Text],
    settings: TrainSettings,
    steps: int,
    partial: Path,
    report: Report = lambda _what, _done, _total: None,
    *,
    mixed: bool = False,
) -> list[float]:
    """Train the student's adapter; the loss of every update, in nats per token.

    A training that was killed goes on from its last checkpoint, if it is called again with the
    same arguments.

    Args:
        student: A peft model; its adapter changes.
        teacher: A network with the same tokens.
        texts: At least one.
        settings: Rate, warm-up, seed; an update averages over ``pairs_per_step`` texts.
        steps: Updates, at least one.
        partial: Folder for the state of an interrupted training of the same kind, else empty.
        report: Progress.
        mixed: Multiply in bfloat16.

    Raises:
        InputError: The loss is no longer a finite number.
    """
    folder = partial / CHECKPOINTS
    arguments = TrainingArguments(
        max_steps=steps,
        gradient_accumulation_steps=settings.pairs_per_step,
        **common_arguments(settings, steps, folder, on_cpu=True, mixed=mixed),
    )
    order = _order(len(texts), steps * settings.pairs_per_step, settings.seed)
    trainer = _Distiller(student, teacher, arguments, [texts[i] for i in order], folder, report)
    latest = latest_complete(folder)
    remove_others(folder, latest)
    if latest is not None:
        trainer.curve = json.loads((latest / _CURVE).read_text(encoding="utf-8"))
    report("training on the quantized weights", len(trainer.curve), steps)
    trainer.train(resume_from_checkpoint=str(latest) if latest is not None else None)
    return trainer.curve


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) in nats, the mean over rows; both logits [rows, vocabulary]."""
    p, q = (logits.float().log_softmax(dim=-1) for logits in (teacher, student))
    return (p.exp() * (p - q)).sum(dim=-1).mean()


def _order(texts: int, count: int, seed: int) -> list[int]:
    """Every text once in an order of chance, then again in another one."""
    chance, order = random.Random(f"distillation {seed}"), []
    while len(order) < count:
        order += chance.sample(range(texts), texts)
    return order[:count]


class _Distiller(Trainer):
    def __init__(
        self,
        student: Any,
        teacher: Any,
        arguments: TrainingArguments,
        texts: Sequence[Text],
        folder: Path,
        report: Report,
    ) -> None:
        self.curve: list[float] = []
        self._teacher, self._folder, self._report = teacher.eval(), folder, report
        dataset: Any = list(texts)
        super().__init__(
            model=student,
            args=arguments,
            train_dataset=dataset,
            data_collator=_tensors,
            callbacks=[_Hooks(self)],
        )
        # The loss is a mean already: what is accumulated is divided by the number of texts.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        ids, predicted = inputs["ids"], inputs["predicted"]
        with torch.no_grad():
            theirs = self._teacher(ids, logits_to_keep=predicted + 1, use_cache=False).logits
        ours = model(input_ids=ids, logits_to_keep=predicted + 1, use_cache=False).logits
        # The last position predicts what comes after the text.
        return divergence(ours[0, :-1], theirs[0, :-1])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        if "grad_norm" not in logs:
            return  # durations, at the end
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise InputError(
                f"update {self.state.global_step}: the loss is no longer a finite number",
                remedy="lower quantize.recover_rate",
            )
        self.curve.append(logs["loss"])
        self._report("training on the quantized weights", len(self.curve), self.args.max_steps)

    def seal(self) -> None:
        """Finish the checkpoint that the base class has just written; remove older ones."""
        checkpoint = self._folder / f"checkpoint-{self.state.global_step}"
        write_text(checkpoint / _CURVE, json.dumps(self.curve))
        mark_complete(checkpoint)
        remove_others(self._folder, checkpoint)

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        return 0  # not counted


def _tensors(texts: Sequence[Text]) -> dict[str, Any]:
    (text,) = texts
    return {"ids": torch.tensor([[*text[0], *text[1]]]), "predicted": len(text[1])}


class _Hooks(TrainerCallback):
    def __init__(self, trainer: _Distiller) -> None:
        self._trainer = trainer

    def on_save(self, *_args: Any, **_kwargs: Any) -> None:
        self._trainer.seal()
