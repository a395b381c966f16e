"""Random caches of keys and values: attention over them, writing to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from case_tools import FINE, close, dtypes, seeds
from hypothesis import strategies as st

from kernels import reference
from kernels.kv_cache import Kind, KVCache, allocate_kv_cache


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
