# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, RET505, SIM300
"""Packed words to matrix operands, inside kernels. `kernels.triton.layout` has the order."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.launch import INTERPRETED


@triton.jit
def dot(a, b):
    """The matrix product in float32, of operands of one floating type."""
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32))
    else:
        return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
def minus(values, number: tl.constexpr):
    """``values - number``; the interpreter cannot subtract bfloat16."""
    if INTERPRETED:
        return values.to(tl.float32) - number
    else:
        return values - number


@triton.jit
def halves(words, TYPE: tl.constexpr):
    """uint32 [...] to the two 16-bit floats [..., 2] that its bits are."""
    low = words.to(tl.uint16).to(TYPE, bitcast=True)
    return tl.join(low, (words >> 16).to(tl.uint16).to(TYPE, bitcast=True))


@triton.jit
def bytes_of(words, position: tl.constexpr):
    """A byte of every word as a signed number."""
    return (words >> (8 * position)).to(tl.int8)


@triton.jit
def shuffle_rows(rows, WARPS: tl.constexpr):
    """Which row of a tile to load at each position, so that threads get the rows they multiply.

    A coalesced load gives warp w the rows ``8 w`` to ``8 w + 7``, then, a round later, eight
    more; the tensor cores want ``16 w`` to ``16 w + 15`` there.
    """
    within = rows % 8 + rows // 8 % WARPS * 16 + rows // (8 * WARPS) % 2 * 8
    return rows // (16 * WARPS) * (16 * WARPS) + within


@triton.jit
def order_of(position, PAIRS: tl.constexpr):
    """Where in K the column at ``position`` of a floating operand lies."""
    if PAIRS == 2:
        return position
    else:
        return (
            position // 16 * 16
            + position // 2 % 2 * 8
            + position // 4 % 4 * 2
            + position % 2
        )  # fmt: skip


@triton.jit
def float_codes4(words, TYPE: tl.constexpr):
    """uint32 [rows, 4, M] to unsigned codes plus 1024 or 128, [rows, 4 t, M, c, j, e].

    The magic numbers put a code into the mantissa of 1024 (float16) or 128 (bfloat16); the
    exclusive or also makes signed codes unsigned. One instruction gives two values.
    """
    mask: tl.constexpr = 0x000F000F
    if TYPE == tl.float16:
        magic: tl.constexpr = 0x64086408
    else:
        magic: tl.constexpr = 0x43084308
    even = tl.join((words & mask) ^ magic, ((words >> 8) & mask) ^ magic)
    odd = tl.join(((words >> 4) & mask) ^ magic, ((words >> 12) & mask) ^ magic)
    return halves(tl.join(even, odd), TYPE)


@triton.jit
def float_operand(values, ROWS: tl.constexpr, M: tl.constexpr, WARPS: tl.constexpr,
                  PAIRS: tl.constexpr, BITS: tl.constexpr):  # fmt: skip
    """[ROWS, 4 t, M, c, j, e] (8 bits: [ROWS, 4 t, j, m, c, e]) to an operand [ROWS, columns]."""
    if BITS == 4:
        if M == 4:  # words are in the order (m % 2, m // 2)
            parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, 2, 2, 2, 2, 2])
            if PAIRS == 2:
                parts = tl.permute(parts, (0, 2, 1, 3, 6, 5, 7, 8, 4, 9))
            else:
                parts = tl.permute(parts, (0, 2, 1, 3, 6, 5, 7, 4, 8, 9))
        else:
            parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, M, 2, 2, 2])
            if PAIRS == 2:
                parts = tl.permute(parts, (0, 2, 1, 3, 5, 6, 7, 4, 8))
            else:
                parts = tl.permute(parts, (0, 2, 1, 3, 5, 6, 4, 7, 8))
    else:
        parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, 2, M, 2, 2])
        if PAIRS == 2:
            parts = tl.permute(parts, (0, 2, 1, 3, 6, 7, 5, 4, 8))
        else:
            parts = tl.permute(parts, (0, 2, 1, 3, 6, 7, 4, 5, 8))
    return tl.reshape(parts, [ROWS, 32 * M])


@triton.jit
def float_codes8(words, TYPE: tl.constexpr):
    """uint32 [ROWS, 4, 2, M] to signed codes [ROWS, 4 t, j, m, c, e]."""
    if TYPE == tl.float16:
        mask: tl.constexpr = 0x00FF00FF
        magic: tl.constexpr = 0x64806480
        packed = tl.join((words & mask) ^ magic, ((words >> 8) & mask) ^ magic)
        return halves(packed, TYPE) - 1152.0
    else:
        low = tl.join(bytes_of(words, 0), bytes_of(words, 1))
        values = tl.join(low, tl.join(bytes_of(words, 2), bytes_of(words, 3)))
        return values.to(tl.float32 if INTERPRETED else TYPE)


@triton.jit
def integer_codes4(words, ROWS: tl.constexpr, M: tl.constexpr, WARPS: tl.constexpr):
    """uint32 [ROWS, 4, M] to sixteen times the signed codes, int8 [ROWS, 32 M].

    Columns are in the order of `integer_order`.
    """
    mask: tl.constexpr = 0xF0F0F0F0
    planes = tl.join((words << 4) & mask, words & mask)
    first = tl.join(bytes_of(planes, 0), bytes_of(planes, 2))
    values = tl.join(first, tl.join(bytes_of(planes, 1), bytes_of(planes, 3)))
    if M == 4:
        parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, 2, 2, 2, 4])
        parts = tl.permute(parts, (0, 2, 1, 3, 6, 5, 7, 4, 8))
    else:
        parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, M, 2, 4])
        parts = tl.permute(parts, (0, 2, 1, 3, 5, 6, 4, 7))
    return tl.reshape(parts, [ROWS, 32 * M])


@triton.jit
def integer_codes8(words, ROWS: tl.constexpr, M: tl.constexpr, WARPS: tl.constexpr):
    """uint32 [ROWS, 4, 2, M] to the codes, int8 [ROWS, 32 M], in the order of `integer_order`."""
    first = tl.join(bytes_of(words, 0), bytes_of(words, 2))
    values = tl.join(first, tl.join(bytes_of(words, 1), bytes_of(words, 3)))
    parts = tl.reshape(values, [ROWS // (16 * WARPS), 2, WARPS, 8, 4, 2, M, 4])
    parts = tl.permute(parts, (0, 2, 1, 3, 6, 5, 4, 7))
    return tl.reshape(parts, [ROWS, 32 * M])


@triton.jit
def integer_order(position):
    """Where in K the value at ``position`` of quantized activations lies.

    Position ``32 m + 16 j + 4 t + 2 e + c`` holds column ``32 m + 16 c + 8 j + 2 t + e``.
    """
    return (
        position // 32 * 32
        + position % 2 * 16
        + position // 16 % 2 * 8
        + position // 4 % 4 * 2
        + position // 2 % 2
    )  # fmt: skip
