"""Stage ``train``: the round's pairs become an adapter.

Writes ``adapter/`` (peft's format), ``curves.jsonl`` (a row per update) and ``summary.json``. The
reference is the model that the round starts from; a new round goes on with the same adapter.
"""

from __future__ import annotations

from pipeline.config import RunConfig
from pipeline.models import load_model
from pipeline.stages.context import StageContext
from pipeline.stages.rank import PAIRS
from pipeline.training.pairs import load_groups
from pipeline.training.settings import TrainSettings
from pipeline.training.train import train

SECTIONS = ("seed", "model", "train")
NEEDS = ("rank", "adapter")


def run(context: StageContext) -> None:
    """Train, or go on with an interrupted training.

    Raises:
        InputError: No pairs; an adapter or model that does not fit; a loss that is no number.
    """
    settings = train_settings(context.config, context.round)
    groups = load_groups(context.inputs["rank"] / PAIRS)
    config = context.config.model
    dtype = "float32" if settings.dtype == "float32" else config.dtype
    model = load_model(config.name, config.device, "auto" if dtype == "float16" else dtype)
    train(
        model,
        groups,
        settings,
        context.work,
        context.partial,
        context.inputs.get("adapter"),
        context.report,
    )


def train_settings(config: RunConfig, number: int) -> TrainSettings:
    """How round ``number`` is trained.

    Raises:
        InputError: The section ``train`` asks for what training cannot do.
    """
    section = config.train
    return TrainSettings(
        method=section.method,
        loss=section.loss,
        beta=section.beta,
        sft_weight=section.sft_weight,
        learning_rate=section.learning_rate,
        epochs=section.epochs,
        pairs_per_step=section.pairs_per_step,
        pairs_per_prompt=section.pairs_per_prompt,
        warmup=section.warmup,
        lora_rank=section.lora.rank,
        lora_alpha=section.lora.alpha,
        lora_dropout=section.lora.dropout,
        lora_targets=section.lora.targets,
        dtype=section.dtype,
        checkpoint_every=section.checkpoint_every,
        max_steps=section.max_steps,
        gradient_checkpointing=section.gradient_checkpointing,
        seed=config.seed * 1000 + number,
    )
