"""The operations as functions of tensors, packed weights and caches, on any device.

Each is defined, with shapes and formats, by the function of its name in `kernels.reference`.
All of them raise `ValueError` with one line for tensors of wrong shapes, formats or devices, and on
the CPU for indices that lead out of a tensor.
"""

from __future__ import annotations

import torch

import kernels.operators  # noqa: F401  (defines torch.ops.specdrive)
from kernels.kv_cache import KVCache
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.weights import QuantizedWeight


def int4_linear(
    x: torch.Tensor,
    weight: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x`` [..., K] times a 4-bit weight: [..., N].

    Args:
        x: float32, bfloat16 or float16.
        weight: From `kernels.pack`.
        activation_bits: 16, or 8 to quantize ``x`` by row and group and multiply integers.
        bias: [N] or None.
    """
    _check_packed(weight, (4,))
    return torch.ops.specdrive.int4_linear(
        x, weight.blob, weight.n, weight.k, weight.group, weight.zero_kind, activation_bits, bias
    )


def int8_linear(
    x: torch.Tensor,
    weight: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """`int4_linear` with an 8-bit weight."""
    _check_packed(weight, (8,))
    return torch.ops.specdrive.int8_linear(
        x, weight.blob, weight.n, weight.k, weight.group, activation_bits, bias
    )


def dense_linear(
    x: torch.Tensor, weight: PackedWeight, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """``x`` [..., K] times an unquantized weight (`kernels.pack_dense`): [..., N]."""
    _check_packed(weight, (16, 32))
    return torch.ops.specdrive.dense_linear(x, weight.blob, weight.n, weight.k, weight.bits, bias)


def w4a4_linear(
    x: torch.Tensor,
    weight: PackedAtomWeight,
    clip: float = 0.9,
) -> torch.Tensor:
    """``x`` [..., K] times a weight of mixed precision (Atom): [..., N].

    Args:
        x: float32, bfloat16 or float16.
        weight: From `kernels.pack` or `kernels.pack_atom`.
        clip: Share of a group's largest magnitude that 4-bit activations reach.
    """
    if not isinstance(weight, PackedAtomWeight):
        raise ValueError(f"the weight must be packed by kernels.pack, not {_kind(weight)}")
    low, high = weight.low, weight.high
    return torch.ops.specdrive.w4a4_linear(
        x, low.blob, high.blob, weight.order, low.n, low.k, high.k, low.group, high.group, clip
    )


def lora_sgmv(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
) -> torch.Tensor:
    """Add to each row of ``y`` what its adapter makes of the row of ``x``, in place; returns ``y``.

    ``y`` may be a range of columns of a wider tensor.
    """
    torch.ops.specdrive.lora_sgmv(y, x, pool, indptr, a_pages, b_pages, rank_indptr, scales)
    return y


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` by row of ``x`` [..., K]."""
    return torch.ops.specdrive.rms_norm(x, weight, eps)


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rms_norm` of ``x + residual``, and that sum, both new tensors [..., K]."""
    return torch.ops.specdrive.add_rms_norm(x, residual, weight, eps)


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``q`` [T, Hq, D] and ``k`` [T, Hk, D] turned by their positions int32 [T], new tensors."""
    return torch.ops.specdrive.rope(q, k, positions, cos, sin)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` of rows [..., 2 I] that hold both: [..., I]."""
    return torch.ops.specdrive.silu_mul(gate_up)


def embedding(ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight) -> torch.Tensor:
    """Rows ``ids`` (int32 or int64 [T]) of a table [V, K]: [T, K]; float32 of a quantized table."""
    if isinstance(weight, QuantizedWeight):
        return torch.ops.specdrive.quantized_embedding(
            ids, weight.codes, weight.scales, weight.zeros, weight.bits, weight.group
        )
    return torch.ops.specdrive.embedding(ids, weight)


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Store keys and values [T, Hkv, D] in the slots int64 [T] of a cache; negative: nowhere."""
    torch.ops.specdrive.write_kv(
        k, v, cache.keys, cache.values, cache.key_params, cache.value_params, slots, cache.kind
    )


def paged_attention(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Causal attention of ``q`` [T, Hq, D], the last positions of B sequences, over their contexts.

    Args:
        q: float32, bfloat16 or float16.
        cache: With the keys and values of these tokens.
        block_tables: int32 [B, X].
        context_lens: int32 [B].
        query_indptr: int32 [B + 1].
        scale: Factor of the scores, usually D^-0.5.
    """
    return torch.ops.specdrive.paged_attention(
        q, cache.keys, cache.values, cache.key_params, cache.value_params, block_tables,
        context_lens, query_indptr, scale, cache.kind,
    )  # fmt: skip


def sample(
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """One token per row of ``logits`` [M, V], by its own drawn number, temperature and top_p."""
    return torch.ops.specdrive.sample(logits, draws, temperature, top_p)


def _check_packed(weight: PackedWeight, bits: tuple[int, ...]) -> None:
    if not isinstance(weight, PackedWeight):
        raise ValueError(f"the weight must be packed by kernels.pack, not {_kind(weight)}")
    if weight.bits not in bits:
        wanted = " or ".join(str(one) for one in bits)
        raise ValueError(f"the weight must have {wanted} bits, not {weight.bits}")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
