"""The operations over weights and caches as types; arguments are checked here, once.

`kernels.reference` defines what each computes; `kernels.operators` runs it by device.
"""

from __future__ import annotations

import torch

from kernels import operators  # noqa: F401  registers torch.ops.specdrive
from kernels.kv_cache import KVCache
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.weights import QuantizedWeight

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def int4_linear(
    x: torch.Tensor,
    weight: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """x times a 4-bit weight, weight-only (16) or with 8-bit activations.

    Args:
        x: [..., K], float32, bfloat16 or float16.
        weight: [N, K], packed for x's device.
        activation_bits: 16 or 8.
        bias: [N].

    Returns:
        [..., N] in x's type.

    Raises:
        ValueError: Shapes, formats or devices that do not fit.
    """
    _check_linear("int4_linear", x, weight, 4, activation_bits, bias)
    return torch.ops.specdrive.int4_linear(
        x, weight.blob, weight.n, weight.k, weight.group, weight.zero_kind, activation_bits,
        _float(bias),
    )  # fmt: skip


def int8_linear(
    x: torch.Tensor,
    weight: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """`int4_linear` for a weight of 8 bits.

    Raises:
        ValueError: Shapes, formats or devices that do not fit.
    """
    _check_linear("int8_linear", x, weight, 8, activation_bits, bias)
    return torch.ops.specdrive.int8_linear(
        x, weight.blob, weight.n, weight.k, weight.group, activation_bits, _float(bias)
    )


def w4a4_linear(x: torch.Tensor, weight: PackedAtomWeight, clip: float = 0.9) -> torch.Tensor:
    """x times a mixed-precision weight, activations quantized on the fly (Atom).

    Args:
        x: [..., K], float32, bfloat16 or float16.
        weight: [N, K], packed for x's device.
        clip: Share of a group's largest magnitude that 4 bits reach, in (0, 1].

    Raises:
        ValueError: Shapes, formats or devices that do not fit.
    """
    _check_input("w4a4_linear", x, weight.low.k + weight.high.k, weight.device)
    if not 0 < clip <= 1:
        raise ValueError(f"w4a4_linear: clip must be in (0, 1], not {clip}")
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
    """Add every row's adapter to y [M, N] in place; see `kernels.reference.lora`.

    Raises:
        ValueError: Shapes or numbers that do not fit.
        TypeError: A tensor of the wrong type.
    """
    torch.ops.specdrive.lora_sgmv(y, x, pool, indptr, a_pages, b_pages, rank_indptr, scales)
    return y


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Root-mean-square normalisation of [..., D].

    Raises:
        ValueError: weight is not [D], or x not a float type.
    """
    _check_input("rms_norm", x, weight.shape[0] if weight.dim() == 1 else -1, weight.device)
    return torch.ops.specdrive.rms_norm(x, weight, eps)


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(norm(residual + x), residual + x).

    Raises:
        ValueError: Shapes or formats that do not fit.
    """
    _check_input("add_rms_norm", x, weight.shape[0] if weight.dim() == 1 else -1, weight.device)
    if x.shape != residual.shape or x.dtype != residual.dtype:
        raise ValueError("add_rms_norm: x and residual must be alike in shape and type")
    return torch.ops.specdrive.add_rms_norm(x, residual, weight, eps)


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotary positions on q [T, heads, D] and k [T, kv_heads, D].

    Raises:
        ValueError: Shapes or formats that do not fit.
    """
    if q.dim() != 3 or k.dim() != 3 or q.shape[0] != k.shape[0] or q.shape[2] != k.shape[2]:
        raise ValueError(f"rope: q {list(q.shape)} and k {list(k.shape)} do not fit each other")
    if q.shape[2] % 2 or cos.shape != sin.shape or cos.shape[-1] * 2 != q.shape[2]:
        raise ValueError(f"rope: cos and sin must be [positions, {q.shape[2]} / 2]")
    if positions.shape != (q.shape[0],):
        raise ValueError(f"rope: positions must be [{q.shape[0]}], not {list(positions.shape)}")
    return torch.ops.specdrive.rope(q, k, positions, cos, sin)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up of [M, 2 I].

    Raises:
        ValueError: An odd number of columns, or no float type.
    """
    _check_input("silu_mul", gate_up, gate_up.shape[-1], gate_up.device)
    if gate_up.shape[-1] % 2:
        raise ValueError(f"silu_mul: {gate_up.shape[-1]} columns are no two halves")
    return torch.ops.specdrive.silu_mul(gate_up)


def embedding(ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight) -> torch.Tensor:
    """Rows of a table [V, K]; float32 of a quantized one.

    Raises:
        ValueError: ids are not one-dimensional integers.
    """
    if ids.dim() != 1 or ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"embedding: ids must be int [T], not {ids.dtype} {list(ids.shape)}")
    if isinstance(weight, torch.Tensor):
        return torch.ops.specdrive.embedding(ids, weight)
    return torch.ops.specdrive.quantized_embedding(
        ids, weight.codes, weight.scales, weight.zeros, weight.bits, weight.group
    )


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Store keys and values [T, kv_heads, D] of tokens in their slots, in place.

    Raises:
        ValueError: Shapes that do not fit the cache.
    """
    expected = (slots.shape[0], cache.kv_heads, cache.head_dim)
    if tuple(k.shape) != expected or tuple(v.shape) != expected:
        raise ValueError(f"write_kv: k and v must be {list(expected)}, not {list(k.shape)}")
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
    """Causal attention of q [T, heads, D] over pages; see `kernels.reference.attention`.

    Raises:
        ValueError: Shapes that do not fit the cache.
    """
    if q.dim() != 3 or q.shape[2] != cache.head_dim or q.shape[1] % cache.kv_heads:
        raise ValueError(
            f"paged_attention: q {list(q.shape)} does not fit {cache.kv_heads} kv heads of "
            f"{cache.head_dim}"
        )
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
    """One token per row of logits [M, V]; see `kernels.reference.sampling`.

    Raises:
        ValueError: Shapes that do not fit, or a row of logits that is not finite.
    """
    rows = (logits.shape[0],)
    if draws.shape != rows or temperature.shape != rows or top_p.shape != rows:
        raise ValueError(f"sample: draws, temperature and top_p must be [{rows[0]}]")
    return torch.ops.specdrive.sample(logits, draws, temperature, top_p)


def _check_linear(
    name: str,
    x: torch.Tensor,
    weight: PackedWeight,
    bits: int,
    activation_bits: int,
    bias: torch.Tensor | None,
) -> None:
    if weight.bits != bits:
        raise ValueError(f"{name}: the weight has {weight.bits} bits")
    if activation_bits not in (8, 16):
        raise ValueError(f"{name}: activation_bits must be 16 or 8, not {activation_bits}")
    _check_input(name, x, weight.k, weight.device)
    if bias is not None and bias.shape != (weight.n,):
        raise ValueError(f"{name}: bias must be [{weight.n}], not {list(bias.shape)}")


def _check_input(name: str, x: torch.Tensor, columns: int, device: torch.device) -> None:
    if x.dtype not in _FLOATS:
        raise ValueError(f"{name}: x must be float32, bfloat16 or float16, not {x.dtype}")
    if x.dim() == 0 or x.shape[-1] != columns:
        raise ValueError(f"{name}: x {list(x.shape)} does not have {columns} columns")
    if x.device.type != device.type:
        raise ValueError(f"{name}: x is on {x.device}, the weight on {device}")


def _float(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.float().contiguous()
