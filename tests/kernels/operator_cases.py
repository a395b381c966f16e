"""Random arguments of every operation, with what they must give: for the tests of any back-end.

A case holds plain CPU tensors. ``expected`` is the definition's result in float64, ``check`` holds
a result against it. ``precision`` is the relative error of one product that a back-end may make,
on top of rounding its result: 2^-16 for float32 arithmetic (the CPU), more where it multiplies in
fewer bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from hypothesis import strategies as st

from kernels import reference
from kernels.kv_cache import Kind, KVCache, allocate_kv_cache
from kernels.weights import AtomWeight, QuantizedWeight, pack_nibbles

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
FINE = 2.0**-16

Layout = Literal["plain", "offset", "columns", "rows", "transposed"]
LAYOUTS: tuple[Layout, ...] = ("plain", "offset", "columns", "rows", "transposed")

seeds = st.integers(0, 2**31 - 1)
dtypes = st.sampled_from(FLOATS)
layouts = st.sampled_from(LAYOUTS)


def placed(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The same numbers elsewhere in memory: at an odd address, within a wider tensor, ...

    Numbers around them are NaN, or the largest of their integer format.
    """
    if layout == "plain" or tensor.dim() == 0:
        return tensor.clone(memory_format=torch.contiguous_format)
    around = float("nan") if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max
    if layout == "transposed" and tensor.dim() > 1:
        return tensor.mT.clone(memory_format=torch.contiguous_format).mT
    *lead, last = tensor.shape
    if layout == "offset":
        held = tensor.new_full((tensor.numel() + 3,), around)[3:].view(tensor.shape)
    elif layout == "columns" or tensor.dim() == 1:
        held = tensor.new_full((*lead, last + 5), around)[..., 2 : last + 2]
    else:
        held = tensor.new_full((2 * lead[0] + 1, *lead[1:], last), around)[1::2]
    return held.copy_(tensor)


def close(actual: torch.Tensor, expected: torch.Tensor, bound: torch.Tensor | float = 0.0) -> None:
    """Within ``bound`` of ``expected`` (float64), plus half a unit in the last place and a bit."""
    assert actual.shape == expected.shape
    limits = torch.finfo(actual.dtype)
    rounding = 0.501 * limits.eps * expected.abs() + limits.smallest_normal * limits.eps
    difference = (actual.double() - expected).abs()
    assert not difference.isnan().any(), "NaN, or infinities of which one is expected"
    excess = difference - bound - rounding
    worst = float(excess.max()) if excess.numel() else 0.0
    assert worst <= 0, f"off by {float(difference.max()):.3g}, {worst:.3g} too much"


# Linear layers


@dataclass(frozen=True)
class LinearCase:
    """``x`` times ``weight``, which is on a grid, of mixed precision, or dense."""

    x: torch.Tensor
    weight: QuantizedWeight | AtomWeight | torch.Tensor
    activation_bits: int = 16
    bias: torch.Tensor | None = None
    clip: float = 0.9

    def expected(self) -> torch.Tensor:
        x, bias = self.x.double(), self.bias
        if isinstance(self.weight, AtomWeight):
            return reference.w4a4_linear(x, self.weight, self.clip)
        if isinstance(self.weight, torch.Tensor):
            return reference.dense_linear(x, self.weight, bias)
        linear = reference.int4_linear if self.weight.bits == 4 else reference.int8_linear
        return linear(x, self.weight, self.activation_bits, bias)

    def check(self, actual: torch.Tensor, precision: float = FINE) -> None:
        assert actual.dtype == self.x.dtype
        close(actual, self.expected(), self.scale_of_error() * precision)

    def scale_of_error(self) -> torch.Tensor:
        """Sums of largest activation times weight, group by group: [..., N]."""
        if isinstance(self.weight, torch.Tensor):
            return self.x.double().abs() @ self.weight.double().abs().T
        if isinstance(self.weight, AtomWeight):
            # Sums of integers are exact: what is left is the rounding of sums in float32.
            columns = self.x.double().abs() * 2.0**-4
            return columns @ self.weight.dequantize(torch.float64).abs().T
        groups = self.x.double().unflatten(-1, (-1, self.weight.group)).abs()
        largest = groups.amax(dim=-1, keepdim=True).expand(groups.shape).flatten(-2)
        exact = 2.0**-4 if self.activation_bits == 8 else 1.0
        return exact * largest @ self.weight.dequantize(torch.float64).abs().T

    def with_x(self, x: torch.Tensor) -> LinearCase:
        return replace(self, x=x)


