"""The paged cache of keys and values, and attention over it, on the CPU.

Defined in `kernels.reference.attention`. Results do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes

import torch

from kernels.cpu.decoder_c import CKVCache
from kernels.cpu.library import DTYPES, check, native
from kernels.kv_cache import KVCache


def c_cache(cache: KVCache) -> CKVCache:
    """The cache as C sees it; its tensors must outlive the result.

    Raises:
        ValueError: A tensor of it is not contiguous.
    """
    tensors = (cache.keys, cache.values, cache.key_params, cache.value_params)
    if not all(one is None or one.is_contiguous() for one in tensors):
        raise ValueError("the tensors of a cache must be contiguous")
    pointers = [None if one is None else one.data_ptr() for one in tensors]
    return CKVCache(*pointers, cache.bits, cache.block_size, cache.kv_heads, cache.head_dim)


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """Store keys and values of tokens in their slots, in place.

    Args:
        k: [T, Hkv, D], float32, bfloat16 or float16; copied unless a token's heads are consecutive.
        v: As k.
        cache: Where to; D at most 256.
        slots: int64 [T], each at most once; negative: nowhere.

    Raises:
        ValueError: A slot is not in the cache.
    """
    keys, values = _tokens(k), _tokens(v)
    where, view = slots.contiguous(), c_cache(cache)
    check(
        native().sd_write_kv(
            _pointer(keys), _long(keys.stride(0)), _pointer(values), _long(values.stride(0)),
            _long(keys.shape[0]), ctypes.byref(view), _long(cache.blocks), _pointer(where),
            DTYPES[k.dtype],
        )
    )  # fmt: skip


def paged_attention(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Causal attention of new tokens over paged contexts.

    Args:
        q: [T, Hq, D], float32, bfloat16 or float16; copied unless a token's heads are consecutive.
        cache: Keys and values, those of the new tokens included; D at most 256.
        block_tables: int32 [B, X].
        context_lens: int32 [B].
        query_indptr: int32 [B + 1], from 0 to T.
        scale: Factor of the scores.

    Returns:
        [T, Hq, D] in q's format.

    Raises:
        ValueError: Numbers that do not fit each other or lead out of the cache.
    """
    queries, tables = _tokens(q), block_tables
    if tables.stride(1) != 1:
        tables = tables.contiguous()
    lengths, bounds, view = context_lens.contiguous(), query_indptr.contiguous(), c_cache(cache)
    tokens, heads, dim = q.shape
    out = torch.empty(tokens, heads, dim, dtype=q.dtype)
    check(
        native().sd_paged_attention(
            _pointer(queries), _long(queries.stride(0)), _long(tokens), heads,
            ctypes.byref(view), _long(cache.blocks), _pointer(tables), _long(tables.stride(0)),
            _long(tables.shape[1]), _pointer(lengths), _pointer(bounds), _long(lengths.numel()),
            ctypes.c_float(scale), _pointer(out), _long(heads * dim), DTYPES[q.dtype],
        )
    )  # fmt: skip
    return out


def _tokens(x: torch.Tensor) -> torch.Tensor:
    """``x`` [T, H, D], the numbers of a token consecutive."""
    return x if x.stride(2) == 1 and x.stride(1) == x.shape[2] else x.contiguous()


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


_long = ctypes.c_int64
