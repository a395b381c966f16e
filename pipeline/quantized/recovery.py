"""A short training on the quantized weights, to win back what quantization has cost.

The adapter learns to predict what the champion predicts along answers that the champion gives to
the tasks of its own round: nothing is judged, and nothing of the validation and test tasks is seen.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import adapter_hash
from pipeline.chunks import sample_in_chunks
from pipeline.config import RunConfig
from pipeline.files import write_text
from pipeline.generation import Sampling
from pipeline.likelihood import Said, tokens_of
from pipeline.models import load_model
from pipeline.prompts import Prompt
from pipeline.training.settings import TrainSettings

if TYPE_CHECKING:
    from pipeline.models import LanguageModel

ADAPTER, SUMMARY = "adapter", "summary.json"

_TEMPERATURE = 1.0
"""So that the divergence along the answers is that of whole answers."""

Report = Callable[[str, int, int], None]


def champions_answers(
    champion: LanguageModel,
    prompts: Sequence[Prompt],
    samples: int,
    max_new_tokens: int,
    seed: int,
    folder: Path,
    report: Report,
) -> list[Said]:
    """Answers to learn from, ``samples`` per prompt; those that are in the folder are kept."""
    done, total = 0, samples * len(prompts)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report("answers to recover with", done, total)

    sampling = Sampling(_TEMPERATURE, 1.0, max_new_tokens, seed)
    answers = sample_in_chunks(champion, prompts, samples, sampling, folder, on_answers=advance)
    asked = {prompt.hash: prompt for prompt in prompts}
    return [
        Said(asked[answer.prompt], answer.text, answer.finish == "stop")
        for answer in answers
        if answer.text
    ]


def recover(
    checkpoint: Path,
    champion: LanguageModel,
    said: Sequence[Said],
    settings: TrainSettings,
    folder: Path,
    start: Path | None,
    base: str,
    report: Report,
) -> tuple[Path, dict[str, Any]]:
    """Train an adapter on a quantized model; its folder and the training's summary.

    The adapter is rounded to float16, as it is served. What an interrupted attempt has trained is
    not trained again.

    Args:
        checkpoint: Folder of the quantized model.
        champion: What it was made from, with weights to compute with; adapter included.
        said: Answers of the champion, at least one.
        settings: Of the adapter, the rate and how many updates: ``max_steps``.
        folder: For the results and the state of an interrupted training.
        start: The adapter to go on from; None for a new one.
        base: What the adapter says that it was trained on.
        report: Progress.

    Raises:
        InputError: The adapter does not fit, or the loss is no longer finite.
    """
    from pipeline.quantized.distillation import distill
    from pipeline.training.adapters import save_adapter, with_adapter
    from pipeline.training.train import computes_in_bfloat16, without_remarks

    summary = folder / SUMMARY
    if summary.is_file():
        return folder / ADAPTER, json.loads(summary.read_text(encoding="utf-8"))
    model = load_model(checkpoint, "cpu", "float32", engine="transformers")
    texts = [tokens_of(champion, one) for one in said]
    steps = settings.max_steps or 1
    with without_remarks():
        network = with_adapter(model.model, settings, start)
        curve = distill(
            network,
            champion.model,
            texts,
            settings,
            steps,
            folder / "partial",
            report,
            mixed=computes_in_bfloat16(settings, model),
        )
    held = network.state_dict()
    kept = {name: held[name].half() for name in held if "lora_" in name}
    save_adapter(network, folder / ADAPTER, dataclasses.replace(model, identifier=base), kept)
    found = {
        "steps": steps,
        "texts": len(texts),
        "tokens": sum(len(answer) for _, answer in texts),
        "divergence": curve,
        "settings": asdict(settings),
        "adapter": adapter_hash(folder / ADAPTER),
    }
    write_text(summary, json.dumps(found, indent=1) + "\n")
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
