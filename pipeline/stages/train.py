"""Stage ``train``: the round's pairs become an adapter.

Writes ``adapter/`` (peft's format), ``curves.jsonl`` (a row per update) and ``summary.json``. The
reference is the model that the round starts from; a new round goes on with the same adapter.

Launched as several processes (see ``configs/accelerate/fsdp.yaml``), all of them train, and the
first one writes the files.
"""

from __future__ import annotations

from pipeline.config import RunConfig
from pipeline.models import LanguageModel, load_model
from pipeline.stages.context import StageContext
from pipeline.stages.rank import PAIRS
from pipeline.training.pairs import load_groups
from pipeline.training.processes import announce, follow
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
    announce(context)
    _train(context, settings)


def take_part() -> None:
    """In a process that another one leads (`processes.is_follower`): train when it does."""
    follow(lambda context: _train(context, train_settings(context.config, context.round)))


def _train(context: StageContext, settings: TrainSettings) -> None:
    groups = load_groups(context.inputs["rank"] / PAIRS)
    train(
        _base(context.config, settings),
        groups,
        settings,
        context.work,
        context.partial,
        context.inputs.get("adapter"),
        context.report,
    )


def _base(config: RunConfig, settings: TrainSettings) -> LanguageModel:
    """The base in a number format that can be trained on, where training begins."""
    name, device, dtype = config.model.name, config.model.device, config.model.dtype
    if settings.dtype == "float32":
        dtype = "float32"
    elif dtype == "float16":  # gradients would vanish in it
        dtype = "auto"
    # Of several processes on GPUs each has its own as the current one.
    return load_model(name, device, dtype, engine="transformers")


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
        learning_rate=section.learning_rate * section.round_decay ** (number - 1),
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
