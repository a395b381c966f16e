"""Attention of decoding on a GPU, over long contexts in every format of the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu_bench import OURS, Bench, of_copying
from benchmarks.kernels_timing import Contender, require_close
from benchmarks.results import Row
from kernels.kv_cache import Kind, KVCache, allocate_kv_cache
from kernels.triton import attention

_SIZE = 16
"""Tokens of a block."""
_TOLERANCES: dict[Kind, float] = {"bf16": 2e-2, "int8": 2e-2, "int4": 0.15}


def attention_rows(bench: Bench) -> Iterator[Row]:
    """By batch, length of context and format."""
    for sequences, tokens in bench.plan.contexts:
        for kind in _TOLERANCES:
            yield _row(bench, sequences, tokens, kind)


def _row(bench: Bench, sequences: int, tokens: int, kind: Kind) -> Row:
    heads, kv_heads, width = bench.plan.heads
    name, blocks = bench.device.name, -(-tokens // _SIZE)
    cache = allocate_kv_cache(sequences * blocks, kv_heads, _SIZE, width, kind, name)
    slots = torch.arange(sequences * blocks * _SIZE, device=name)
    keys = bench.random(len(slots), kv_heads, width)
    attention.write_kv(keys, keys, cache, slots)
    parts = (cache.keys, cache.values, cache.key_params, cache.value_params)
    moved = sum(one.nbytes for one in parts if one is not None)
    caches = [_copy(cache) for _ in range(bench.device.copies_of(moved))]
    tables = torch.arange(sequences * blocks, device=name, dtype=torch.int32)
    tables = tables.view(sequences, blocks)
    lengths = torch.full((sequences,), tokens, device=name, dtype=torch.int32)
    bounds = torch.arange(sequences + 1, device=name, dtype=torch.int32)
    q = bench.random(sequences, heads, width)

    def call(copy: int) -> torch.Tensor:
        return attention.paged_attention(q, caches[copy], tables, lengths, bounds, width**-0.5)

    own = keys.view(sequences, -1, kv_heads, width)[:, :tokens].transpose(1, 2).float()
    own = own.repeat_interleave(heads // kv_heads, dim=1)
    scores = (q.float()[:, :, None] @ own.transpose(2, 3)) * width**-0.5
    right = (scores.softmax(dim=-1) @ own)[:, :, 0]
    what = f"paged_attention {kind}, {sequences} × {tokens} tokens, {heads}/{kv_heads} heads"
    require_close(what, call(0), right, _TOLERANCES[kind])
    times = bench.times([Contender(OURS, call, len(caches))])
    return of_copying(what, times, moved, target=False)


def _copy(cache: KVCache) -> KVCache:
    params = [one if one is None else one.clone() for one in (cache.key_params, cache.value_params)]
    return KVCache(cache.keys.clone(), cache.values.clone(), *params, kind=cache.kind)
