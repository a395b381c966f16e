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
def pack(weight: QuantizedWeight, device: str | torch.device = "cpu") -> PackedWeight: ...
@overload
def pack(weight: AtomWeight, device: str | torch.device = "cpu") -> PackedAtomWeight: ...
def pack(
    weight: QuantizedWeight | AtomWeight, device: str | torch.device = "cpu"
) -> PackedWeight | PackedAtomWeight:
    """The weight in the layout of the kernels of ``device``; the source may then be dropped.

    Raises:
        ValueError: There are no kernels for that device, or none for the weight's group.
        TypeError: Something else than a weight.
    """
    if isinstance(weight, AtomWeight):
        return pack_atom(weight, device)
    if not isinstance(weight, QuantizedWeight):
        raise TypeError(f"a quantized weight is packed, not {type(weight).__name__}")
    if _is_cpu(device):
        from kernels.cpu import linear

        return linear.pack(weight)
    from kernels.triton import linear as gpu

    return gpu.pack(weight, device)


def pack_atom(weight: AtomWeight, device: str | torch.device = "cpu") -> PackedAtomWeight:
    """The mixed-precision weight in the layout of the kernels of ``device``.

    Raises:
        ValueError: As `pack`.
    """
    order = weight.order.to(device=device, dtype=torch.int32).contiguous()
    return PackedAtomWeight(pack(weight.low, device), pack(weight.high, device), order)


def pack_dense(weight: torch.Tensor, device: str | torch.device = "cpu") -> PackedWeight:
    """An unquantized weight [N, K]: bfloat16 stays so, other formats become float32.

    Raises:
        ValueError: Not a matrix of floating numbers, or no kernels for that device.
    """
    if weight.dim() != 2 or not weight.is_floating_point():
        raise ValueError(
            f"a weight must be [N, K] of a float type, not {weight.dtype} {[*weight.shape]}"
        )
    if _is_cpu(device):
        from kernels.cpu import linear

        return linear.pack_dense(weight)
    n, k = weight.shape
    bits = 16 if weight.dtype == torch.bfloat16 else 32
    dtype = torch.bfloat16 if bits == 16 else torch.float32
    rows = weight.detach().to(device=device, dtype=dtype).contiguous()
    return PackedWeight(rows.view(torch.uint8).flatten(), n, k, k, bits, 0)


def _is_cpu(device: str | torch.device) -> bool:
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"there are kernels for cpu and cuda, not for {kind}")
    return kind == "cpu"
