"""LoRA adapters: made, loaded to go on with, saved so that anyone can load them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from pipeline.adapters import CONFIG, WEIGHTS
from pipeline.files import write_bytes, write_text
from pipeline.models import DEFAULT_MODEL, PUBLIC_NAME, LanguageModel
from pipeline.training.settings import TrainSettings
from verifier.errors import InputError


def with_adapter(network: Any, settings: TrainSettings, adapter: Path | None) -> Any:
    """The network with a trainable adapter: a new one, or the one in a folder.

    A new adapter follows from the seed and changes nothing until it is trained.

    Raises:
        InputError: The adapter does not fit the network or the settings.
    """
    if any(network.get_output_embeddings() is _named(network, t) for t in settings.lora_targets):
        raise InputError(
            "the output layer (lm_head) cannot be adapted",
            remedy="remove it from train.lora.targets",
        )
    if adapter is None:
        return _new(network, settings)
    return _loaded(network, settings, adapter)


def _named(network: Any, target: str) -> Any:
    """The module of this name at the top of the network, if there is one."""
    return dict(network.named_children()).get(target, target)


def _new(network: Any, settings: TrainSettings) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(settings.seed)
    try:
        return get_peft_model(network, config)
    except ValueError:
        raise InputError(
            f"the model has no linear maps called {', '.join(settings.lora_targets)}",
            remedy="name some of its own in train.lora.targets",
        ) from None


def _loaded(network: Any, settings: TrainSettings, folder: Path) -> Any:
    from peft import PeftConfig, PeftModel

    unfit = InputError(
        "this adapter does not fit the model",
        file=folder,
        remedy="use an adapter that was trained on the same model",
    )
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError):
        raise InputError(
            "not a LoRA adapter", file=folder, remedy=f"name a folder that holds {CONFIG}"
        ) from None
    wanted = (settings.lora_rank, settings.lora_alpha, sorted(settings.lora_targets))
    held = (
        getattr(config, "r", None),
        getattr(config, "lora_alpha", None),
        sorted(getattr(config, "target_modules", None) or ()),
    )
    if held != wanted:
        raise InputError(
            f"has rank {held[0]}, alpha {held[1]} and targets {', '.join(held[2])}, "
            "other than train.lora",
            file=folder,
            remedy="start from an adapter of the same shape, or change train.lora",
        )
    config.lora_dropout = settings.lora_dropout
    config.base_model_name_or_path = None  # peft would ask the hub for it at every checkpoint
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(
                network, str(folder), is_trainable=True, config=config
            )
    except (OSError, RuntimeError, ValueError, KeyError):
        raise unfit from None
    if any("missing adapter keys" in str(w.message) for w in caught):
        raise unfit
    return model


def save_adapter(
    model: Any, folder: Path, base: LanguageModel, state: dict[str, Any] | None = None
) -> None:
    """Write weights and configuration in peft's format; equal weights give equal bytes.

    Args:
        model: A peft model.
        folder: Made if missing.
        base: What the adapter is for.
        state: The model's parameters, where they have been gathered from several processes.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    tensors = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / WEIGHTS, save(held, metadata={"format": "pt"}))
    config = model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = portable_name(base)
    config["inference_mode"] = True
    content = {key: _plain(value) for key, value in config.items()}
    write_text(folder / CONFIG, json.dumps(content, indent=2, sort_keys=True) + "\n")


def portable_name(model: LanguageModel) -> str:
    """What others call the model: never a path of this machine."""
    if model.identifier == DEFAULT_MODEL:
        return PUBLIC_NAME
    path = Path(model.identifier)
    return path.resolve().name if path.is_dir() else model.identifier


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value.value if hasattr(value, "value") else value
