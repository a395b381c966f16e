# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, SIM300
"""Kernels of low-rank adapters: shrink and expand over segments and pages."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.codes import dot


@triton.jit
def find_unit(unit, indptr, rank_indptr, segments, SEGMENTS: tl.constexpr, BLOCK_M: tl.constexpr):
    """The segment (``segments`` if there is none) and the block of rows of a unit of work."""
    index = tl.arange(0, SEGMENTS)
    live = index < segments
    begin = tl.load(indptr + index, mask=live, other=0)
    end = tl.load(indptr + index + 1, mask=live, other=0)
    rank = tl.load(rank_indptr + index + 1, mask=live, other=0)
    rank -= tl.load(rank_indptr + index, mask=live, other=0)
    blocks = tl.where(rank > 0, (end - begin + BLOCK_M - 1) // BLOCK_M, 0)
    upto = tl.cumsum(blocks, axis=0)
    segment = tl.sum((live & (upto <= unit)).to(tl.int32), axis=0)
    before = tl.sum(tl.where(index < segment, blocks, 0), axis=0)
    return segment, unit - before


@triton.jit(do_not_specialize=["m", "segments", "page_columns"])
def shrink(v, x, pool, indptr, pages, rank_indptr, m, k, segments, page_columns, stride_x,
           PAGE: tl.constexpr, STRIDE: tl.constexpr, SEGMENTS: tl.constexpr,
           BLOCK_M: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_K: tl.constexpr,
           TYPE: tl.constexpr, STEPS: tl.constexpr):  # fmt: skip
    """v [SPLIT, m, STRIDE] = x A per segment; grid (units, rank programs, SPLIT)."""
    segment, block = find_unit(tl.program_id(0), indptr, rank_indptr, segments, SEGMENTS, BLOCK_M)
    if segment < segments:
        first = tl.load(rank_indptr + segment)
        rank = tl.load(rank_indptr + segment + 1) - first
        row = tl.load(indptr + segment) + block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < tl.load(indptr + segment + 1)
        split = tl.program_id(2)
        column = tl.arange(0, BLOCK_K)
        rank = tl.where(rank <= STRIDE, rank, 0)
        for rank_block in range(tl.program_id(1), tl.cdiv(rank, BLOCK_R), tl.num_programs(1)):
            within = rank_block * BLOCK_R + tl.arange(0, BLOCK_R)
            live = within < rank
            table = pages + (first + within) * page_columns
            acc = tl.zeros([BLOCK_R, BLOCK_M], tl.float32)
            for step in range(split * STEPS, split * STEPS + STEPS):
                start = step * BLOCK_K
                # A block never crosses a page: BLOCK_K divides PAGE.
                some = within < tl.where(start < k, rank, 0)
                page = tl.load(table + start // PAGE, mask=some, other=0)
                a = tl.load(
                    pool + page.to(tl.int64)[:, None] * PAGE + (start % PAGE + column)[None, :],
                    mask=live[:, None] & (start + column < k)[None, :],
                    other=0.0,
                )
                values = tl.load(
                    x + row[None, :] * stride_x + (start + column)[:, None],
                    mask=inside[None, :] & (start + column < k)[:, None],
                    other=0.0,
                )
                acc += dot(a.to(TYPE), values.to(TYPE))
            out = v + (split * m + row[None, :]) * STRIDE + within[:, None]
            tl.store(out, acc, mask=inside[None, :] & live[:, None])


@triton.jit(do_not_specialize=["m", "segments", "page_columns"])
def expand(y, v, pool, indptr, pages, rank_indptr, scales, m, n, segments, page_columns, stride_y,
           PAGE: tl.constexpr, STRIDE: tl.constexpr, SEGMENTS: tl.constexpr,
           BLOCK_M: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr,
           SPLIT: tl.constexpr, TYPE: tl.constexpr):  # fmt: skip
    """y [m, n] += scale v B per segment; grid (units, blocks of n)."""
    segment, block = find_unit(tl.program_id(0), indptr, rank_indptr, segments, SEGMENTS, BLOCK_M)
    if segment < segments:
        first = tl.load(rank_indptr + segment)
        rank = tl.load(rank_indptr + segment + 1) - first
        row = tl.load(indptr + segment) + block * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = row < tl.load(indptr + segment + 1)
        start = tl.program_id(1) * BLOCK_N
        column = start + tl.arange(0, BLOCK_N)
        table = pages + first * page_columns + start // PAGE
        acc = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
        for rank_block in range(0, tl.cdiv(tl.where(rank <= STRIDE, rank, 0), BLOCK_R)):
            within = rank_block * BLOCK_R + tl.arange(0, BLOCK_R)
            live = within < rank
            page = tl.load(table + within * page_columns, mask=live, other=0)
            offsets = page.to(tl.int64)[:, None] * PAGE + (column % PAGE)[None, :]
            b = tl.load(pool + offsets, mask=live[:, None] & (column < n)[None, :], other=0.0)
            values = tl.zeros([BLOCK_R, BLOCK_M], tl.float32)
            for split in tl.static_range(SPLIT):
                source = v + (split * m + row[None, :]) * STRIDE + within[:, None]
                values += tl.load(source, mask=live[:, None] & inside[None, :], other=0.0)
            if TYPE == tl.float32:
                acc += dot(tl.trans(b.to(tl.float32)), values)
            else:
                # Two 16-bit numbers hold 16 bits and more of each value; scaled to at most 1,
                # they cannot overflow.
                most = tl.maximum(tl.max(tl.abs(values), axis=0), 1e-30)[None, :]
                values = values / most
                upper = values.to(TYPE)
                lower = (values - upper.to(tl.float32)).to(TYPE)
                b = tl.trans(b)
                acc += (dot(b, upper) + dot(b, lower)) * most
        scale = tl.load(scales + segment)
        scale = tl.where(rank <= STRIDE, scale, float("nan"))
        target = y + row[None, :] * stride_y + column[:, None]
        mask = inside[None, :] & (column < n)[:, None]
        total = tl.load(target, mask=mask, other=0.0).to(tl.float32) + acc * scale
        tl.store(target, total.to(y.dtype.element_ty), mask=mask)
