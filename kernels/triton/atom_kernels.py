# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803
"""Kernels of linear layers of mixed precision (Atom)."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.codes import integer_order
from kernels.triton.linear_kernels import accumulate, finish, quantize_groups


@triton.jit
def quantize_part(codes, scales, x, order, group, row, m, count, padded, LEVELS: tl.constexpr,
                  LOWEST: tl.constexpr, clip, GROUP: tl.constexpr,
                  WIDTH: tl.constexpr):  # fmt: skip
    """Quantize the given groups of ``count`` reordered columns, whose order begins at ``order``."""
    within = tl.arange(0, WIDTH)
    position = group[:, None] * GROUP + within[None, :]
    live = (within < GROUP)[None, :]
    reordered = integer_order(position)
    inside = live & (reordered < count)
    column = tl.load(order + reordered, mask=inside, other=0)
    values = tl.load(x + column, mask=inside, other=0.0).to(tl.float32)
    found, scale = quantize_groups(values, LEVELS, LOWEST, clip)
    tl.store(codes + row * padded + position, found.to(tl.int8), mask=live & (position < padded))
    tl.store(scales + group * m + row, scale, mask=group * GROUP < count)


@triton.jit(do_not_specialize=["m", "clip"])
def reorder_quantize(low, low_scales, high, high_scales, x, order, m, low_count, low_padded,
                     high_count, high_padded, stride_x, clip, LOW_PROGRAMS: tl.constexpr,
                     LOW_GROUP: tl.constexpr, LOW_WIDTH: tl.constexpr, HIGH_GROUP: tl.constexpr,
                     HIGH_WIDTH: tl.constexpr, GROUPS: tl.constexpr):  # fmt: skip
    """Activations in the weight's order of columns: INT4 codes, INT8 for the last columns.

    Grid (m, programs for the low part, then for the high part). Codes are int8 in the order of
    `integer_order` within each part; scales are float32 [groups, m].
    """
    row = tl.program_id(0)
    program = tl.program_id(1)
    values = x + row * stride_x
    if program < LOW_PROGRAMS:
        group = program * GROUPS + tl.arange(0, GROUPS)
        quantize_part(low, low_scales, values, order, group, row, m, low_count, low_padded, 7.0,
                      -8.0, clip, LOW_GROUP, LOW_WIDTH)  # fmt: skip
    else:
        group = (program - LOW_PROGRAMS) * GROUPS + tl.arange(0, GROUPS)
        quantize_part(high, high_scales, values, order + low_count, group, row, m, high_count,
                      high_padded, 127.0, -127.0, 1.0, HIGH_GROUP, HIGH_WIDTH)  # fmt: skip


@triton.jit(do_not_specialize=["m"])
def mixed_linear(y, partial, counters, low, low_scales, high, high_scales, low_words,
                 low_weight_scales, high_words, high_weight_scales, m, n, low_count,
                 low_blocks, low_stride, high_count, high_blocks, high_stride,
                 LOW_GROUP: tl.constexpr, LOW_PARTS: tl.constexpr, HIGH_GROUP: tl.constexpr,
                 HIGH_PARTS: tl.constexpr, SPLIT: tl.constexpr,
                 BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, WARPS: tl.constexpr):  # fmt: skip
    """y [m, n] from both parts; grid as `kernels.triton.linear_kernels.linear`."""
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    split = tl.program_id(2)
    acc = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    each = tl.cdiv(low_blocks, SPLIT)
    last = tl.minimum(split * each + each, low_blocks)
    acc = accumulate(acc, low, low_scales, None, low_words, low_weight_scales, None, split * each,
                     last, column, row, m, n, low_count, low_stride, LOW_GROUP, 4, 0, True, False,
                     True, tl.int8, 1, LOW_PARTS, BLOCK_N, WARPS)  # fmt: skip
    each = tl.cdiv(high_blocks, SPLIT)
    last = tl.minimum(split * each + each, high_blocks)
    acc = accumulate(acc, high, high_scales, None, high_words, high_weight_scales, None,
                     split * each, last, column, row, m, n, high_count, high_stride, HIGH_GROUP, 8,
                     0, True, False, True, tl.int8, 1, HIGH_PARTS, BLOCK_N, WARPS)  # fmt: skip
    finish(acc, y, partial, counters, None, column, row, m, n, split, tl.program_id(0), SPLIT,
           False)  # fmt: skip
