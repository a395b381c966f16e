"""What the layouts have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from kernels.weights import AtomWeight, QuantizedWeight
from serving.architecture import EMBEDDING, HEAD, Architecture
from serving.checkpoint import Weight

_IGNORED = (".rotary_emb.inv_freq", ".masked_bias")
_PREFERRED_GROUPS = (128, 64, 32)


def tidy_zeros(zeros: torch.Tensor) -> torch.Tensor | None:
    """Zero points, or None if all are 8: the weight is symmetric then."""
    return None if bool((zeros == 8).all()) else zeros


def dense_half(weight: Weight) -> torch.Tensor:
    """A matrix in float16, which is exact for what fits its 11 bits; bfloat16 if out of range."""
    if isinstance(weight, (QuantizedWeight, AtomWeight)):
        weight = weight.dequantize(torch.float32)
    half = weight.to(torch.float16)
    return half if bool(torch.isfinite(half).all()) else weight.to(torch.bfloat16)


def regrouped(weight: QuantizedWeight, group: int) -> QuantizedWeight:
    """The same weight with its scales repeated for smaller groups; exact.

    Raises:
        ValueError: ``group`` does not divide the weight's.
    """
    if weight.group % group:
        raise ValueError(f"groups of {group} do not divide groups of {weight.group}")
    times = weight.group // group
    zeros = weight.zeros
    return QuantizedWeight(
        codes=weight.codes,
        scales=weight.scales.repeat_interleave(times, dim=1),
        zeros=zeros.repeat_interleave(times, dim=1) if zeros is not None else None,
        bits=weight.bits,
        group=group,
    )


def with_usual_group(weight: QuantizedWeight) -> QuantizedWeight:
    """Groups that span whole rows cut into groups of 128, 64 or 32, which kernels are made for."""
    if weight.group in _PREFERRED_GROUPS:
        return weight
    usual = next((g for g in _PREFERRED_GROUPS if weight.group % g == 0), weight.group)
    return regrouped(weight, usual)


def take_dense(
    held: Mapping[str, torch.Tensor], tensors: dict[str, Weight], architecture: Architecture
) -> None:
    """Add what is not quantized; a head that repeats the embedding it is tied to is left out."""
    for name, tensor in held.items():
        if name.endswith(_IGNORED) or (name == f"{HEAD}.weight" and architecture.tied):
            continue
        tensors[name] = tensor
    if f"{EMBEDDING}.weight" not in tensors and f"{HEAD}.weight" in held:
        tensors[f"{EMBEDDING}.weight"] = held[f"{HEAD}.weight"]


def save_tensors(tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """A safetensors file as transformers writes it; on disk when this returns."""
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(owned, str(file), metadata={"format": "pt"})
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
