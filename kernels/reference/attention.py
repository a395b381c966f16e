"""Attention over keys and values in pages, defined."""

from __future__ import annotations

import torch

from kernels.kv_cache import KVCache
from kernels.weights import pack_nibbles, unpack_nibbles


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Store keys and values of tokens, in place.

    Args:
        k: [T, kv_heads, D].
        v: [T, kv_heads, D].
        cache: Where to.
        slots: int64 [T]: block * block_size + offset; negative: the token is not stored.
    """
    kept = slots >= 0
    block, offset = slots[kept] // cache.block_size, slots[kept] % cache.block_size
    for x, codes, params in (
        (k[kept], cache.keys, cache.key_params),
        (v[kept], cache.values, cache.value_params),
    ):
        if params is None:
            codes[block, :, offset] = x.to(codes.dtype)
            continue
        levels = 255 if cache.kind == "int8" else 15
        numbers = x.float()
        low = numbers.amin(dim=-1)
        scale = ((numbers.amax(dim=-1) - low) / levels).half()
        low = low.half()
        # Codes are made with the parameters as stored.
        step, least = scale.float()[..., None], low.float()[..., None]
        steps = torch.where(step == 0, 0, (numbers - least) / step).round().clamp(0, levels)
        integers = steps.to(torch.uint8)
        codes[block, :, offset] = pack_nibbles(integers) if cache.kind == "int4" else integers
        params[block, :, offset] = torch.stack([scale, low], dim=-1)


def read_kv(
    codes: torch.Tensor, params: torch.Tensor | None, cache: KVCache, dtype: torch.dtype
) -> torch.Tensor:
    """Keys or values of a cache as numbers [blocks, kv_heads, block_size, D]."""
    if params is None:
        return codes.to(dtype)
    integers = unpack_nibbles(codes) if cache.kind == "int4" else codes
    numbers = params.to(dtype)
    return integers.to(dtype) * numbers[..., :1] + numbers[..., 1:]


def paged_attention(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """softmax(scale q k') v per sequence and head, causal (Kwon et al. 2023, eq. 4).

    Args:
        q: [T, heads, D]; head h attends to kv head h // (heads / kv_heads).
        cache: Keys and values, those of the queries' own tokens included.
        block_tables: int32 [B, X]: the blocks of each sequence in order.
        context_lens: int32 [B]: positions of each sequence in the cache.
        query_indptr: int32 [B + 1]: sequence b's queries are rows ``[b]`` to ``[b + 1]`` of q and
            its last positions. Sequences may have none.
        scale: Of the products, usually D^-0.5.

    Returns:
        [T, heads, D] in q's type.
    """
    keys = read_kv(cache.keys, cache.key_params, cache, q.dtype)
    values = read_kv(cache.values, cache.value_params, cache, q.dtype)
    out = torch.zeros_like(q)
    repeats = q.shape[1] // cache.kv_heads
    for b, length in enumerate(context_lens.tolist()):
        rows = slice(int(query_indptr[b]), int(query_indptr[b + 1]))
        count = rows.stop - rows.start
        if count == 0:
            continue
        blocks = block_tables[b, : -(-length // cache.block_size)].long()
        k, v = (
            x[blocks].transpose(0, 1).flatten(1, 2)[:, :length].repeat_interleave(repeats, dim=0)
            for x in (keys, values)
        )
        scores = scale * q[rows].transpose(0, 1) @ k.transpose(1, 2)
        positions = torch.arange(length, device=q.device)
        hidden = positions[None] > positions[length - count :, None]
        weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1)
        out[rows] = (weights @ v).transpose(0, 1)
    return out
