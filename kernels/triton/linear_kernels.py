# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, N806, RET505, SIM300
"""Kernels of the quantized linear layers: the product itself, and quantizing its activations.

A program computes ``BLOCK_N`` outputs of ``BLOCK_M`` rows as weights x activations transposed:
weights are the first operand, which tensor cores of compute capability 9.0 take from registers.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.codes import (
    dot,
    float_codes4,
    float_codes8,
    float_operand,
    integer_codes4,
    integer_codes8,
    integer_order,
    minus,
    order_of,
    shuffle_rows,
)
from kernels.triton.launch import INTERPRETED

ROUNDER = tl.constexpr(12582912.0)
"""1.5 * 2**23: adding it to a float32 below 2**22 rounds it to an integer, ties to even."""


@triton.jit
def float_weights(words, zeros, ROWS: tl.constexpr, M: tl.constexpr, WARPS: tl.constexpr,
                  TYPE: tl.constexpr, PAIRS: tl.constexpr, BITS: tl.constexpr,
                  ZERO: tl.constexpr):  # fmt: skip
    """Words to codes as an operand [ROWS, 32 M]; zero points are taken off, offsets are not."""
    half: tl.constexpr = tl.float16 if TYPE == tl.float32 else TYPE
    if BITS == 8:
        values = float_operand(float_codes8(words, half), ROWS, M, WARPS, PAIRS, BITS)
    else:
        raw = float_operand(float_codes4(words, half), ROWS, M, WARPS, PAIRS, BITS)
        base: tl.constexpr = 1024.0 if half == tl.float16 else 128.0
        if ZERO == 0:
            values = minus(raw, base + 8.0)
        elif ZERO == 1:
            if INTERPRETED:
                values = raw.to(tl.float32) - (zeros + base)[:, None]
            else:
                values = raw - (zeros + base).to(half)[:, None]
        else:
            values = minus(raw, base)
    if TYPE == tl.float32:
        values = values.to(tl.float32)
    return values


@triton.jit
def part(acc, words, scale, zeros, x, x_scales, x_sums, start, row, m, k, stride_x,
         M: tl.constexpr, GROUP: tl.constexpr, BITS: tl.constexpr, ZERO: tl.constexpr,
         INTEGER: tl.constexpr, FOLD: tl.constexpr, EVEN: tl.constexpr, TYPE: tl.constexpr,
         PAIRS: tl.constexpr, BLOCK_N: tl.constexpr, WARPS: tl.constexpr):  # fmt: skip
    """Add the product over the ``32 M`` values of K from ``start``, which share a scale."""
    position = tl.arange(0, 32 * M)
    columns = start + (position if INTEGER else order_of(position, PAIRS))
    inside = (row < m)[None, :]
    if not (EVEN or INTEGER):
        inside = inside & (columns < k)[:, None]
    values = tl.load(x + row[None, :] * stride_x + columns[:, None], mask=inside, other=0)
    scale = scale.to(tl.float32)
    zeros = zeros.to(tl.float32)
    if INTEGER:
        if BITS == 4:
            codes = integer_codes4(words, BLOCK_N, M, WARPS)
            scale = scale * 0.0625
        else:
            codes = integer_codes8(words, BLOCK_N, M, WARPS)
        product = tl.dot(codes, values, out_dtype=tl.int32).to(tl.float32)
        group = start // GROUP
        live = row < tl.where(start < k, m, 0)
        x_scale = tl.load(x_scales + group * m + row, mask=live, other=0.0)
        acc += product * (scale[:, None] * x_scale[None, :])
        if ZERO != 0:
            if GROUP != 32 * M:  # a sum is that of a whole group: take it once
                live = row < tl.where((start < k) & (start % GROUP == 0), m, 0)
            x_sum = tl.load(x_sums + group * m + row, mask=live, other=0.0)
            scale = scale * 16.0
            shift = scale * (8.0 - zeros) if ZERO == 1 else zeros + 8.0 * scale
            acc += shift[:, None] * x_sum[None, :]
        return acc
    else:
        codes = float_weights(words, zeros, BLOCK_N, M, WARPS, TYPE, PAIRS, BITS, ZERO)
        if FOLD:
            if not INTERPRETED:
                scale = scale.to(TYPE)
                zeros = zeros.to(TYPE)
            codes = codes * scale[:, None]
            if ZERO == 2:
                codes = codes + zeros[:, None]
            acc += dot(codes, values)
        else:
            acc += dot(codes, values) * scale[:, None]
            if ZERO == 2:
                acc += zeros[:, None] * tl.sum(values.to(tl.float32), axis=0)[None, :]
        return acc


@triton.jit
def per_group(values, start, column, n, k, GROUP: tl.constexpr, USED: tl.constexpr):
    """The scales (or zeros) of a block of rows in the group at ``start``; zeros beyond K."""
    if USED:
        # (The interpreter cannot combine a block of truth values with a single one.)
        inside = column < tl.where(start < k, n, 0)
        return tl.load(values + (start // GROUP) * n + column, mask=inside, other=0.0)
    else:
        return tl.zeros([column.shape[0]], tl.float16)


@triton.jit
def block_groups(values, start, column, n, k, STEP: tl.constexpr, PARTS: tl.constexpr,
                 GROUP: tl.constexpr, USED: tl.constexpr):  # fmt: skip
    """`per_group` for each part of a block; four of them, the last ones repeated."""
    first = per_group(values, start, column, n, k, GROUP, USED)
    if PARTS == 1:
        return (first, first, first, first)
    second = per_group(values, start + STEP, column, n, k, GROUP, USED)
    if PARTS == 2:
        return (first, second, second, second)
    else:
        third = per_group(values, start + 2 * STEP, column, n, k, GROUP, USED)
        fourth = per_group(values, start + 3 * STEP, column, n, k, GROUP, USED)
        return (first, second, third, fourth)


@triton.jit
def accumulate(acc, x, x_scales, x_sums, words, scales, zeros, first, last, column, row, m, n, k,
               stride_x, GROUP: tl.constexpr, BITS: tl.constexpr, ZERO: tl.constexpr,
               INTEGER: tl.constexpr, FOLD: tl.constexpr, EVEN: tl.constexpr,
               TYPE: tl.constexpr, PAIRS: tl.constexpr, PARTS: tl.constexpr,
               BLOCK_N: tl.constexpr, WARPS: tl.constexpr):  # fmt: skip
    """Add the product over the blocks of K from ``first`` up to ``last``."""
    BLOCK: tl.constexpr = 128 if BITS == 4 else 64
    STEP: tl.constexpr = BLOCK // PARTS
    M: tl.constexpr = STEP // 32
    source = shuffle_rows(tl.arange(0, BLOCK_N), WARPS)
    source += column - tl.arange(0, BLOCK_N)
    word = tl.arange(0, 16)
    scale = block_groups(scales, first * BLOCK, column, n, k, STEP, PARTS, GROUP, True)
    zero = block_groups(zeros, first * BLOCK, column, n, k, STEP, PARTS, GROUP, ZERO != 0)
    for block in range(first, last):
        start = block * BLOCK
        packed = tl.load(
            words + (block * n + source[:, None]) * 16 + word[None, :],
            mask=(source < n)[:, None],
            other=0,
        ).to(tl.uint32, bitcast=True)
        # One block ahead: these small loads are not part of the pipeline that ends in shared
        # memory.
        ahead = start + BLOCK
        next_scale = block_groups(scales, ahead, column, n, k, STEP, PARTS, GROUP, True)
        next_zero = block_groups(zeros, ahead, column, n, k, STEP, PARTS, GROUP, ZERO != 0)
        if PARTS == 1:
            whole = tl.reshape(packed, [BLOCK_N, 4, 4] if BITS == 4 else [BLOCK_N, 4, 2, 2])
            acc = part(acc, whole, scale[0], zero[0], x, x_scales, x_sums, start, row, m, k,
                       stride_x, M, GROUP, BITS, ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS,
                       BLOCK_N, WARPS)  # fmt: skip
        else:
            low, high = tl.split(tl.reshape(packed, [BLOCK_N, 4, 2, 2]))
            if PARTS == 2:
                if BITS == 8:
                    low = tl.reshape(low, [BLOCK_N, 4, 2, 1])
                    high = tl.reshape(high, [BLOCK_N, 4, 2, 1])
                acc = part(acc, low, scale[0], zero[0], x, x_scales, x_sums, start, row, m, k,
                           stride_x, M, GROUP, BITS, ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS,
                           BLOCK_N, WARPS)  # fmt: skip
                acc = part(acc, high, scale[1], zero[1], x, x_scales, x_sums, start + STEP, row,
                           m, k, stride_x, M, GROUP, BITS, ZERO, INTEGER, FOLD, EVEN, TYPE,
                           PAIRS, BLOCK_N, WARPS)  # fmt: skip
            else:
                first_q, second_q = tl.split(low)
                third_q, fourth_q = tl.split(high)
                acc = part(acc, tl.reshape(first_q, [BLOCK_N, 4, 1]), scale[0], zero[0], x,
                           x_scales, x_sums, start, row, m, k, stride_x, M, GROUP, BITS, ZERO,
                           INTEGER, FOLD, EVEN, TYPE, PAIRS, BLOCK_N, WARPS)  # fmt: skip
                acc = part(acc, tl.reshape(second_q, [BLOCK_N, 4, 1]), scale[1], zero[1], x,
                           x_scales, x_sums, start + 32, row, m, k, stride_x, M, GROUP, BITS,
                           ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS, BLOCK_N, WARPS)  # fmt: skip
                acc = part(acc, tl.reshape(third_q, [BLOCK_N, 4, 1]), scale[2], zero[2], x,
                           x_scales, x_sums, start + 64, row, m, k, stride_x, M, GROUP, BITS,
                           ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS, BLOCK_N, WARPS)  # fmt: skip
                acc = part(acc, tl.reshape(fourth_q, [BLOCK_N, 4, 1]), scale[3], zero[3], x,
                           x_scales, x_sums, start + 96, row, m, k, stride_x, M, GROUP, BITS,
                           ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS, BLOCK_N, WARPS)  # fmt: skip
        scale = next_scale
        zero = next_zero
    return acc


@triton.jit
def finish(acc, y, partial, counters, bias, column, row, m, n, split, counter,
           SPLIT: tl.constexpr, BIAS: tl.constexpr):  # fmt: skip
    """Store the outputs; of several programs for one tile the last to come adds up, in order."""
    inside = (column < n)[:, None] & (row < m)[None, :]
    offsets = row[None, :] * n + column[:, None]
    if SPLIT > 1:
        tl.store(partial + split * m * n + offsets, acc, mask=inside)
        tl.debug_barrier()
        last = tl.atomic_add(counters + counter, 1, sem="acq_rel") == SPLIT - 1
    else:
        last = True
    if last:
        if SPLIT > 1:
            acc = tl.zeros(acc.shape, tl.float32)
            for other in range(SPLIT):
                # Past the first-level cache: other processors wrote these.
                acc += tl.load(
                    partial + other * m * n + offsets, mask=inside, other=0.0, cache_modifier=".cg"
                )
            tl.store(counters + counter, 0)
        if BIAS:
            acc += tl.load(bias + column, mask=column < n, other=0.0).to(tl.float32)[:, None]
        tl.store(y + offsets, acc.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["m"])
def linear(y, partial, counters, x, x_scales, x_sums, words, scales, zeros, bias, m, n, k, blocks,
           stride_x, GROUP: tl.constexpr, BITS: tl.constexpr, ZERO: tl.constexpr,
           INTEGER: tl.constexpr, FOLD: tl.constexpr, EVEN: tl.constexpr, TYPE: tl.constexpr,
           PAIRS: tl.constexpr, PARTS: tl.constexpr, SPLIT: tl.constexpr, BIAS: tl.constexpr,
           BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WARPS: tl.constexpr):  # fmt: skip
    """y [m, n] = x [m, k] @ weights.T; grid (blocks of n, blocks of m, SPLIT)."""
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    split = tl.program_id(2)
    each = tl.cdiv(blocks, SPLIT)
    first = split * each
    last = tl.minimum(first + each, blocks)
    acc = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    acc = accumulate(acc, x, x_scales, x_sums, words, scales, zeros, first, last, column, row, m,
                     n, k, stride_x, GROUP, BITS, ZERO, INTEGER, FOLD, EVEN, TYPE, PAIRS, PARTS,
                     BLOCK_N, WARPS)  # fmt: skip
    finish(acc, y, partial, counters, bias, column, row, m, n, split, tl.program_id(0), SPLIT, BIAS)


@triton.jit
def round_even(values):
    """To the nearest integer, ties to even, for float32 below 2**22 in size."""
    return (values + ROUNDER) - ROUNDER


@triton.jit
def quantize_groups(values, LEVELS: tl.constexpr, LOWEST: tl.constexpr, clip):
    """Symmetric codes (float32) and scales of [groups, columns]; a NaN or infinity: NaN scale."""
    finite = tl.abs(values) < float("inf")  # false for NaN
    highest = tl.max(tl.where(finite, tl.abs(values), float("inf")), axis=1) * clip
    scale = tl.where(highest < float("inf"), highest / LEVELS, float("nan"))
    some = tl.maximum(highest, 1.0e-36)  # below it everything rounds to 0, and 1 / x overflows
    inverse = tl.math.div_rn(tl.full(some.shape, LEVELS, tl.float32), some)
    scaled = tl.where(finite, values, 0.0) * inverse[:, None]
    codes = round_even(tl.minimum(tl.maximum(scaled, LOWEST), LEVELS))
    return codes, scale


@triton.jit(do_not_specialize=["m"])
def quantize_rows(codes, scales, sums, x, m, k, padded, stride_x, GROUP: tl.constexpr,
                  WIDTH: tl.constexpr, GROUPS: tl.constexpr, SUMS: tl.constexpr):  # fmt: skip
    """Activations to INT8 per row and group, in the order of `integer_order`.

    Grid (m, blocks of GROUPS groups). ``codes`` int8 [m, padded], ``scales`` float32
    [groups, m], ``sums`` (scale x sum of codes) likewise. WIDTH is GROUP or the next power of 2.
    """
    row = tl.program_id(0)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    within = tl.arange(0, WIDTH)
    position = group[:, None] * GROUP + within[None, :]
    live = (within < GROUP)[None, :]
    column = integer_order(position)
    values = tl.load(x + row * stride_x + column, mask=live & (column < k), other=0.0)
    found, scale = quantize_groups(values.to(tl.float32), 127.0, -127.0, 1.0)
    tl.store(codes + row * padded + position, found.to(tl.int8), mask=live & (position < padded))
    inside = group * GROUP < k
    tl.store(scales + group * m + row, scale, mask=inside)
    if SUMS:
        tl.store(sums + group * m + row, scale * tl.sum(found, axis=1), mask=inside)
