"""LoRA adapters on disk (peft's format): whether one fits a base, seen from the files' headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from verifier.errors import InputError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_LAYERS = (".lora_A.weight", ".lora_B.weight")
_PACKED = "U8"
"""Number format of codes that stand two to a byte (see `serving.checkpoint`)."""


def check_adapter(adapter: Path, base: Path) -> None:
    """Compare an adapter with the weights it is to be added to; nothing is loaded.

    A base whose weights are not in safetensors is not compared.

    Args:
        adapter: Folder of the adapter.
        base: Folder of the base model.

    Raises:
        InputError: No adapter there, not of the LoRA kind, damaged, or made for another base.
    """
    kind = _config(adapter).get("peft_type")
    if kind != "LORA":
        raise InputError(
            f"is an adapter of the kind {kind!r}", file=adapter, remedy="only LORA can be used"
        )
    layers = tensor_shapes(adapter / WEIGHTS)
    weights: dict[str, tuple[int, ...]] = {}
    for file in sorted(base.glob("*.safetensors")):
        weights |= _layer_shapes(file)
    if not weights:
        return
    for name, shape in layers.items():
        for end, side in zip(_LAYERS, (-1, 0), strict=True):
            if not name.endswith(end):
                continue
            layer = name.removeprefix("base_model.model.").removesuffix(end)
            weight = _weight_of(layer, weights)
            if weight is None:
                raise _misfit(adapter, f"which has no layer {layer}")
            # Some architectures store their matrices transposed, so that either width may match.
            if shape[side] not in weight:
                raise _misfit(
                    adapter,
                    f"whose layer {layer} is of shape {list(weight)}: "
                    f"width {shape[side]} does not fit",
                )


def adapter_hash(adapter: Path) -> str:
    """``sha256:...`` of an adapter's files."""
    from pipeline.models import folder_hash

    return f"sha256:{folder_hash(adapter)}"


def _layer_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers' matrices by the layers' names; quantized ones as they were before."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (kind, shape) in _tensors(file).items():
        layer, _, part = name.rpartition(".")
        if part != "codes" or len(shape) != 2:
            shapes[name.removesuffix(".weight")] = shape
            continue
        rows, columns = shape
        columns *= 2 if kind == _PACKED else 1
        layer = layer.removesuffix(".low").removesuffix(".high")
        before = shapes.get(layer, (rows, 0))
        shapes[layer] = (rows, before[1] + columns)
    return shapes


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its header alone.

    Raises:
        InputError: The file is missing or damaged.
    """
    return {name: shape for name, (_, shape) in _tensors(file).items()}


def _tensors(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> number format, as the file calls it, and shape."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(stream.read(length))
        return {
            name: (str(tensor["dtype"]), tuple(tensor["shape"]))
            for name, tensor in header.items()
            if name != "__metadata__"
        }
    except FileNotFoundError:
        raise InputError("no such file", file=file, remedy="name a complete folder") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise InputError(
            f"is damaged: {error}", file=file, remedy="get it again from where it came from"
        ) from None


def _config(adapter: Path) -> dict[str, Any]:
    file = adapter / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "not a LoRA adapter",
            file=adapter,
            remedy=f"name a folder that holds {CONFIG}",
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", file=file, remedy="get it again") from None
    if not isinstance(config, dict):
        raise InputError("must be a JSON object", file=file, remedy="get it again")
    return config


def _misfit(adapter: Path, why: str) -> InputError:
    return InputError(
        f"does not fit the base, {why}",
        file=adapter,
        remedy="name the model that the adapter was trained on",
    )


def _weight_of(layer: str, weights: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The weight that a layer changes; a file of weights may leave out leading names."""
    while layer not in weights:
        _, dot, layer = layer.partition(".")
        if not dot:
            return None
    return weights[layer]
