"""Linear layers on the CPU: weights packed once, then applied to one row or thousands."""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from kernels.cpu.library import DTYPES, check, native
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.weights import AtomWeight, QuantizedWeight

_ALIGNMENT = 64


class CMatrix(ctypes.Structure):
    """``sd::Matrix``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("n", ctypes.c_int32),
        ("k", ctypes.c_int32),
        ("group", ctypes.c_int32),
        ("bits", ctypes.c_int32),
        ("zero_kind", ctypes.c_int32),
    )


class CLinear(ctypes.Structure):
    """``sd::Linear``."""

    _fields_ = (
        ("main", CMatrix),
        ("tail", CMatrix),
        ("order", ctypes.c_void_p),
        ("clip", ctypes.c_float),
        ("activation_bits", ctypes.c_int32),
        ("bias", ctypes.c_void_p),
    )


def pack(weight: QuantizedWeight) -> PackedWeight:
    """The weight [N, K] in the layout of `src/packing.inl.h`; the source may then be dropped."""
    n, k = weight.shape
    codes = weight.codes.contiguous().cpu()
    scales = weight.scales.contiguous().cpu()
    zeros = None if weight.zeros is None else weight.zeros.contiguous().cpu()
    return _pack(codes, scales, zeros, n, k, weight.group, weight.bits, weight.zero_kind)


def pack_dense(weight: torch.Tensor) -> PackedWeight:
    """An unquantized weight [N, K]: bfloat16 stays so, other formats become float32."""
    n, k = weight.shape
    bits = 16 if weight.dtype == torch.bfloat16 else 32
    rows = weight.detach().cpu().to(torch.bfloat16 if bits == 16 else torch.float32).contiguous()
    return _pack(rows, None, None, n, k, k, bits, 0)


def pack_atom(weight: AtomWeight) -> PackedAtomWeight:
    """Both parts of a mixed-precision weight and the order of its columns."""
    order = weight.order.to(torch.int32).contiguous().cpu()
    return PackedAtomWeight(pack(weight.low), pack(weight.high), order)


def unpack_rows(
    packed: PackedWeight, rows: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Rows of the weight as numbers.

    Args:
        packed: [N, K].
        rows: int64 [R], each in [0, N); not checked.
        dtype: Of the result: float32, bfloat16 or float16.

    Returns:
        [R, K].
    """
    ids = rows.to(torch.int64).contiguous()
    out = torch.empty(ids.numel(), packed.k, dtype=dtype)
    matrix = c_matrix(packed)
    check(
        native().sd_matrix_rows(
            ctypes.byref(matrix), _pointer(ids), ctypes.c_int64(ids.numel()), _pointer(out),
            DTYPES[dtype],
        )
    )  # fmt: skip
    return out


def int4_linear(
    x: torch.Tensor,
    packed: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x`` [..., K] times a 4-bit weight; see `kernels.reference.linear.int4_linear`."""
    return _linear(x, c_linear(packed, activation_bits, bias), packed.n)


def int8_linear(
    x: torch.Tensor,
    packed: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x`` [..., K] times an 8-bit weight; see `kernels.reference.linear.int8_linear`."""
    return _linear(x, c_linear(packed, activation_bits, bias), packed.n)


def dense_linear(
    x: torch.Tensor, packed: PackedWeight, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """``x`` [..., K] times an unquantized weight.

    Float32 activations meet bfloat16 weights with 16 significant bits, others with their own 8.
    """
    return _linear(x, c_linear(packed, 8 if x.dtype == torch.bfloat16 else 16, bias), packed.n)


def w4a4_linear(x: torch.Tensor, packed: PackedAtomWeight, clip: float = 0.9) -> torch.Tensor:
    """``x`` [..., K] times a mixed-precision weight; see `kernels.reference.linear.w4a4_linear`."""
    return _linear(x, c_atom(packed, clip), packed.low.n)


def c_matrix(packed: PackedWeight) -> CMatrix:
    """The weight as C sees it; ``packed`` must outlive the result.

    Raises:
        ValueError: It does not have as many bytes as its sizes need.
    """
    size = _packed_bytes(packed.n, packed.k, packed.group, packed.bits, packed.zero_kind)
    if packed.blob.numel() != size or not packed.blob.is_contiguous():
        raise ValueError(
            f"a packed weight [{packed.n}, {packed.k}] of {packed.bits} bits has {size} bytes "
            f"in a row, not {packed.blob.numel()}"
        )
    return CMatrix(
        packed.blob.data_ptr(), packed.n, packed.k, packed.group, packed.bits, packed.zero_kind
    )


def c_linear(
    packed: PackedWeight, activation_bits: int = 16, bias: torch.Tensor | None = None
) -> CLinear:
    """A layer as C sees it; its tensors must outlive the result (``bias``: float32 [N])."""
    if bias is not None and (bias.dtype != torch.float32 or not bias.is_contiguous()):
        raise TypeError("bias must be contiguous float32 on the CPU")
    return CLinear(
        c_matrix(packed), CMatrix(), None, 0.0, activation_bits,
        None if bias is None else bias.data_ptr(),
    )  # fmt: skip


def c_atom(packed: PackedAtomWeight, clip: float) -> CLinear:
    """A mixed-precision layer as C sees it; its tensors must outlive the result."""
    return CLinear(
        c_matrix(packed.low), c_matrix(packed.high), packed.order.data_ptr(), clip, 4, None
    )


def _linear(x: torch.Tensor, layer: CLinear, n: int) -> torch.Tensor:
    rows = x.reshape(-1, x.shape[-1])
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    out = torch.empty(rows.shape[0], n, dtype=x.dtype)
    check(
        native().sd_linear(
            ctypes.byref(layer), _pointer(rows), ctypes.c_int64(rows.stride(0)),
            ctypes.c_int64(rows.shape[0]), _pointer(out), ctypes.c_int64(n), DTYPES[x.dtype],
        )
    )  # fmt: skip
    return out.reshape(*x.shape[:-1], n)


def _pack(
    codes: torch.Tensor,
    scales: torch.Tensor | None,
    zeros: torch.Tensor | None,
    n: int,
    k: int,
    group: int,
    bits: int,
    zero_kind: int,
) -> PackedWeight:
    blob = _aligned(_packed_bytes(n, k, group, bits, zero_kind))
    native().sd_pack_matrix(
        _pointer(codes), _pointer(scales), _pointer(zeros), n, k, group, bits, zero_kind,
        _pointer(blob),
    )  # fmt: skip
    return PackedWeight(blob, n, k, group, bits, zero_kind)


def _packed_bytes(n: int, k: int, group: int, bits: int, zero_kind: int) -> int:
    library: Any = native()
    library.sd_matrix_bytes.restype = ctypes.c_int64
    return library.sd_matrix_bytes(n, k, group, bits, zero_kind)


def _aligned(size: int) -> torch.Tensor:
    """Uninitialized bytes that begin at a cache line."""
    memory = torch.empty(size + _ALIGNMENT, dtype=torch.uint8)
    skip = -memory.data_ptr() % _ALIGNMENT
    return memory[skip : skip + size]


def _pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
