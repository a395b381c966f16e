# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, N806, RET505, SIM300
"""Kernels of attention over pages of keys and values, in 16, 8 or 4 bits."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.triton.codes import halves, minus
from kernels.triton.launch import INTERPRETED


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """The matrix product in float32."""
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32))
    else:
        return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def dimension_of(position, BITS: tl.constexpr):
    """Which dimension of a head stands at ``position`` of an unpacked row of codes."""
    if BITS == 8:
        return position // 4 * 4 + position % 2 * 2 + position // 2 % 2
    elif BITS == 4:
        return position // 8 * 8 + position % 2 * 4 + position // 2 % 4
    else:
        return position


@triton.jit
def unpack(words, BITS: tl.constexpr, TYPE: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """uint32 [ROWS, words] to codes [ROWS, WIDTH] in the order of `dimension_of`.

    Codes go into the mantissa of 1024 (float16), two with one instruction.
    """
    magic: tl.constexpr = 0x64006400
    if BITS == 8:
        mask8: tl.constexpr = 0x00FF00FF
        packed = tl.join((words & mask8) | magic, ((words >> 8) & mask8) | magic)
    else:
        mask4: tl.constexpr = 0x000F000F
        even = tl.join((words & mask4) | magic, ((words >> 8) & mask4) | magic)
        odd = tl.join(((words >> 4) & mask4) | magic, ((words >> 12) & mask4) | magic)
        packed = tl.join(even, odd)
    codes = tl.reshape(minus(halves(packed, tl.float16), 1024.0), [ROWS, WIDTH])
    if TYPE == tl.float32:
        return codes.to(tl.float32)
    else:
        return codes


@triton.jit
def find_block(unit, query_indptr, sequences, SEQUENCES: tl.constexpr, GROUP: tl.constexpr,
               BLOCK_M: tl.constexpr):  # fmt: skip
    """The sequence (``sequences`` if none) and the block of its (query, head) rows."""
    index = tl.arange(0, SEQUENCES)
    live = index < sequences
    queries = tl.load(query_indptr + index + 1, mask=live, other=0)
    queries -= tl.load(query_indptr + index, mask=live, other=0)
    blocks = (queries * GROUP + BLOCK_M - 1) // BLOCK_M
    upto = tl.cumsum(blocks, axis=0)
    sequence = tl.sum((live & (upto <= unit)).to(tl.int32), axis=0)
    return sequence, unit - tl.sum(tl.where(index < sequence, blocks, 0), axis=0)


@triton.jit
def stored(codes, params, place, full, slot, live, BITS: tl.constexpr, TYPE: tl.constexpr,
           ROWS: tl.constexpr, WIDTH: tl.constexpr):  # fmt: skip
    """Codes [ROWS, WIDTH] of tokens as numbers of TYPE, their scales and minima [ROWS]."""
    if BITS == 16:
        return tl.load(codes + place, mask=full, other=0.0).to(TYPE), 1.0, 0.0
    else:
        words = tl.load(codes + place, mask=full, other=0).to(tl.uint32, bitcast=True)
        both = tl.load(params + slot, mask=live, other=0)
        scale = (both & 0xFFFF).to(tl.uint16).to(tl.float16, bitcast=True)
        minimum = ((both >> 16) & 0xFFFF).to(tl.uint16).to(tl.float16, bitcast=True)
        return unpack(words, BITS, TYPE, ROWS, WIDTH), scale, minimum


@triton.jit
def look(acc, highest, weight, mine, total, factor, start, last, position, head, keys, values,
         key_params, value_params, table, HEADS: tl.constexpr, SIZE: tl.constexpr,
         WIDTH: tl.constexpr, PADDED: tl.constexpr, BITS: tl.constexpr, TYPE: tl.constexpr,
         PRECISION: tl.constexpr, BLOCK_S: tl.constexpr, MASKED: tl.constexpr):  # fmt: skip
    """One step of the online softmax over the BLOCK_S tokens from ``start``.

    With MASKED some are past ``last`` or later than a row's ``position``; what they hold, NaN
    too, does not count then. A NaN or infinity in a visible value makes the row's head NaN.
    """
    PER: tl.constexpr = 1 if BITS == 16 else 32 // BITS
    token = start + tl.arange(0, BLOCK_S)
    live = token < last
    page = tl.load(table + token // SIZE, mask=live, other=0)
    slot = (page.to(tl.int64) * HEADS + head) * SIZE + token % SIZE
    word = tl.arange(0, PADDED // PER)
    place = slot[:, None] * (WIDTH // PER) + word[None, :]
    full = live[:, None] & (word < WIDTH // PER)[None, :]
    k, scale, minimum = stored(
        keys, key_params, place, full, slot, live, BITS, TYPE, BLOCK_S, PADDED
    )
    scores = product(mine, tl.trans(k), PRECISION)
    if BITS != 16:
        scores = scores * scale.to(tl.float32)[None, :]
        scores += total[:, None] * minimum.to(tl.float32)[None, :]
    scores = scores * factor
    if MASKED:
        visible = (token[None, :] <= position[:, None]) & live[None, :]
        scores = tl.where(visible, scores, float("-inf"))
    found = tl.maximum(highest, tl.max(scores, axis=1))
    base = tl.where(found == float("-inf"), 0.0, found)
    share = tl.exp2(scores - base[:, None])
    fading = tl.exp2(highest - base)
    weight = weight * fading + tl.sum(share, axis=1)
    v, scale, minimum = stored(
        values, value_params, place, full, slot, live, BITS, TYPE, BLOCK_S, PADDED
    )
    if BITS != 16:
        if TYPE == tl.float32 or INTERPRETED:
            v = v * scale.to(tl.float32)[:, None] + minimum.to(tl.float32)[:, None]
        else:
            v = v * scale[:, None] + minimum[:, None]
    if MASKED:
        finite = tl.abs(v) < float("inf")  # false for NaN
        broken = tl.max((~finite).to(tl.int32), axis=1) > 0
        v = tl.where(finite, v, 0.0)
        weight += tl.sum(tl.where(visible & broken[None, :], float("nan"), 0.0), axis=1)
    acc = acc * fading[:, None] + product(share.to(v.dtype), v, PRECISION)
    return acc, found, weight


@triton.jit(do_not_specialize=["tokens", "sequences", "table_width"])
def attend(out, partial, statistics, q, keys, values, key_params, value_params, block_tables,
           context_lens, query_indptr, tokens, sequences, table_width, stride_token, stride_head,
           scale, HEADS: tl.constexpr, GROUP: tl.constexpr, SIZE: tl.constexpr,
           WIDTH: tl.constexpr, PADDED: tl.constexpr, BITS: tl.constexpr, TYPE: tl.constexpr,
           PRECISION: tl.constexpr, SEQUENCES: tl.constexpr, SPLIT: tl.constexpr,
           BLOCK_M: tl.constexpr, BLOCK_S: tl.constexpr):  # fmt: skip
    """Attention of a block of (query, head) rows over a part of the context.

    Grid (units, HEADS key-value heads, SPLIT). With SPLIT > 1 the parts go to ``partial`` float32
    [SPLIT, tokens, heads, WIDTH] and ``statistics`` [SPLIT, tokens, heads, 2] (maximum, sum).
    """
    sequence, block = find_block(
        tl.program_id(0), query_indptr, sequences, SEQUENCES, GROUP, BLOCK_M
    )
    head = tl.program_id(1)
    split = tl.program_id(2)
    if sequence < sequences:
        begin = tl.load(query_indptr + sequence)
        queries = tl.load(query_indptr + sequence + 1) - begin
        context = tl.load(context_lens + sequence)
        row = block * BLOCK_M + tl.arange(0, BLOCK_M)
        query = row // GROUP
        inside = query < queries
        position = context - queries + query
        column = dimension_of(tl.arange(0, PADDED), BITS)
        real = (column < WIDTH)[None, :]
        place = (begin + query) * stride_token + (head * GROUP + row % GROUP) * stride_head
        mine = tl.load(q + place[:, None] + column[None, :], mask=inside[:, None] & real, other=0.0)
        mine = mine.to(TYPE)
        factor = scale * 1.4426950408889634  # exp(x) = 2 ** (x log2 e)
        total = tl.sum(mine.to(tl.float32), axis=1)
        each = tl.cdiv(tl.cdiv(context, SPLIT), BLOCK_S) * BLOCK_S
        first = split * each
        lowest = context - queries + block * BLOCK_M // GROUP
        latest = context - queries + (block * BLOCK_M + BLOCK_M - 1) // GROUP
        last = tl.minimum(tl.minimum(first + each, context), latest + 1)
        middle = tl.minimum(last, lowest + 1) // BLOCK_S * BLOCK_S
        highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
        weight = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, PADDED], tl.float32)
        table = block_tables + sequence * table_width
        for start in range(first, middle, BLOCK_S):
            acc, highest, weight = look(
                acc, highest, weight, mine, total, factor, start, last, position, head, keys,
                values, key_params, value_params, table, HEADS, SIZE, WIDTH, PADDED, BITS, TYPE,
                PRECISION, BLOCK_S, False,
            )  # fmt: skip
        for start in range(tl.maximum(first, middle), last, BLOCK_S):
            acc, highest, weight = look(
                acc, highest, weight, mine, total, factor, start, last, position, head, keys,
                values, key_params, value_params, table, HEADS, SIZE, WIDTH, PADDED, BITS, TYPE,
                PRECISION, BLOCK_S, True,
            )  # fmt: skip
        heads: tl.constexpr = HEADS * GROUP
        target = ((begin + query) * heads + head * GROUP + row % GROUP).to(tl.int64)
        mask = inside[:, None] & real
        if SPLIT == 1:
            acc = acc / weight[:, None]
            offsets = target[:, None] * WIDTH + column[None, :]
            tl.store(out + offsets, acc.to(out.dtype.element_ty), mask=mask)
        else:
            target += split * tokens * heads
            tl.store(partial + target[:, None] * WIDTH + column[None, :], acc, mask=mask)
            tl.store(statistics + target * 2, highest, mask=inside)
            tl.store(statistics + target * 2 + 1, weight, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def combine(out, partial, statistics, rows, WIDTH: tl.constexpr, PADDED: tl.constexpr,
            SPLIT: tl.constexpr, PARTS: tl.constexpr):  # fmt: skip
    """One row of ``out`` [rows, WIDTH] from its parts; PARTS is SPLIT or the next power of 2."""
    row = tl.program_id(0)
    part = tl.arange(0, PARTS)
    column = tl.arange(0, PADDED)
    inside = part < SPLIT
    place = part * rows + row
    highest = tl.load(statistics + place * 2, mask=inside, other=float("-inf"))
    weight = tl.load(statistics + place * 2 + 1, mask=inside, other=0.0)
    share = tl.exp2(highest - tl.max(highest, axis=0))
    share = tl.where(weight == 0.0, 0.0, share)
    acc = tl.load(
        partial + place[:, None] * WIDTH + column[None, :],
        mask=inside[:, None] & (column < WIDTH)[None, :],
        other=0.0,
    )
    total = tl.sum(acc * share[:, None], axis=0) / tl.sum(weight * share, axis=0)
    tl.store(out + row * WIDTH + column, total.to(out.dtype.element_ty), mask=column < WIDTH)
