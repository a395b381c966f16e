"""Checkpoints in the ``pack-quantized`` format of compressed-tensors, which vLLM reads.

Of a layer's matrix [N, K] ``weight_packed`` int32 [N, ceil(K * bits / 32)] holds consecutive codes
from the lowest bits up, each moved into the range from 0; ``weight_scale`` [N, K/group];
``weight_zero_point``, if asymmetric, int32 [ceil(N * bits / 32), K/group], packed along N in the
same way; ``weight_shape`` int64 [2]. w = (code - zero point) * scale. Which layer has how many bits
stands in ``config_groups``. Layout as in compressed-tensors 0.20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from kernels.weights import QuantizedWeight, pack_nibbles, unpack_nibbles
from serving.architecture import EMBEDDING, HEAD, read_architecture
from serving.checkpoint import QuantizedModel, Weight, describe
from serving.errors import ServingError
from serving.folders import copy_companions, new_folder, read_json, read_tensors, write_json
from serving.formats.shared import (
    dense_half,
    save_tensors,
    take_dense,
    tidy_zeros,
    with_usual_group,
)

_PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx")


def pack_words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes from 0, uint8 [rows, columns], as int32 [rows, ceil(columns * bits / 32)].

    ``bits`` is 4 or 8, so that no code lies across two words.
    """
    rows, columns = codes.shape
    if bits == 4:
        codes = torch.nn.functional.pad(codes, (0, columns % 2))
        codes = codes[:, 0::2] | (codes[:, 1::2] << 4)
    codes = torch.nn.functional.pad(codes, (0, -codes.shape[1] % 4))
    return codes.flatten().view(torch.int32).reshape(rows, -1)


