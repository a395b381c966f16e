# type: ignore  (Triton's language has its own rules for constants, branches and types)
# ruff: noqa: N803, SIM108
"""Kernels that draw tokens: chunks of the vocabulary first, then one program per row."""

from __future__ import annotations

import triton
import triton.language as tl

LOWEST = tl.constexpr(-2147483648)


@triton.jit
def survey(highest, first, weight, logits, temperature, vocabulary, stride,
           BLOCK: tl.constexpr):  # fmt: skip
    """Maximum, its first token, and weight of a chunk; grid (rows, chunks).

    The weight is the sum of exp((logit - maximum) / temperature). Where a logit is NaN or plus
    infinity the maximum is NaN.
    """
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    token = chunk * BLOCK + tl.arange(0, BLOCK)
    inside = token < vocabulary
    values = tl.load(logits + row * stride + token, mask=inside, other=float("-inf"))
    values = values.to(tl.float32)
    bad = tl.max((~(values < float("inf"))).to(tl.int32), axis=0)
    peak = tl.max(values, axis=0)
    heat = tl.load(temperature + row)
    base = tl.where(peak == float("-inf"), 0.0, peak)
    share = tl.exp((values - base) / tl.where(heat > 0.0, heat, 1.0))
    place = row * tl.num_programs(1) + chunk
    tl.store(highest + place, tl.where(bad > 0, float("nan"), peak))
    tl.store(first + place, tl.min(tl.where(values == peak, token, vocabulary), axis=0))
    tl.store(weight + place, tl.sum(share.to(tl.float64), axis=0))


@triton.jit
def key_of(values):
    """int32 in the order of float32 numbers (NaN aside); both zeros are equal."""
    bits = (values + 0.0).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def above(pool, count, bound, peak, heat, BLOCK: tl.constexpr):
    """The weight of the collected logits whose key is above ``bound``."""
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        values = tl.load(pool + place, mask=place < count, other=float("-inf"))
        share = tl.exp((values - peak) / heat)
        total += tl.where(key_of(values) > bound, share, 0.0).to(tl.float64)
    return tl.sum(total, axis=0)


@triton.jit
def least_bound(pool, count, limit, low, high, peak, heat, STRICT: tl.constexpr,
                BLOCK: tl.constexpr):  # fmt: skip
    """The least key in (low, high] above which less than ``limit`` lies (not STRICT: at most)."""
    low = low.to(tl.int64)
    high = high.to(tl.int64)
    while low + 1 < high:
        middle = (low + high) >> 1
        found = above(pool, count, middle.to(tl.int32), peak, heat, BLOCK)
        if STRICT:
            enough = found < limit
        else:
            enough = found <= limit
        low = tl.where(enough, low, middle)
        high = tl.where(enough, middle, high)
    return high.to(tl.int32)


@triton.jit
def members(pool, count, key, BLOCK: tl.constexpr):
    """How many of the collected logits have a key, and one of those logits."""
    number = 0
    value = float("-inf")
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        values = tl.load(pool + place, mask=place < count, other=float("-inf"))
        same = (key_of(values) == key) & (place < count)
        number += tl.sum(same.to(tl.int32), axis=0)
        value = tl.maximum(value, tl.max(tl.where(same, values, float("-inf")), axis=0))
    return number, value


@triton.jit
def collect(pool, tokens, logits, vocabulary, bound, BLOCK: tl.constexpr):
    """Copy logits of at least ``bound`` and their tokens, in order; how many they are."""
    count = 0
    for start in range(0, vocabulary, BLOCK):
        token = start + tl.arange(0, BLOCK)
        values = tl.load(logits + token, mask=token < vocabulary, other=float("-inf"))
        values = values.to(tl.float32)
        kept = (values >= bound) & (values > float("-inf"))
        number = kept.to(tl.int32)
        place = count + tl.cumsum(number, axis=0) - 1
        tl.store(pool + place, values, mask=kept)
        tl.store(tokens + place, token, mask=kept)
        count += tl.sum(number, axis=0)
    return count


