# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, N806
"""Kernel that writes keys and values into their pages."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.linear_kernels import round_even


@triton.jit
def store_head(codes, params, x, slot, WIDTH: tl.constexpr, PADDED: tl.constexpr,
               BITS: tl.constexpr):  # fmt: skip
    """One head of one token: bfloat16, or codes with a scale and a minimum."""
    if BITS == 16:
        column = tl.arange(0, PADDED)
        inside = column < WIDTH
        values = tl.load(x + column, mask=inside, other=0.0)
        tl.store(codes + slot * WIDTH + column, values.to(tl.float32).to(tl.bfloat16), mask=inside)
    else:
        LEVELS: tl.constexpr = 255.0 if BITS == 8 else 15.0
        pair = tl.arange(0, PADDED // 2)
        column = pair[:, None] * 2 + tl.arange(0, 2)[None, :]
        inside = column < WIDTH
        values = tl.load(x + column, mask=inside, other=0.0).to(tl.float32)
        finite = tl.abs(values) < float("inf")
        low = tl.min(tl.min(tl.where(inside, values, float("inf")), axis=1), axis=0)
        high = tl.max(tl.max(tl.where(inside, values, float("-inf")), axis=1), axis=0)
        good = tl.min(tl.min(finite.to(tl.int32), axis=1), axis=0) == 1
        scale = tl.where(good, tl.math.div_rn(high - low, LEVELS), float("nan")).to(tl.float16)
        minimum = tl.where(good, low, float("nan")).to(tl.float16)
        step = scale.to(tl.float32)
        step = tl.where(step > 0.0, step, 1.0)
        scaled = tl.math.div_rn(
            values - minimum.to(tl.float32), tl.full(values.shape, 1.0, tl.float32) * step
        )
        scaled = tl.where(scaled > 0.0, tl.minimum(scaled, LEVELS), 0.0)  # NaN becomes 0
        found = round_even(scaled).to(tl.int32)
        if BITS == 8:
            tl.store(codes + slot * WIDTH + column, found.to(tl.uint8), mask=inside)
        else:
            even, odd = tl.split(found)
            packed = (even | (odd << 4)).to(tl.uint8)
            tl.store(codes + slot * (WIDTH // 2) + pair, packed, mask=pair < WIDTH // 2)
        tl.store(params + slot * 2, scale)
        tl.store(params + slot * 2 + 1, minimum)


@triton.jit
def write(keys, values, key_params, value_params, k, v, slots, stride_k, stride_kh, stride_v,
          stride_vh, HEADS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr,
          PADDED: tl.constexpr, BITS: tl.constexpr):  # fmt: skip
    """Keys and values of one head of one token into its slot; grid (tokens, heads)."""
    token = tl.program_id(0)
    head = tl.program_id(1)
    slot = tl.load(slots + token)
    if slot >= 0:
        place = (slot // SIZE * HEADS + head) * SIZE + slot % SIZE
        first = token.to(tl.int64)
        store_head(keys, key_params, k + first * stride_k + head * stride_kh, place, WIDTH, PADDED,
                   BITS)  # fmt: skip
        store_head(values, value_params, v + first * stride_v + head * stride_vh, place, WIDTH,
                   PADDED, BITS)  # fmt: skip
