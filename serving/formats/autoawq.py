"""Checkpoints in AutoAWQ's GEMM layout, which vLLM, SGLang and transformers read.

A layer's matrix [N, K] is stored transposed: ``qweight`` int32 [K, N/8] holds eight codes of 4 bits
in each number, of the columns 0, 2, 4, 6, 1, 3, 5, 7 from the lowest bits up; ``qzeros`` int32
[K/group, N/8] likewise; ``scales`` float16 [K/group, N]; w = (code - zero) * scale. Embedding and
head are not quantized. Layout as in AutoAWQ 0.2.9, ``awq/modules/linear/gemm.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kernels.weights import QuantizedWeight, pack_nibbles, unpack_nibbles
from serving.architecture import EMBEDDING, HEAD, read_architecture
from serving.checkpoint import QuantizedModel, Weight, describe
from serving.errors import ServingError
from serving.folders import copy_companions, new_folder, read_json, read_tensors, write_json
from serving.formats.shared import dense_half, save_tensors, take_dense, tidy_zeros

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""The column, of each eight, whose code stands in bits 4i to 4i+3."""


def pack_order(codes: torch.Tensor) -> torch.Tensor:
    """Codes 0 to 15, uint8 [rows, columns], columns a multiple of 8, as int32 [rows, columns/8]."""
    rows, columns = codes.shape
    eights = codes.reshape(rows, columns // 8, 8)[..., list(ORDER)].long()
    words = (eights << (4 * torch.arange(8))).sum(dim=-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def unpack_order(words: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack_order`: uint8 [rows, 8 x columns]."""
    nibbles = (words.long()[..., None] >> (4 * torch.arange(8))) & 15
    codes = torch.empty_like(nibbles, dtype=torch.uint8)
    codes[..., list(ORDER)] = nibbles.to(torch.uint8)
    return codes.reshape(words.shape[0], -1)


def to_awq(weight: QuantizedWeight) -> dict[str, torch.Tensor]:
    """A layer's ``qweight``, ``qzeros`` and ``scales``; exact.

    Raises:
        ServingError: Not 4 bits with or without integer zero points, or N is no multiple of 8.
    """
    if weight.bits != 4 or (weight.zeros is not None and weight.zeros.is_floating_point()):
        raise ServingError(
            "AutoAWQ holds 4-bit weights with integer zero points only",
            remedy="export to gguf, or quantize to such a grid",
        )
    if weight.shape[0] % 8:
        raise ServingError(
            f"AutoAWQ packs rows by eights, which {weight.shape[0]} is no multiple of",
            remedy="export to gguf or compressed-tensors",
        )
    zeros = weight.zeros if weight.zeros is not None else torch.full_like(weight.scales, 8)
    return {
        "qweight": pack_order(unpack_nibbles(weight.codes).T),
        "qzeros": pack_order(zeros.to(torch.uint8).T),
        "scales": weight.scales.T.contiguous(),
    }


def from_awq(parts: Mapping[str, torch.Tensor], group: int) -> QuantizedWeight:
    """The inverse of `to_awq`; zero points that are all 8 become a symmetric weight.

    Raises:
        ValueError: Shapes do not belong together.
    """
    codes, zeros = unpack_order(parts["qweight"]).T, unpack_order(parts["qzeros"]).T
    scales = parts["scales"].T
    if codes.shape[1] != scales.shape[1] * group or zeros.shape != scales.shape:
        raise ValueError(f"qweight, qzeros and scales do not fit groups of {group}")
    return QuantizedWeight(
        codes=pack_nibbles(codes.contiguous()),
        scales=scales.to(torch.float16).contiguous(),
        zeros=tidy_zeros(zeros.contiguous()),
        bits=4,
        group=group,
    )


def read_autoawq(folder: Path) -> QuantizedModel:
    """Import a checkpoint.

    Raises:
        ServingError: Not this layout, another version of it, damaged or incomplete.
    """
    config = read_json(folder / "config.json")
    settings: dict[str, Any] = config.pop("quantization_config", None) or {}
    _check_settings(folder, settings)
    architecture = read_architecture(config)
    held = read_tensors(folder)
    tensors: dict[str, Weight] = {}
    for layer in architecture.linear_shapes():
        if f"{layer}.qweight" not in held:
            continue
        parts = {end: held.pop(f"{layer}.{end}", None) for end in ("qweight", "qzeros", "scales")}
        try:
            whole = {end: part for end, part in parts.items() if part is not None}
            columns = whole["qweight"].shape[0]
            size = int(settings.get("group_size", 128))
            tensors[layer] = from_awq(whole, columns if size == -1 else size)
        except (KeyError, ValueError, TypeError) as error:
            raise ServingError(
                f"{folder}: layer {layer} is incomplete or of a wrong shape: {error}",
                remedy="get the checkpoint again",
            ) from None
    take_dense(held, tensors, architecture)
    header = describe("autoawq", tensors, base=str(config.get("_name_or_path") or ""))
    return QuantizedModel(config, tensors, header, folder)


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    version = str(settings.get("version") or settings.get("format") or "gemm").lower()
    bits = settings.get("bits", settings.get("w_bit", 4))
    if settings.get("quant_method") != "awq" or version != "gemm" or bits != 4:
        raise ServingError(
            f"{folder} is not an AutoAWQ checkpoint of 4 bits in the GEMM layout",
            remedy="other layouts of AWQ cannot be read",
        )


def write_autoawq(model: QuantizedModel, folder: Path, *, overwrite: bool = False) -> None:
    """Export a model; its layers exactly, embedding and head rounded to float16.

    Raises:
        ServingError: A layer that AutoAWQ cannot hold, groups that differ, or something in the way.
    """
    tensors: dict[str, torch.Tensor] = {}
    groups, dense = set(), []
    for name, weight in model.tensors.items():
        if name in (EMBEDDING, HEAD) or isinstance(weight, torch.Tensor):
            full = name if isinstance(weight, torch.Tensor) else f"{name}.weight"
            tensors[full] = dense_half(weight)
            if name.endswith("_proj.weight"):
                dense.append(name.removesuffix(".weight"))
            continue
        if not isinstance(weight, QuantizedWeight):
            raise ServingError(
                "AutoAWQ cannot hold Atom's mixed precision", remedy="quantize with another method"
            )
        groups.add(weight.group)
        tensors.update({f"{name}.{end}": part for end, part in to_awq(weight).items()})
    if len(groups) != 1:
        raise ServingError(
            f"AutoAWQ needs one group size in all layers, not {sorted(groups) or 'none'}",
            remedy="export to compressed-tensors",
        )
    settings = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": groups.pop(),
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": dense or None,
    }
    with new_folder(folder, overwrite) as beside:
        if model.folder is not None:
            copy_companions(model.folder, beside)
        config = {**model.config, "dtype": "float16", "quantization_config": settings}
        write_json(beside / "config.json", config)
        save_tensors(tensors, beside / "model.safetensors")