@triton.jit
def member(pool, tokens, count, key, rank, BLOCK: tl.constexpr):
    """The token of the collected logit that is number ``rank`` of those with a key."""
    before = 0
    token = 0
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        values = tl.load(pool + place, mask=place < count, other=float("-inf"))
        same = (key_of(values) == key) & (place < count)
        number = before + tl.cumsum(same.to(tl.int32), axis=0) - 1
        own = tl.load(tokens + place, mask=same & (number == rank), other=0)
        token += tl.sum(own, axis=0)
        before += tl.sum(same.to(tl.int32), axis=0)
    return token


@triton.jit
def choose(out, pool, tokens, highest, first, weight, logits, draws, temperature, top_p,
           vocabulary, chunks, stride, CHUNKS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """The token of a row; -1 where logits or numbers are out of range. Grid (rows)."""
    row = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, CHUNKS)
    inside = index < chunks
    place = row * chunks + index
    peaks = tl.load(highest + place, mask=inside, other=float("-inf"))
    peak = tl.max(peaks, axis=0)
    bad = tl.max((peaks != peaks).to(tl.int32), axis=0) > 0
    heat = tl.load(temperature + row)
    kept = tl.load(top_p + row)
    draw = tl.load(draws + row)
    valid = (peak > float("-inf")) & (heat >= 0.0) & (kept > 0.0) & (draw >= 0.0) & (draw < 1.0)
    source = logits + row * stride
    if bad | (valid == 0):
        token = tl.full([], -1, tl.int32)
    elif heat == 0.0:
        firsts = tl.load(first + place, mask=inside, other=0)
        token = tl.min(tl.where(peaks == peak, firsts, vocabulary), axis=0)
    else:
        weights = tl.load(weight + place, mask=inside, other=0.0)
        weights = weights * tl.exp((peaks - peak) / heat).to(tl.float64)
        total = tl.sum(weights, axis=0)
        if kept >= 1.0:
            upto = tl.cumsum(weights, axis=0)
            target = draw * total
            chunk = tl.sum((inside & (upto <= target)).to(tl.int32), axis=0)
            # Rounding may step past the last chunk, and the last token, with weight.
            chunk = tl.minimum(chunk, tl.max(tl.where(weights > 0.0, index, 0), axis=0))
            before = tl.sum(tl.where(index < chunk, weights, 0.0), axis=0)
            within = tl.arange(0, BLOCK)
            name = chunk * BLOCK + within
            values = tl.load(source + name, mask=name < vocabulary, other=float("-inf"))
            share = tl.exp((values.to(tl.float32) - peak) / heat).to(tl.float64)
            past = (before + tl.cumsum(share, axis=0) <= target).to(tl.int32)
            found = tl.minimum(
                tl.sum(past, axis=0), tl.max(tl.where(share > 0.0, within, 0), axis=0)
            )
            token = chunk * BLOCK + found
        else:
            own = pool + row * vocabulary
            names = tokens + row * vocabulary
            # Logits below this hold less than 1 - top_p together: they are never reached.
            rest = (1.0 - kept) * total.to(tl.float32) / vocabulary
            bound = peak + heat * tl.log(rest)
            bound -= 1e-3 * heat + 1e-5 * tl.abs(peak)
            count = collect(own, names, source, vocabulary, bound, BLOCK)
            tl.debug_barrier()
            top = key_of(peak)
            lower = key_of(bound) - 1
            limit = kept.to(tl.float64) * total
            least = least_bound(own, count, limit, lower, top, peak, heat, True, BLOCK)
            over = above(own, count, least, peak, heat, BLOCK)
            number, value = members(own, count, least, BLOCK)
            each = tl.exp((value - peak) / heat).to(tl.float64)
            some = tl.ceil((limit - over) / each)
            some = tl.minimum(tl.maximum(some, 1.0), number.to(tl.float64)).to(tl.int32)
            target = draw * (over + some.to(tl.float64) * each)
            chosen = least_bound(own, count, target, least - 1, top, peak, heat, False, BLOCK)
            over = above(own, count, chosen, peak, heat, BLOCK)
            number, value = members(own, count, chosen, BLOCK)
            number = tl.where(chosen == least, some, number)
            each = tl.exp((value - peak) / heat).to(tl.float64)
            rank = tl.floor((target - over) / each).to(tl.int32)
            rank = tl.minimum(tl.maximum(rank, 0), number - 1)
            token = member(own, names, count, chosen, rank, BLOCK)
    tl.store(out + row, token.to(tl.int64))
