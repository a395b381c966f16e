"""The paged cache of keys and values, and attention over it."""

from __future__ import annotations

import torch

from kernels.kv_cache import KVCache
from kernels.reference.precision import widened
from kernels.weights import pack_nibbles, unpack_nibbles


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Store keys and values of tokens in their slots, in place.

    Quantized caches hold, per token and head, scale = (max - min) / L and the minimum as float16
    (L = 255 or 15) and codes clamp(round((x - minimum) / scale), 0, L) by those rounded numbers,
    in float32. A head with NaN or an infinity gets NaN for both.

    Args:
        k: [T, Hkv, D].
        v: [T, Hkv, D].
        cache: Where to.
        slots: int64 [T], block * block_size + offset, each at most once; negative: nowhere.
    """
    kept = slots >= 0
    blocks = slots[kept] // cache.block_size
    offsets = slots[kept] % cache.block_size
    for new, codes, params in (
        (k[kept], cache.keys, cache.key_params),
        (v[kept], cache.values, cache.value_params),
    ):
        if params is None:
            codes[blocks, :, offsets] = new.to(codes.dtype)
        else:
            quantized, own = _quantized(new, cache.kind)
            codes[blocks, :, offsets] = quantized
            params[blocks, :, offsets] = own


def read_kv(cache: KVCache, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of the whole cache as numbers: [blocks, Hkv, block_size, D] each."""
    return (
        _numbers(cache.keys, cache.key_params, cache.kind, dtype),
        _numbers(cache.values, cache.value_params, cache.kind, dtype),
    )


def paged_attention(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Causal attention of new tokens over paged contexts (Kwon et al. 2023, equation 4).

    The queries of a sequence are its last positions; their keys and values must be in the cache
    already. Query head h reads key head h // (Hq / Hkv).

    Args:
        q: [T, Hq, D], sequence after sequence.
        cache: Keys and values.
        block_tables: int32 [B, X]: blocks that hold positions 0 to block_size - 1 of sequence b,
            then the next ones; entries past its context are not read.
        context_lens: int32 [B]: positions of each sequence, the queries counted.
        query_indptr: int32 [B + 1], from 0 to T: rows of q of each sequence; there may be none.
        scale: Factor of the scores before the softmax.

    Returns:
        [T, Hq, D] in q's format.
    """
    queries = widened(q)
    keys, values = read_kv(cache, queries.dtype)
    out = torch.zeros_like(queries)
    share = q.shape[1] // cache.kv_heads
    bounds, lengths = query_indptr.tolist(), context_lens.tolist()
    for b, length in enumerate(lengths):
        rows = slice(bounds[b], bounds[b + 1])
        count = rows.stop - rows.start
        if count == 0:
            continue
        positions = torch.arange(length, device=q.device)
        blocks = block_tables[b].long()[positions // cache.block_size]
        own_keys = keys[blocks, :, positions % cache.block_size].repeat_interleave(share, dim=1)
        own_values = values[blocks, :, positions % cache.block_size].repeat_interleave(share, dim=1)
        scores = torch.einsum("thd,shd->hts", queries[rows], own_keys) * scale
        places = torch.arange(length - count, length, device=q.device)
        scores = scores.masked_fill(positions > places[:, None], float("-inf"))
        out[rows] = torch.einsum("hts,shd->thd", scores.softmax(dim=-1), own_values)
    return out.to(q.dtype)


def _quantized(x: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes as the cache holds them, and float16 [..., 2] scales and minima."""
    levels = 255.0 if kind == "int8" else 15.0
    wide = x.float()
    low, high = wide.amin(dim=-1), wide.amax(dim=-1)
    params = torch.stack([(high - low) / levels, low], dim=-1).half()
    bad = ~wide.isfinite().all(dim=-1)
    params = params.masked_fill(bad[..., None], float("nan"))
    scale, minimum = params.float()[..., None].unbind(dim=-2)
    codes = ((wide - minimum) / torch.where(scale > 0, scale, 1.0)).round().clamp(0, levels)
    codes = codes.masked_fill(bad[..., None], 0.0).to(torch.uint8)
    return (pack_nibbles(codes) if kind == "int4" else codes), params


def _numbers(
    codes: torch.Tensor, params: torch.Tensor | None, kind: str, dtype: torch.dtype
) -> torch.Tensor:
    if params is None:
        return codes.to(dtype)
    integers = (unpack_nibbles(codes) if kind == "int4" else codes).to(dtype)
    scale, minimum = params.to(dtype)[..., None].unbind(dim=-2)
    return integers * scale + minimum
