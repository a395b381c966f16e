"""One round of training, from preference pairs to an adapter, its curves and a summary."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.adapters import adapter_hash
from pipeline.files import write_rows, write_text
from pipeline.models import LanguageModel
from pipeline.training import curves
from pipeline.training.adapters import save_adapter, with_adapter
from pipeline.training.checkpoints import latest_complete, remove_others
from pipeline.training.pairs import PromptGroup, TokenGroup, tokenized
from pipeline.training.plan import Step, plan_steps
from pipeline.training.prefixes import tree_size
from pipeline.training.settings import TrainSettings
from verifier.errors import InputError

ADAPTER, CURVES, SUMMARY = "adapter", "curves.jsonl", "summary.json"


def train(
    model: LanguageModel,
    groups: Sequence[PromptGroup],
    settings: TrainSettings,
    work: Path,
    partial: Path,
    adapter: Path | None = None,
    report: Any = lambda _what, _done, _total: None,
) -> dict[str, Any]:
    """Train an adapter; write it, its curves and a summary; the summary.

    A training that was killed goes on from its last checkpoint, if it is called again with the
    same arguments: the results are the same, byte for byte, as if it had not been (on a CPU
    with the same number of threads).

    Args:
        model: The base; its network is changed and should not be used for anything else.
        groups: What to learn from.
        settings: How.
        work: Folder for `ADAPTER`, `CURVES` and `SUMMARY`.
        partial: Folder for the state of an interrupted training of the same kind, else empty.
        adapter: Folder of the adapter to go on from; None for a new one.
        report: Called with what is being done, how much of it is done, and how much there is.

    Raises:
        InputError: There are no pairs; the adapter does not fit the model or the settings; a
            prompt is too long for the model; the loss is no longer a number.
    """
    if not groups:
        raise InputError(
            "there are no preference pairs to learn from", remedy="sample more answers per task"
        )
    with without_remarks():
        from pipeline.training.forward import add_row_forward
        from pipeline.training.trainer import CHECKPOINTS, PreferenceTrainer, arguments

        tokens = [tokenized(model.tokenizer, group) for group in groups]
        network = model.model
        _check_lengths(tokens, network.config)
        add_row_forward(network)
        network = with_adapter(network, settings, adapter)
        trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        mixed = computes_in_bfloat16(settings, model)
        checkpoints = partial / CHECKPOINTS
        # Several processes are known only once these exist.
        args = arguments(settings, 1, checkpoints, on_cpu=model.device == "cpu", mixed=mixed)
        steps = plan_steps(tokens, settings, args.world_size)
        args.warmup_steps = int(settings.warmup * len(steps))
        trainer = PreferenceTrainer(
            network, model.tokenizer, args, tokens, steps, settings, partial, report
        )
        latest = latest_complete(checkpoints)
        if args.process_index == 0:
            remove_others(checkpoints, latest)
        trainer.continue_from(latest)
        state = (
            trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
        )
        summary: dict[str, Any] = {
            "method": settings.method,
            "pairs": sum(pair.weight for group in groups for pair in group.pairs),
            "prompts": len(groups),
            "steps": len(steps),
            "trainable_parameters": trainable,
            **_token_counts(tokens, steps),
            "dtype": "bfloat16" if mixed else "float32",
            "settings": asdict(settings),
            "seed": settings.seed,
            "final": curves.final(trainer.rows),
        }
        if args.process_index == 0:
            save_adapter(
                trainer.accelerator.unwrap_model(trainer.model), work / ADAPTER, model, state
            )
            summary["adapter"] = adapter_hash(work / ADAPTER)
            write_rows(work / CURVES, trainer.rows)
            write_text(work / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def computes_in_bfloat16(settings: TrainSettings, model: LanguageModel) -> bool:
    """Whether matrices are multiplied in bfloat16: as asked, by default where it is faster.

    Weights, sums of layers and everything from the logits on stay in float32. On a CPU that
    multiplies in bfloat16 (AVX512-BF16 or AMX) an update takes two thirds of the time. Rounding
    moves the log-probability of an answer by tenths, policy and reference alike.
    """
    if settings.dtype != "auto":
        return settings.dtype == "bfloat16"
    import torch

    if model.device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return fast or model.dtype == "bfloat16"


def _check_lengths(groups: Sequence[TokenGroup], config: Any) -> None:
    limit = getattr(config, "max_position_embeddings", None)
    longest = max(len(g.prompt) + max(map(len, g.completions)) for g in groups)
    if limit is not None and longest > limit:
        raise InputError(
            f"a prompt with its answer has {longest} tokens, the model can read {limit}",
            remedy="lower generate.max_new_tokens or use a shorter prompt template",
        )


def _token_counts(groups: Sequence[TokenGroup], steps: Sequence[Step]) -> dict[str, int]:
    """Tokens that all updates read, and how many it would be without shared beginnings."""
    shared = apart = 0
    for part in (part for step in steps for parts in step.parts for part in parts):
        used = [
            (groups[g].prompt, groups[g].completions[c])
            for item in part.items
            for g, c in item.completions
        ]
        shared += tree_size(used)
        apart += sum(len(prompt) + len(completion) for prompt, completion in used)
    return {"tokens": shared, "tokens_without_sharing": apart}


@contextmanager
def without_remarks() -> Iterator[None]:
    """Without the libraries' remarks: what matters is raised, and progress is ours to show."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
