"""Operations on rows: normalisation, rotary positions, gated activation, embedding."""

from __future__ import annotations

import torch

from kernels.reference.precision import widened
from kernels.weights import QuantizedWeight


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` by row (Zhang and Sennrich 2019, equation 4).

    Args:
        x: [..., K].
        weight: [K].
        eps: Added to the mean square.

    Returns:
        [..., K] in x's format.
    """
    wide = widened(x)
    scale = (wide.square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    return (wide * scale * weight.to(wide.dtype)).to(x.dtype)


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A residual connection and the norm after it.

    Args:
        x: [..., K], what the block before gave.
        residual: [..., K] of the same format.
        weight: [K].
        eps: As in `rms_norm`.

    Returns:
        `rms_norm` of the sum, and the sum itself, rounded to x's format first.
    """
    total = (widened(x) + widened(residual)).to(x.dtype)
    return rms_norm(total, weight, eps), total


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary positions (Su et al. 2021, equation 34): dimension i turns with i + D/2, as in Llama.

    Args:
        q: [T, Hq, D].
        k: [T, Hk, D].
        positions: int32 [T], rows of the tables.
        cos: float32 [P, D / 2].
        sin: float32 [P, D / 2].

    Returns:
        ``q`` and ``k`` turned, in their formats.
    """
    rows = positions.long()
    return _turned(q, cos[rows], sin[rows]), _turned(k, cos[rows], sin[rows])


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` (Shazeer 2020) of rows that hold the gate and then as many numbers of up.

    Args:
        gate_up: [..., 2 I].

    Returns:
        [..., I] in its format.
    """
    gate, up = widened(gate_up).chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate) * up).to(gate_up.dtype)


def embedding(ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight) -> torch.Tensor:
    """Rows of a table.

    Args:
        ids: int32 or int64 [T].
        weight: [V, K].

    Returns:
        [T, K] in the table's format; float32 if it is quantized.
    """
    rows = ids.long()
    if isinstance(weight, torch.Tensor):
        return weight[rows]
    chosen = QuantizedWeight(
        weight.codes[rows],
        weight.scales[rows],
        None if weight.zeros is None else weight.zeros[rows],
        weight.bits,
        weight.group,
    )
    return chosen.dequantize(torch.float32)


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = widened(x).chunk(2, dim=-1)
    cos, sin = (table[:, None].to(first.dtype) for table in (cos, sin))
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return turned.to(x.dtype)