def unpack_words(words: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    """The inverse of `pack_words`."""
    bytes_ = words.flatten().view(torch.uint8).reshape(words.shape[0], -1)
    if bits == 4:
        bytes_ = torch.stack((bytes_ & 15, bytes_ >> 4), dim=-1).flatten(1)
    return bytes_[:, :columns]


def to_packed(weight: QuantizedWeight, zero_points: bool | None = None) -> dict[str, torch.Tensor]:
    """A layer's tensors; exact.

    Args:
        weight: Of 4 or 8 bits.
        zero_points: Whether to write some though all are 8; None: if the weight has any.

    Raises:
        ServingError: The weight has offsets instead of integer zero points.
    """
    if weight.zeros is not None and weight.zeros.is_floating_point():
        raise ServingError(
            "compressed-tensors holds integer zero points, not offsets", remedy="export to gguf"
        )
    if weight.bits == 4:
        codes = unpack_nibbles(weight.codes)
    else:
        codes = (weight.codes.to(torch.int16) + 128).to(torch.uint8)
    parts = {
        "weight_packed": pack_words(codes, weight.bits),
        "weight_scale": weight.scales,
        "weight_shape": torch.tensor(weight.shape, dtype=torch.int64),
    }
    zeros = weight.zeros
    if zeros is None and zero_points:
        zeros = torch.full_like(weight.scales, 8).to(torch.uint8)
    if zeros is not None:
        parts["weight_zero_point"] = pack_words(zeros.T.contiguous(), 4).T.contiguous()
    return parts


def from_packed(parts: Mapping[str, torch.Tensor], bits: int, symmetric: bool) -> Weight:
    """The inverse of `to_packed`, for 4 and 8 bits.

    Channel-wise scales are repeated for groups. 8-bit weights that have zero points or the code
    -128 become dense float16, since ours have neither.

    Raises:
        KeyError, ValueError: Something is missing or shapes do not belong together.
    """
    rows, columns = (int(size) for size in parts["weight_shape"].flatten().tolist())
    packed, scales = parts["weight_packed"], parts["weight_scale"]
    if scales.dim() != 2 or scales.shape[0] != rows or columns % scales.shape[1]:
        raise ValueError(f"scales of shape {list(scales.shape)}")
    codes = unpack_words(packed, bits, columns)
    if packed.shape[0] != rows or codes.shape[1] != columns:
        raise ValueError(f"weight_packed of shape {list(packed.shape)}")
    group = columns // scales.shape[1]
    zeros = None if symmetric else _zeros(parts["weight_zero_point"], bits, scales)
    if bits == 8:
        signed = (codes.to(torch.int16) - 128).to(torch.int8)
        if zeros is not None or bool((signed == -128).any()):
            start = zeros.float() if zeros is not None else torch.tensor(128.0)
            steps = codes.float().unflatten(1, (-1, group)) - start.reshape(*start.shape, 1)
            return dense_half((steps * scales.float()[..., None]).flatten(1))
        found = QuantizedWeight(signed, _half(scales), None, bits=8, group=group)
    else:
        found = QuantizedWeight(
            codes=pack_nibbles(codes.contiguous()),
            scales=_half(scales),
            zeros=tidy_zeros(zeros) if zeros is not None else None,
            bits=4,
            group=group,
        )
    return with_usual_group(found)


def _zeros(stored: torch.Tensor, bits: int, scales: torch.Tensor) -> torch.Tensor:
    """Zero points from 0, uint8 [N, K/group]; old files have them as int8, unpacked."""
    if stored.dtype == torch.int8 and stored.shape == scales.shape:
        return (stored.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8)
    zeros = unpack_words(stored.T, bits, scales.shape[0]).T.contiguous()
    if zeros.shape != scales.shape:
        raise ValueError(f"zero points of shape {list(stored.shape)}")
    return zeros


def _half(scales: torch.Tensor) -> torch.Tensor:
    """Scales in float16; bfloat16 ones of the usual size fit exactly.

    Raises:
        ValueError: Too large.
    """
    half = scales.to(torch.float16).contiguous()
    if not bool(torch.isfinite(half).all()):
        raise ValueError("scales beyond the range of float16")
    return half


def read_compressed_tensors(folder: Path) -> QuantizedModel:
    """Import a checkpoint.

    Raises:
        ServingError: Another format of compressed-tensors, weights that are not integers of 4 or
            8 bits, columns out of order (``weight_g_idx``), damaged or incomplete.
    """
    config = read_json(folder / "config.json")
    settings: dict[str, Any] = config.pop("quantization_config", None) or {}
    if settings.get("quant_method") != "compressed-tensors":
        raise ServingError(
            f"{folder} is not a compressed-tensors checkpoint", remedy="name another folder"
        )
    architecture = read_architecture(config)
    held = read_tensors(folder)
    tensors: dict[str, Weight] = {}
    for layer in (*architecture.linear_shapes(), HEAD, EMBEDDING):
        if f"{layer}.weight_packed" not in held:
            continue
        parts = {end: held.pop(f"{layer}.{end}") for end in _PARTS if f"{layer}.{end}" in held}
        scheme = _scheme(folder, settings, layer)
        if "weight_g_idx" in parts:
            raise ServingError(
                f"{folder}: layer {layer} has its columns out of order (weight_g_idx)",
                remedy="quantize without activation ordering by group",
            )
        try:
            weight = from_packed(parts, *scheme)
        except (KeyError, ValueError, TypeError) as error:
            raise ServingError(
                f"{folder}: layer {layer} is incomplete or of a wrong shape: {error}",
                remedy="get the checkpoint again",
            ) from None
        tensors[layer if isinstance(weight, QuantizedWeight) else f"{layer}.weight"] = weight
    take_dense(held, tensors, architecture)
    header = describe("compressed-tensors", tensors, base=str(config.get("_name_or_path") or ""))
    return QuantizedModel(config, tensors, header, folder)


def _scheme(folder: Path, settings: Mapping[str, Any], layer: str) -> tuple[int, bool]:
    """Bits of a layer's weights and whether they are symmetric."""
    groups = settings.get("config_groups") or {}
    kind = "Embedding" if layer == EMBEDDING else "Linear"
    matching = [g for g in groups.values() if isinstance(g, dict) and _targets(g, layer, kind)]
    # A layer's own name counts for more than that of its class.
    matching.sort(key=lambda g: kind in g["targets"])
    weights = (matching[0].get("weights") if matching else None) or {}
    bits = weights.get("num_bits")
    if bits not in (4, 8) or weights.get("type", "int") != "int":
        raise ServingError(
            f"{folder}: the weights of {layer} are not integers of 4 or 8 bits",
            remedy="other kinds of compressed-tensors cannot be read",
        )
    return bits, bool(weights.get("symmetric", True))


def _targets(group: Mapping[str, Any], layer: str, kind: str) -> bool:
    for target in group.get("targets") or ():
        if target in (kind, layer):
            return True
        if target.startswith("re:") and re.match(target.removeprefix("re:"), layer):
            return True
    return False


def write_compressed_tensors(
    model: QuantizedModel, folder: Path, *, overwrite: bool = False
) -> None:
    """Export a model; its layers exactly, embedding and head rounded to float16.

    Raises:
        ServingError: A layer that the format cannot hold, or something in the way.
    """
    tensors: dict[str, torch.Tensor] = {}
    schemes: dict[tuple[int, int, bool], list[str]] = {}
    ignored = [HEAD]
    # Where some layers of a kind have zero points all get them: readers like few kinds.
    shifted = {
        (weight.bits, weight.group)
        for weight in model.tensors.values()
        if isinstance(weight, QuantizedWeight) and weight.zeros is not None
    }
    for name, weight in model.tensors.items():
        if name in (EMBEDDING, HEAD) or isinstance(weight, torch.Tensor):
            full = name if isinstance(weight, torch.Tensor) else f"{name}.weight"
            tensors[full] = dense_half(weight)
            if name.endswith("_proj.weight"):
                ignored.append(name.removesuffix(".weight"))
            continue
        if not isinstance(weight, QuantizedWeight):
            raise ServingError(
                "compressed-tensors cannot hold Atom's mixed precision",
                remedy="quantize with another method",
            )
        symmetric = (weight.bits, weight.group) not in shifted
        schemes.setdefault((weight.bits, weight.group, symmetric), []).append(name)
        parts = to_packed(weight, zero_points=not symmetric)
        tensors.update({f"{name}.{end}": part for end, part in parts.items()})
    if not schemes:
        raise ServingError("nothing in the model is quantized", remedy="quantize it first")
    settings = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "ignore": ignored,
        "config_groups": dict(_config_groups(schemes)),
    }
    with new_folder(folder, overwrite) as beside:
        if model.folder is not None:
            copy_companions(model.folder, beside)
        config = {**model.config, "dtype": "float16", "quantization_config": settings}
        write_json(beside / "config.json", config)
        save_tensors(tensors, beside / "model.safetensors")


def _config_groups(
    schemes: Mapping[tuple[int, int, bool], list[str]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """One group if all layers are alike; else each names its layers."""
    for number, ((bits, group, symmetric), layers) in enumerate(schemes.items()):
        names = [f"re:^{re.escape(layer)}$" for layer in layers]
        yield (
            f"group_{number}",
            {
                "targets": ["Linear"] if len(schemes) == 1 else names,
                "weights": {
                    "num_bits": bits,
                    "type": "int",
                    "symmetric": symmetric,
                    "strategy": "group",
                    "group_size": group,
                    "dynamic": False,
                },
                "input_activations": None,
                "output_activations": None,
            },
        )
