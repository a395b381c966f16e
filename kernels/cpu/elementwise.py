"""Operations on rows on the CPU: normalisation, rotary positions, gated activation, embedding.

Defined in `kernels.reference.elementwise`. Activations are float32, bfloat16 or float16, any
strides (copied where rows are not consecutive numbers); sums are in float32.
"""

from __future__ import annotations

import ctypes

import torch

from kernels.cpu.library import DTYPES, check, native
from kernels.packing import PackedWeight
from kernels.weights import QuantizedWeight


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """``x`` [..., K] normalised by row, times ``weight`` [K]."""
    rows = _rows(x)
    factors = weight.float().contiguous()
    out = torch.empty(x.shape, dtype=x.dtype)
    check(
        native().sd_rms_norm(
            _pointer(rows), _long(rows.stride(0)), _long(rows.shape[0]), rows.shape[1],
            _pointer(factors), ctypes.c_float(eps), _pointer(out), _long(rows.shape[1]),
            DTYPES[x.dtype],
        )
    )  # fmt: skip
    return out


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rms_norm` of ``x + residual`` [..., K], and that sum; both new tensors."""
    rows = _rows(x)
    factors = weight.float().contiguous()
    total = residual.clone(memory_format=torch.contiguous_format)
    out = torch.empty(x.shape, dtype=x.dtype)
    k = rows.shape[1]
    check(
        native().sd_add_rms_norm(
            _pointer(rows), _long(rows.stride(0)), _pointer(total), _long(k),
            _long(rows.shape[0]), k, _pointer(factors), ctypes.c_float(eps), _pointer(out),
            _long(k), DTYPES[x.dtype],
        )
    )  # fmt: skip
    return out, total


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``q`` [T, Hq, D] and ``k`` [T, Hk, D] turned by their positions; new tensors.

    Raises:
        ValueError: A position is not a row of the tables.
    """
    where, cosines, sines = positions.contiguous(), cos.contiguous(), sin.contiguous()
    turned = tuple(one.clone(memory_format=torch.contiguous_format) for one in (q, k))
    for one in turned:
        tokens, heads, dim = one.shape
        check(
            native().sd_rope(
                _pointer(one), _long(heads * dim), _long(tokens), heads, dim, _pointer(where),
                _pointer(cosines), _pointer(sines), _long(cos.shape[0]), DTYPES[one.dtype],
            )
        )  # fmt: skip
    return turned[0], turned[1]


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` of rows [..., 2 I] that hold both."""
    rows = _rows(gate_up)
    half = rows.shape[1] // 2
    out = torch.empty(*gate_up.shape[:-1], half, dtype=gate_up.dtype)
    check(
        native().sd_silu_mul(
            _pointer(rows), _long(rows.stride(0)), _long(rows.shape[0]), half, _pointer(out),
            _long(half), DTYPES[gate_up.dtype],
        )
    )  # fmt: skip
    return out


def embedding(
    ids: torch.Tensor,
    weight: torch.Tensor | QuantizedWeight | PackedWeight,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Rows ``ids`` [T] of a table [V, K].

    Args:
        ids: int32 or int64.
        weight: Numbers, or quantized in canonical or in packed form.
        dtype: Of the result, if the table is quantized or packed.

    Returns:
        [T, K].

    Raises:
        ValueError: An id is not a row of the table.
    """
    tokens = ids.contiguous()
    count, width = _long(tokens.numel()), tokens.element_size()
    if isinstance(weight, PackedWeight):
        return _packed_rows(tokens, weight, dtype)
    if isinstance(weight, QuantizedWeight):
        n, k = weight.shape
        codes, scales = weight.codes.contiguous(), weight.scales.contiguous()
        zeros = None if weight.zeros is None else weight.zeros.contiguous()
        out = torch.empty(tokens.numel(), k, dtype=dtype)
        check(
            native().sd_embedding_grid(
                _pointer(tokens), width, count, _pointer(codes), _pointer(scales),
                _pointer(zeros), _long(n), k, weight.group, weight.bits, weight.zero_kind,
                _pointer(out), DTYPES[dtype],
            )
        )  # fmt: skip
        return out
    table = weight if weight.stride(1) == 1 else weight.contiguous()
    n, k = table.shape
    out = torch.empty(tokens.numel(), k, dtype=table.dtype)
    check(
        native().sd_embedding(
            _pointer(tokens), width, count, _pointer(table), _long(table.stride(0)), _long(n),
            _long(k), _pointer(out), DTYPES[table.dtype],
        )
    )  # fmt: skip
    return out


def _packed_rows(ids: torch.Tensor, weight: PackedWeight, dtype: torch.dtype) -> torch.Tensor:
    from kernels.cpu.linear import unpack_rows

    for bad in ids[(ids < 0) | (ids >= weight.n)].tolist():
        raise ValueError(f"token {bad} is not in [0, {weight.n})")
    return unpack_rows(weight, ids, dtype)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """``x`` as [M, K], the numbers of a row consecutive."""
    rows = x.reshape(-1, x.shape[-1]) if x.shape[-1] else x.reshape(x.shape[:-1].numel(), 0)
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


_long = ctypes.c_int64
