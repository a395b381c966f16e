"""Weights in the layout that the kernels of one kind of device read: packed once, at load."""

from __future__ import annotations

from dataclasses import dataclass

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


def pack(weight: QuantizedWeight, device: str | torch.device = "cpu") -> PackedWeight:
    """The weight in the layout of the kernels of ``device``."""
    if torch.device(device).type == "cpu":
        from kernels.cpu import linear
    else:
        from kernels.triton import linear
    return linear.pack(weight)


def pack_atom(weight: AtomWeight, device: str | torch.device = "cpu") -> PackedAtomWeight:
    """The mixed-precision weight in the layout of the kernels of ``device``."""
    if torch.device(device).type == "cpu":
        from kernels.cpu import linear
    else:
        from kernels.triton import linear
    return linear.pack_atom(weight)
