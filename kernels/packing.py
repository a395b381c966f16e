"""Weights in the layout that the kernels of one kind of device read: packed once, at load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch

from kernels.weights import AtomWeight, QuantizedWeight


@dataclass(frozen=True)
class PackedWeight:
    """A weight [n, k] as one block of bytes in a device's own layout.

    Attributes:
        blob: uint8; what it holds is known to the kernels of its device only.
        n: Outputs.
        k: Inputs.
        group: Columns that share a scale; k for unquantized weights.
        bits: 4 or 8; 16 (bfloat16) or 32 (float32) for unquantized weights.
        zero_kind: `kernels.weights.SYMMETRIC`, `ZERO_POINTS` or `OFFSETS`.
    """

    blob: torch.Tensor
    n: int
    k: int
    group: int
    bits: int
    zero_kind: int

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.blob.device


@dataclass(frozen=True)
class PackedAtomWeight:
    """A mixed-precision weight: see `kernels.weights.AtomWeight`."""

    low: PackedWeight
    high: PackedWeight
    order: torch.Tensor

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.low.device


@overload
def pack(weight: QuantizedWeight, device: str | torch.device = ...) -> PackedWeight: ...
@overload
def pack(weight: AtomWeight, device: str | torch.device = ...) -> PackedAtomWeight: ...
def pack(
    weight: QuantizedWeight | AtomWeight, device: str | torch.device = "cpu"
) -> PackedWeight | PackedAtomWeight:
    """The weight in the layout of the kernels of ``device``.

    Raises:
        ValueError: There are no kernels for the device, or they have no layout for the weight.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        from kernels.cpu import linear

        return linear.pack_atom(weight) if isinstance(weight, AtomWeight) else linear.pack(weight)
    if kind == "cuda":
        from kernels.triton import linear as gpu

        if isinstance(weight, AtomWeight):
            return gpu.pack_atom(weight, device)
        return gpu.pack(weight, device)
    raise ValueError(f"there are no kernels for the device {device}: use cpu or cuda")