@st.composite
def linear_cases(
    draw: st.DrawFn,
    kinds: Iterable[str] = ("symmetric", "zero_points", "offsets", "int8"),
    groups: Iterable[int] = (8, 32, 40, 64, 128),
    activation_bits: Iterable[int] = (16, 8),
    rows: Iterable[int] = (0, 1, 2, 3, 5, 9, 17, 33, 101),
    most_outputs: int = 70,
) -> LinearCase:
    """Any number of outputs, any number of groups, activations of very different sizes."""
    group, kind = draw(st.sampled_from(tuple(groups))), draw(st.sampled_from(tuple(kinds)))
    n, k = draw(st.integers(1, most_outputs)), group * draw(st.integers(1, 5))
    bits, dtype = draw(st.sampled_from(tuple(activation_bits))), draw(dtypes)
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = grid_weight(generator, n, k, group, kind)
    x = activations(generator, draw(st.sampled_from(tuple(rows))), k, group, dtype)
    if bits == 8:
        x = clear_of_ties(x, group, 8)
    bias = torch.randn(n, generator=generator) if draw(st.booleans()) else None
    return LinearCase(x, weight, bits, bias)


@st.composite
def atom_cases(
    draw: st.DrawFn,
    groups: Iterable[int] = (8, 32, 64, 128),
    rows: Iterable[int] = (0, 1, 2, 5, 17, 33),
) -> LinearCase:
    """Weights of mixed precision with low and high parts of different groups."""
    low_group, high_group = draw(st.sampled_from(tuple(groups))), draw(st.sampled_from((32, 64)))
    n, low, high = draw(st.integers(1, 50)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    low, high = low * low_group, high * high_group
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = AtomWeight(
        grid_weight(generator, n, low, low_group, "symmetric"),
        grid_weight(generator, n, high, high_group, "int8"),
        torch.randperm(low + high, generator=generator).to(torch.int32),
    )
    clip = draw(st.sampled_from((1.0, 0.9, 0.7)))
    m, dtype = draw(st.sampled_from(tuple(rows))), draw(dtypes)
    x = activations(generator, m, low + high, 32, dtype)[:, weight.order.long()]
    x = torch.cat(
        [
            clear_of_ties(x[:, :low], low_group, 4, clip),
            clear_of_ties(x[:, low:], high_group, 8),
        ],
        dim=1,
    )
    original = torch.empty_like(x)
    original[:, weight.order.long()] = x
    return LinearCase(original, weight, clip=clip)


@st.composite
def dense_cases(draw: st.DrawFn) -> LinearCase:
    """Unquantized weights of any width."""
    n, k = draw(st.integers(1, 70)), draw(st.integers(1, 150))
    dtype = draw(st.sampled_from((torch.float32, torch.bfloat16)))
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = torch.randn(n, k, generator=generator).to(dtype)
    x = torch.randn(draw(st.sampled_from((0, 1, 3, 17))), k, generator=generator).to(draw(dtypes))
    bias = torch.randn(n, generator=generator) if draw(st.booleans()) else None
    return LinearCase(x, weight, bias=bias)


def grid_weight(
    generator: torch.Generator, n: int, k: int, group: int, kind: str
) -> QuantizedWeight:
    """Any codes, scales of either sign and of several sizes, some of them zero."""
    sizes = torch.rand(n, k // group, generator=generator) + 0.1
    signs = torch.randint(-1, 2, sizes.shape, generator=generator)
    scales = (sizes * signs * 0.05).half()
    if kind == "int8":
        codes = torch.randint(-127, 128, (n, k), generator=generator, dtype=torch.int8)
        return QuantizedWeight(codes, (scales / 16).half(), None, 8, group)
    codes = torch.randint(0, 16, (n, k), generator=generator, dtype=torch.uint8)
    zeros = None
    if kind == "zero_points":
        zeros = torch.randint(0, 16, sizes.shape, generator=generator, dtype=torch.uint8)
    if kind == "offsets":
        zeros = torch.randn(sizes.shape, generator=generator).half()
    return QuantizedWeight(pack_nibbles(codes), scales, zeros, 4, group)


def activations(
    generator: torch.Generator,
    m: int,
    k: int,
    group: int,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """[m, k]: groups of sizes from 1e-3 to 1e3 (float16: 10, products must fit), some zero."""
    count = -(-k // group)
    sizes = 10 ** (6 * torch.rand(m, count, generator=generator) - 3)
    sizes *= torch.rand(m, count, generator=generator) > 0.1
    x = torch.randn(m, k, generator=generator)
    x *= sizes.repeat_interleave(group, dim=1)[:, :k]
    return (x / 100 if dtype == torch.float16 else x).to(dtype)


def clear_of_ties(x: torch.Tensor, group: int, bits: int, clip: float = 1.0) -> torch.Tensor:
    """``x`` with what lies between two codes moved onto one: all roundings agree on it."""
    codes, scales = reference.quantize_activations(x, group, bits, clip)
    numbers, levels = x.float().unflatten(-1, (-1, group)), 7 if bits == 4 else 127
    steps = numbers / scales[..., None]
    undecided = ((steps - codes).abs() > 0.45) & (steps < levels) & (steps > -1 - levels)
    moved = torch.where(undecided, codes.clamp(min=-levels) * scales[..., None], numbers)
    return moved.flatten(-2).to(x.dtype)


# Adapters


Tables = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LoraCase:
    """Arguments of ``lora_sgmv``; ``y`` is what it starts from."""

    y: torch.Tensor
    x: torch.Tensor
    pool: torch.Tensor
    indptr: torch.Tensor
    a_pages: torch.Tensor
    b_pages: torch.Tensor
    rank_indptr: torch.Tensor
    scales: torch.Tensor

    @property
    def tables(self) -> Tables:
        """All arguments after ``y`` and ``x``."""
        return (
            self.pool,
            self.indptr,
            self.a_pages,
            self.b_pages,
            self.rank_indptr,
            self.scales,
        )

    def adapted(self) -> torch.Tensor:
        """Which rows have an adapter: bool [M]."""
        found = torch.zeros(self.y.shape[0], dtype=torch.bool)
        ranks = self.rank_indptr.diff().tolist()
        for begin, end, rank in zip(self.indptr[:-1], self.indptr[1:], ranks, strict=True):
            found[int(begin) : int(end)] = rank > 0
        return found

    def check(self, actual: torch.Tensor, precision: float = FINE) -> None:
        """Compare all rows, and those without adapter bit by bit."""
        assert actual.dtype == self.y.dtype
        others = ~self.adapted()
        # As integers, so that NaN equals NaN.
        kind = torch.int32 if self.y.dtype == torch.float32 else torch.int16
        same = actual[others].contiguous().view(kind) == self.y[others].contiguous().view(kind)
        assert same.all(), "rows without adapter have changed"
        expected = reference.lora_sgmv(self.y.double(), self.x.double(), *self.tables)
        absolute = reference.lora_sgmv(
            self.y.double().abs(),
            self.x.double().abs(),
            self.pool.abs(),
            self.indptr,
            self.a_pages,
            self.b_pages,
            self.rank_indptr,
            self.scales.abs(),
        )
        rows = self.adapted()
        close(actual[rows], expected[rows], absolute[rows] * precision)


@st.composite
def lora_cases(
    draw: st.DrawFn, most_segments: int = 6, most_rank: int = 40, most_rows: int = 12
) -> LoraCase:
    """Segments of any number of rows (none, too), ranks from 0, pages anywhere; NaN in the pool.

    Rows of ``y`` outside every segment are NaN, and so is all of the pool that no adapter uses.
    """
    generator = torch.Generator().manual_seed(draw(seeds))
    k, n = draw(st.integers(1, 130)), draw(st.integers(1, 130))
    page = draw(st.sampled_from((16, 32, 48, 128)))
    sizes = draw(st.lists(st.integers(0, most_rows), max_size=most_segments))
    ranks = draw(st.lists(st.integers(0, most_rank), min_size=len(sizes), max_size=len(sizes)))
    before, after = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    dtype, pool_dtype = draw(dtypes), draw(dtypes)
    count = sum(ranks)
    of_a, of_b = -(-k // page), -(-n // page)
    spare = draw(st.integers(0, 2))  # columns of the tables that are not needed
    pages = count * (of_a + of_b) + 3
    order = torch.randperm(pages, generator=generator).to(torch.int32)
    pool = torch.full((pages, page), float("nan"), dtype=pool_dtype)
    tables = []
    for width, needed, first in ((k, of_a, 0), (n, of_b, count * of_a)):
        own = order[first : first + count * needed].view(count, needed)
        rows = torch.full((count, needed * page), float("nan"))
        rows[:, :width] = torch.randn(count, width, generator=generator)
        pool[own.long()] = rows.view(count, needed, page).to(pool_dtype)
        tables.append(torch.nn.functional.pad(own, (0, spare), value=2**30))
    bounds = torch.tensor([0, *sizes]).cumsum(0) + before
    m = int(bounds[-1]) + after
    y = torch.randn(m, n, generator=generator)
    y[:before] = y[m - after :] = float("nan")
    x = torch.randn(m, k, generator=generator)
    return LoraCase(
        y.to(dtype),
        x.to(dtype),
        pool,
        bounds.to(torch.int32),
        tables[0],
        tables[1],
        torch.tensor([0, *ranks]).cumsum(0).to(torch.int32),
        torch.randn(len(sizes), generator=generator),
    )


# Attention


@dataclass(frozen=True)
class AttentionCase:
    """Arguments of ``paged_attention``. What must not be read is NaN, or leads nowhere."""

    q: torch.Tensor
    cache: KVCache
    block_tables: torch.Tensor
    context_lens: torch.Tensor
    query_indptr: torch.Tensor
    scale: float

    @property
    def tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The arguments between cache and scale."""
        return self.block_tables, self.context_lens, self.query_indptr

    def expected(self) -> torch.Tensor:
        return reference.paged_attention(self.q.double(), self.cache, *self.tables, self.scale)

    def check(self, actual: torch.Tensor, precision: float = FINE) -> None:
        assert actual.dtype == self.q.dtype
        values = reference.read_kv(self.cache, torch.float64)[1].nan_to_num()
        largest = float(values.abs().max()) if values.numel() else 0.0
        close(actual, self.expected(), 4 * precision * largest)


@st.composite
def attention_cases(
    draw: st.DrawFn,
    kinds: Iterable[Kind] = ("bf16", "int8", "int4"),
    widths: Iterable[int] = (8, 16, 24, 64, 80, 128),
    most_context: int = 40,
) -> AttentionCase:
    """Sequences of any length with any number of queries, in blocks anywhere."""
    generator = torch.Generator().manual_seed(draw(seeds))
    kind, dim = draw(st.sampled_from(tuple(kinds))), draw(st.sampled_from(tuple(widths)))
    kv_heads, share = draw(st.integers(1, 3)), draw(st.sampled_from((1, 2, 3, 4, 7)))
    size, dtype = draw(st.sampled_from((1, 4, 7, 16))), draw(dtypes)
    lengths = draw(st.lists(st.integers(0, most_context), max_size=4))
    counts = [draw(st.sampled_from((0, 1, n // 2, n)) if n else st.just(0)) for n in lengths]
    needed = [-(-n // size) for n in lengths]
    spare = draw(st.integers(0, 2))
    blocks = sum(needed) + 2
    order = torch.randperm(blocks, generator=generator).to(torch.int32)
    tables = torch.full((len(lengths), max([*needed, 0]) + spare), 2**30, dtype=torch.int32)
    cache = poisoned_cache(blocks, kv_heads, size, dim, kind)
    first = 0
    for row, (length, own) in enumerate(zip(lengths, needed, strict=True)):
        tables[row, :own] = order[first : first + own]
        first += own
        positions = torch.arange(length)
        slots = tables[row].long()[positions // size] * size + positions % size
        keys, values = torch.randn(2, length, kv_heads, dim, generator=generator)
        reference.write_kv(keys, values + 0.5, cache, slots)
    q = torch.randn(sum(counts), kv_heads * share, dim, generator=generator)
    return AttentionCase(
        q.to(dtype),
        cache,
        tables,
        torch.tensor(lengths, dtype=torch.int32),
        torch.tensor([0, *counts]).cumsum(0).to(torch.int32),
        dim**-0.5,
    )


@st.composite
def write_cases(
    draw: st.DrawFn,
    kinds: Iterable[Kind] = ("bf16", "int8", "int4"),
    widths: Iterable[int] = (2, 8, 16, 24, 64, 80),
) -> tuple[torch.Tensor, torch.Tensor, KVCache, torch.Tensor]:
    """Arguments of ``write_kv``: k, v, an empty cache, slots of which some are negative."""
    generator = torch.Generator().manual_seed(draw(seeds))
    kind, dim = draw(st.sampled_from(tuple(kinds))), draw(st.sampled_from(tuple(widths)))
    heads, tokens = draw(st.integers(1, 3)), draw(st.integers(0, 12))
    size = draw(st.sampled_from((1, 4, 7)))
    blocks = -(-tokens // size) + 1
    sizes = 10 ** (4 * torch.rand(2, tokens, heads, 1, generator=generator) - 2)
    numbers = torch.randn(2, tokens, heads, dim, generator=generator) * sizes
    if tokens:
        numbers[:, 0] = 0.25  # all equal: the scale is 0
    slots = torch.randperm(blocks * size, generator=generator)[:tokens]
    slots[torch.rand(tokens, generator=generator) < 0.2] = -1
    k, v = numbers.to(draw(dtypes))
    return k, v, poisoned_cache(blocks, heads, size, dim, kind), slots


def check_written(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Hold a cache that was `poisoned_cache` against what was to be written."""
    expected = poisoned_cache(
        cache.blocks, cache.kv_heads, cache.block_size, cache.head_dim, cache.kind
    )
    reference.write_kv(k, v, expected, slots)
    if cache.kind == "bf16":
        for actual, wanted in ((cache.keys, expected.keys), (cache.values, expected.values)):
            assert torch.equal(actual.view(torch.int16), wanted.view(torch.int16))
        return
    levels = 255 if cache.kind == "int8" else 15
    kept = slots >= 0
    block, offset = slots[kept] // cache.block_size, slots[kept] % cache.block_size
    read = reference.read_kv(cache, torch.float64)
    parts = (
        (k, cache.key_params, expected.key_params, read[0]),
        (v, cache.value_params, expected.value_params, read[1]),
    )
    for numbers, params, wanted_params, stored in parts:
        assert params is not None
        assert wanted_params is not None
        # A unit in the last place of float16: a quotient may be rounded twice.
        torch.testing.assert_close(params, wanted_params, rtol=2**-10, atol=2**-24, equal_nan=True)
        scale, minimum = params[block, :, offset].double()[..., None].unbind(dim=-2)
        wrong = (stored[block, :, offset] - numbers[kept].double()).abs()
        # Half a step, and the rounding of scale and minimum, which may be below the normal range.
        of_scale, of_minimum = (one.abs() * 2**-11 + 2**-25 for one in (scale, minimum))
        bound = scale * (0.5 + 1e-3) + levels * of_scale + of_minimum
        assert (wrong <= bound).all()


def poisoned_cache(blocks: int, kv_heads: int, size: int, dim: int, kind: Kind) -> KVCache:
    """A cache whose numbers are all NaN."""
    cache = allocate_kv_cache(blocks, kv_heads, size, dim, kind)
    for tensor in (cache.keys, cache.values, cache.key_params, cache.value_params):
        if tensor is not None:
            tensor.fill_(float("nan") if tensor.is_floating_point() else 255)
    return cache


# Sampling


@dataclass(frozen=True)
class SampleCase:
    """Arguments of ``sample``."""

    logits: torch.Tensor
    draws: torch.Tensor
    temperature: torch.Tensor
    top_p: torch.Tensor

    @property
    def arguments(self) -> tuple[torch.Tensor, ...]:
        """All of them."""
        return self.logits, self.draws, self.temperature, self.top_p

    def check(self, actual: torch.Tensor, precision: float = 2.0**-18) -> None:
        """Every token's share of the distribution must hold the draw, give or take ``precision``."""
        assert actual.dtype == torch.int64
        assert actual.shape == self.draws.shape
        numbers = (one.tolist() for one in (actual, self.draws, self.temperature, self.top_p))
        for row, (token, draw, temperature, top_p) in enumerate(zip(*numbers, strict=True)):
            logits = self.logits[row].double()
            assert logits[token] > float("-inf"), "a forbidden token"
            if temperature == 0:
                assert token == int((logits == logits.max()).nonzero()[0]), f"row {row}"
            else:
                logs = (logits / temperature).log_softmax(dim=-1)
                assert _holds(logs, token, draw, top_p, precision), f"row {row}"


def _holds(logs: torch.Tensor, token: int, draw: float, top_p: float, precision: float) -> bool:
    order = torch.arange(len(logs))
    if top_p < 1:
        order = logs.sort(descending=True, stable=True).indices
    upto = logs[order].exp().cumsum(dim=0)
    before = upto - logs[order].exp()
    first = last = int((order == token).nonzero())
    if top_p < 1:
        # Of tokens that are nearly equally probable, either may come first.
        alike = ((logs[order] - logs[token]).abs() < precision).nonzero()
        first, last = int(alike[0]), int(alike[-1])
    for share in (top_p - precision, top_p, top_p + precision):
        kept = before < share if top_p < 1 else before >= 0
        total = logs[order].exp()[kept].sum()
        inside = before[first] - precision <= draw * total <= upto[last] + precision
        if kept[first] and inside:
            return True
    return False


@st.composite
def sample_cases(draw: st.DrawFn, most_tokens: int = 3000) -> SampleCase:
    """Vocabularies of any size; forbidden tokens, ties, mixed temperatures and shares."""
    generator = torch.Generator().manual_seed(draw(seeds))
    m, v = draw(st.integers(0, 5)), draw(st.integers(1, most_tokens))
    logits = torch.randn(m, v, generator=generator) * draw(st.sampled_from((0.0, 1.0, 5.0, 30.0)))
    if draw(st.booleans()):
        logits = logits.round()
    forbidden = torch.rand(m, v, generator=generator) < draw(st.sampled_from((0.0, 0.5, 0.99)))
    forbidden[:, draw(st.integers(0, v - 1))] = False
    logits = logits.masked_fill(forbidden, float("-inf")).to(draw(dtypes))
    temperature = torch.tensor([0.0, 0.3, 1.0, 2.5])[torch.randint(4, (m,), generator=generator)]
    shares = torch.tensor([1.0, 0.9, 0.5, 1e-6, 1.5])
    top_p = shares[torch.randint(5, (m,), generator=generator)]
    draws = torch.rand(m, generator=generator, dtype=torch.float64)
    draws[::4] = draw(st.sampled_from((0.0, 0.5, 1 - 2.0**-53)))
    beside = draw(st.sampled_from((0.0, 2e-5, -2e-5)))
    for row in range(m if beside else 0):
        draws[row], top_p[row] = _near_boundary(
            generator, logits[row], float(temperature[row]), float(top_p[row]), beside
        )
    return SampleCase(logits, draws, temperature, top_p)


def _near_boundary(
    generator: torch.Generator,
    logits: torch.Tensor,
    temperature: float,
    top_p: float,
    beside: float,
) -> tuple[float, float]:
    """A draw and a share that lie just beside where the choice changes."""
    weights = (logits.double() / (temperature or 1.0)).softmax(dim=-1)
    if top_p < 1:
        weights = weights.sort(descending=True).values
        upto = weights.cumsum(dim=0)
        kept = int((upto - weights < top_p).sum())
        top_p = min(max(float(upto[kept - 1]) + beside, 1e-6), 0.9999)
        weights = weights * (upto - weights < top_p)
    chosen = int(torch.multinomial(weights, 1, generator=generator))
    boundary = float(weights[: chosen + 1].sum() / weights.sum())
    return min(max(boundary + beside, 0.0), 1 - 2.0**-53), top_p
