# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, SIM108
"""Kernels of operations on rows: norms, rotary positions, gated activation, embedding."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rms_rows(out, total, x, residual, weight, columns, stride_x, stride_residual, eps,
             ADD: tl.constexpr, BLOCK: tl.constexpr, PASSES: tl.constexpr):  # fmt: skip
    """The norm of a row of x, or with ADD of x + residual, which goes to ``total``.

    Grid (rows). A row of one block stays in registers; a longer one is read again.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    square = tl.zeros([BLOCK], tl.float32)
    values = tl.zeros([BLOCK], tl.float32)
    for part in range(PASSES):
        place = part * BLOCK + column
        inside = place < columns
        values = tl.load(x + row * stride_x + place, mask=inside, other=0.0)
        if ADD:
            other = tl.load(residual + row * stride_residual + place, mask=inside, other=0.0)
            summed = values.to(tl.float32) + other.to(tl.float32)
            values = summed.to(x.dtype.element_ty)
            tl.store(total + row * columns + place, values, mask=inside)
        values = values.to(tl.float32)
        square += values * values
    scale = tl.rsqrt(tl.sum(square, axis=0) / columns + eps)
    if PASSES == 1:
        factor = tl.load(weight + column, mask=column < columns, other=0.0).to(tl.float32)
        normed = values * scale * factor
        tl.store(
            out + row * columns + column, normed.to(out.dtype.element_ty), mask=column < columns
        )
    else:
        if ADD:
            source = total + row * columns
        else:
            source = x + row * stride_x
        for part in range(PASSES):
            place = part * BLOCK + column
            inside = place < columns
            values = tl.load(source + place, mask=inside, other=0.0).to(tl.float32)
            factor = tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
            normed = values * scale * factor
            tl.store(out + row * columns + place, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def turn(out, x, cosine, sine, token, heads, stride_token, stride_head, HALF: tl.constexpr,
         BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr):  # fmt: skip
    """Turn dimension i of all heads of a token with dimension i + HALF."""
    dimension = tl.arange(0, BLOCK_D)[None, :]
    for first in range(0, heads, BLOCK_H):
        head = first + tl.arange(0, BLOCK_H)[:, None]
        inside = (head < heads) & (dimension < HALF)
        place = token * stride_token + head * stride_head + dimension
        left = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
        right = tl.load(x + place + HALF, mask=inside, other=0.0).to(tl.float32)
        target = out + (token * heads + head) * (2 * HALF) + dimension
        kind = out.dtype.element_ty
        tl.store(target, (left * cosine - right * sine).to(kind), mask=inside)
        tl.store(target + HALF, (right * cosine + left * sine).to(kind), mask=inside)


@triton.jit(do_not_specialize=["heads", "kv_heads"])
def rotate(q_out, k_out, q, k, positions, cosines, sines, heads, kv_heads, stride_q, stride_qh,
           stride_k, stride_kh, HALF: tl.constexpr, BLOCK_H: tl.constexpr,
           BLOCK_D: tl.constexpr):  # fmt: skip
    """Rotary positions of one token's queries and keys; grid (tokens)."""
    token = tl.program_id(0).to(tl.int64)
    position = tl.load(positions + token).to(tl.int64)
    dimension = tl.arange(0, BLOCK_D)
    inside = dimension < HALF
    cosine = tl.load(cosines + position * HALF + dimension, mask=inside, other=0.0)[None, :]
    sine = tl.load(sines + position * HALF + dimension, mask=inside, other=0.0)[None, :]
    turn(q_out, q, cosine, sine, token, heads, stride_q, stride_qh, HALF, BLOCK_H, BLOCK_D)
    turn(k_out, k, cosine, sine, token, kv_heads, stride_k, stride_kh, HALF, BLOCK_H, BLOCK_D)


@triton.jit
def gated(out, gate_up, columns, stride, BLOCK: tl.constexpr):
    """silu(gate) * up; grid (rows, blocks of columns)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < columns
    gate = tl.load(gate_up + row * stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * stride + columns + column, mask=inside, other=0.0).to(tl.float32)
    value = gate * tl.sigmoid(gate) * up
    tl.store(out + row * columns + column, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def gather(out, ids, table, rows, columns, stride, BLOCK: tl.constexpr):
    """Rows of a table; an id outside it gives NaN. Grid (tokens, blocks of columns)."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(ids + token).to(tl.int64)
    known = (row >= 0) & (row < rows)
    inside = column < tl.where(known, columns, 0)
    values = tl.load(table + row * stride + column, mask=inside, other=float("nan"))
    tl.store(out + token * columns + column, values, mask=column < columns)


@triton.jit
def gather_codes(out, ids, codes, scales, zeros, rows, columns, groups, GROUP: tl.constexpr,
                 BITS: tl.constexpr, ZERO: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """`gather` of a quantized table [rows, columns] in its canonical form, as float32."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(ids + token).to(tl.int64)
    known = (row >= 0) & (row < rows)
    inside = column < tl.where(known, columns, 0)
    if BITS == 4:
        packed = tl.load(codes + row * (columns // 2) + column // 2, mask=inside, other=0)
        value = ((packed.to(tl.int32) >> (column % 2 * 4)) & 15).to(tl.float32)
    else:
        value = tl.load(codes + row * columns + column, mask=inside, other=0).to(tl.float32)
    place = row * groups + column // GROUP
    scale = tl.load(scales + place, mask=inside, other=float("nan")).to(tl.float32)
    if ZERO == 0:
        value = scale * (value - 8.0 if BITS == 4 else value)
    else:
        zero = tl.load(zeros + place, mask=inside, other=0).to(tl.float32)
        value = scale * (value - zero) if ZERO == 1 else scale * value + zero
    tl.store(out + token * columns + column, value, mask=column < columns)
