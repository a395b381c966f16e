"""Low-rank adapters of a batch on the CPU: rows of one call may belong to different adapters."""

from __future__ import annotations

import ctypes

import torch

from kernels.cpu.library import DTYPES, check, native


class CLoraSegments(ctypes.Structure):
    """``sd::LoraSegments``."""

    _fields_ = (
        ("indptr", ctypes.c_void_p),
        ("rank_indptr", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("segments", ctypes.c_int32),
        ("pool", ctypes.c_void_p),
        ("page_size", ctypes.c_int64),
        ("pool_dtype", ctypes.c_int32),
    )


class CLoraTarget(ctypes.Structure):
    """``sd::LoraTarget``."""

    _fields_ = (
        ("a_pages", ctypes.c_void_p),
        ("b_pages", ctypes.c_void_p),
        ("a_stride", ctypes.c_int32),
        ("b_stride", ctypes.c_int32),
        ("k", ctypes.c_int32),
        ("n", ctypes.c_int32),
        ("column", ctypes.c_int32),
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
    """Add each row's adapter to ``y`` in place; see `kernels.reference.lora.lora_sgmv`.

    Args:
        y: [M, N], float32, bfloat16 or float16; its last stride must be 1.
        x: [M, K] of the same type.
        pool: [pages, P] in any of these types, contiguous; P a multiple of 16.
        indptr: int32 [S + 1], the rows of each segment.
        a_pages: int32 [R, at least ceil(K / P)].
        b_pages: int32 [R, at least ceil(N / P)].
        rank_indptr: int32 [S + 1], from 0 to R: the rank rows of each segment.
        scales: float32 [S].

    Returns:
        ``y``.

    Raises:
        TypeError: A tensor of the wrong type.
        ValueError: Shapes that do not fit, or numbers that lead out of a tensor.
    """
    rows, n = y.shape
    if x.dim() != 2 or x.shape[0] != rows:
        raise ValueError(f"x of shape {list(x.shape)} does not fit y of shape {list(y.shape)}")
    if y.dtype not in DTYPES or x.dtype != y.dtype:
        raise TypeError(f"y ({y.dtype}) and x ({x.dtype}) must be of one float type, 16 or 32 bits")
    if n > 1 and y.stride(1) != 1:
        raise ValueError("the columns of y must be consecutive")
    if x.stride(1) != 1:
        x = x.contiguous()
    segments = c_segments(indptr, rank_indptr, scales, pool)
    target = c_target(a_pages, b_pages, x.shape[1], n, 0, pool.shape[1])
    code = native().sd_lora_sgmv(
        ctypes.byref(segments), ctypes.byref(target), ctypes.c_int64(a_pages.shape[0]),
        ctypes.c_int64(pool.shape[0]), ctypes.c_void_p(x.data_ptr()), ctypes.c_int64(x.stride(0)),
        ctypes.c_void_p(y.data_ptr()), ctypes.c_int64(y.stride(0)), ctypes.c_int64(rows),
        DTYPES[y.dtype],
    )  # fmt: skip
    if code == 2:
        raise ValueError(native().sd_last_error().decode())
    check(code)
    return y


def c_segments(
    indptr: torch.Tensor, rank_indptr: torch.Tensor, scales: torch.Tensor, pool: torch.Tensor
) -> CLoraSegments:
    """A batch's segments as C sees them; the tensors must outlive the result.

    Raises:
        TypeError: A tensor of the wrong type.
        ValueError: Shapes that do not fit each other.
    """
    for name, tensor in (("indptr", indptr), ("rank_indptr", rank_indptr)):
        if tensor.dtype != torch.int32:
            raise TypeError(f"{name} must be int32, not {tensor.dtype}")
    if scales.dtype != torch.float32:
        raise TypeError(f"scales must be float32, not {scales.dtype}")
    if pool.dtype not in DTYPES:
        raise TypeError(f"a pool of {pool.dtype} is not supported: use a float type")
    count = scales.numel()
    if indptr.shape != (count + 1,) or rank_indptr.shape != (count + 1,) or scales.dim() != 1:
        raise ValueError(
            f"{count} segments need indptr and rank_indptr of {count + 1} numbers, not "
            f"{list(indptr.shape)} and {list(rank_indptr.shape)}"
        )
    if pool.dim() != 2 or pool.shape[1] % 16 or not pool.shape[1]:
        raise ValueError(f"a pool must be [pages, a multiple of 16], not {list(pool.shape)}")
    for tensor in (indptr, rank_indptr, scales, pool):
        if not tensor.is_contiguous():
            raise ValueError("pool, indptr, rank_indptr and scales must be contiguous")
    return CLoraSegments(
        indptr.data_ptr(), rank_indptr.data_ptr(), scales.data_ptr(), count, pool.data_ptr(),
        pool.shape[1], DTYPES[pool.dtype],
    )  # fmt: skip


def c_target(
    a_pages: torch.Tensor, b_pages: torch.Tensor, k: int, n: int, column: int, page_size: int
) -> CLoraTarget:
    """One layer's page tables as C sees them; the tensors must outlive the result.

    Args:
        a_pages: int32 [R, at least ceil(k / page_size)], rows of any stride.
        b_pages: int32 [R, at least ceil(n / page_size)], likewise.
        k: Width of the layer's input.
        n: Width of its output.
        column: Where the output begins.
        page_size: Elements per page.

    Raises:
        TypeError: A table that is not int32.
        ValueError: Tables of other shapes.
    """
    strides: list[int] = []
    for name, table, width in (("a_pages", a_pages, k), ("b_pages", b_pages, n)):
        if table.dtype != torch.int32:
            raise TypeError(f"{name} must be int32, not {table.dtype}")
        least = -(-width // page_size)
        if table.dim() != 2 or table.shape[0] != a_pages.shape[0] or table.shape[1] < least:
            raise ValueError(
                f"{name} must be [{a_pages.shape[0]} ranks, at least {least} pages], "
                f"not {list(table.shape)}"
            )
        if table.shape[1] > 1 and table.stride(1) != 1:
            raise ValueError(f"the rows of {name} must be consecutive")
        strides.append(table.stride(0))
    return CLoraTarget(a_pages.data_ptr(), b_pages.data_ptr(), *strides, k, n, column)
