"""Normalisation, positions, gated activation and embedding, defined."""

from __future__ import annotations

import torch

from kernels.weights import QuantizedWeight


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """x / sqrt(mean(x²) + eps) * weight over the last dimension (Zhang & Sennrich 2019, eq. 4).

    Args:
        x: [..., D].
        weight: [D].
        eps: Added to the mean square.
    """
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight.to(x.dtype)


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(norm(residual + x), residual + x)."""
    total = residual + x
    return rms_norm(total, weight, eps), total


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary positions (Su et al. 2021, eq. 34), halves rotated against each other as in Llama.

    Args:
        q: [T, heads, D].
        k: [T, kv_heads, D].
        positions: int [T].
        cos: [positions, D / 2].
        sin: [positions, D / 2].
    """
    at = positions.long()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        c, s = (table[at].to(x.dtype)[:, None] for table in (cos, sin))
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * c - second * s, second * c + first * s], dim=-1)

    return rotate(q), rotate(k)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up for [M, 2 I], gate first (Shazeer 2020, SwiGLU): [M, I]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return gate * torch.sigmoid(gate) * up


def embedding(ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight) -> torch.Tensor:
    """Rows ``ids`` [T] of a table [V, K]: [T, K]; float32 of a quantized table."""
    if isinstance(weight, torch.Tensor):
        return weight[ids.long()]
    chosen = QuantizedWeight(
        weight.codes[ids.long()],
        weight.scales[ids.long()],
        None if weight.zeros is None else weight.zeros[ids.long()],
        weight.bits,
        weight.group,
    )
    return chosen.dequantize()
