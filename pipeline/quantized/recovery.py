"""A short training on the quantized weights, to win back what quantization has cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.models import load_model
from pipeline.training.pairs import load_groups
from pipeline.training.settings import TrainSettings
from pipeline.training.train import ADAPTER, SUMMARY, train


def recover(
    checkpoint: Path,
    pairs: Path,
    settings: TrainSettings,
    folder: Path,
    partial: Path,
    start: Path | None,
    base: str,
    report: Callable[[str, int, int], None],
) -> tuple[Path, dict[str, Any]]:
    """Train an adapter on a quantized model; its folder and the training's summary.

    What an interrupted attempt has trained is not trained again.

    Args:
        checkpoint: Folder of the quantized model.
        pairs: Preference pairs to learn from.
        settings: How.
        folder: For the results.
        partial: For the state of an interrupted training.
        start: The adapter to go on from; None for a new one.
        base: What the adapter says that it was trained on.
        report: Progress.

    Raises:
        InputError: There are no pairs, the adapter does not fit, or the loss is no longer finite.
    """
    summary = folder / SUMMARY
    if summary.is_file():
        return folder / ADAPTER, json.loads(summary.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(checkpoint, "cpu", "float32", engine="transformers")
    found = train(
        dataclasses.replace(model, identifier=base),
        load_groups(pairs),
        settings,
        folder,
        partial,
        start,
        report,
    )
    return folder / ADAPTER, found


def recovery_settings(config: RunConfig, number: int) -> TrainSettings:
    """As round ``number`` was trained, but with few updates at a rate of their own."""
    from pipeline.stages.train import train_settings

    return dataclasses.replace(
        train_settings(config, number),
        learning_rate=config.quantize.recover_rate,
        max_steps=config.quantize.recover_steps,
        seed=config.seed * 1000 + 900 + number,
    )
