"""Attention over paged keys and values on a GPU: decoding and chunked prefill, grouped heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import triton.language as tl

from kernels.triton import attention_kernels, cache_kernels
from kernels.triton.launch import (
    INTERPRETED,
    Launch,
    Target,
    ceil_div,
    check_size,
    power_of_two,
    target_of,
)

if TYPE_CHECKING:
    from kernels.kv_cache import KVCache


@dataclass(frozen=True)
class AttentionConfig:
    """How attention is cut into programs.

    Attributes:
        block_m: (Query, head) rows per program.
        block_s: Tokens of the context at a time.
        split: Programs that share the context of one block of rows.
        warps: Of each program.
        stages: Of the pipeline of loads, of which every other one looks pages up.
    """

    block_m: int
    block_s: int
    split: int
    warps: int
    stages: int


def attention_config(
    tokens: int, sequences: int, cache: KVCache, group: int, most: int, target: Target
) -> AttentionConfig:
    """The configuration for ``tokens`` queries whose contexts have at most ``most`` tokens."""
    rows = ceil_div(tokens, sequences) * group
    if rows <= 16:
        block_m, block_s, warps, stages = 16, 32, 4, 6
    elif target.warpgroups:
        block_m, block_s, warps, stages = 64, 64, 8, 4
    else:
        block_m, block_s, warps, stages = 32 if cache.bits == 4 else 64, 32, 4, 4
    units = min(tokens * group, ceil_div(tokens * group, block_m) + sequences)
    wanted = ceil_div(4 * target.processors, units * cache.kv_heads)
    split = max(1, min(wanted, ceil_div(most, 4 * block_s), 32)) if rows <= 16 else 1
    return AttentionConfig(block_m, block_s, split, warps, stages)


def write_kv(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> None:
    """`kernels.reference.attention.write_kv`: store [T, Hkv, D] in their slots, in place."""
    k, v = (part if part.stride(2) == 1 else part.contiguous() for part in (k, v))
    if k.numel():
        write_launch(k, v, cache, slots).run()


def write_launch(k: torch.Tensor, v: torch.Tensor, cache: KVCache, slots: torch.Tensor) -> Launch:
    """What to launch for `write_kv`."""
    tokens, heads, width = k.shape
    arguments = {
        "keys": cache.keys,
        "values": cache.values,
        "key_params": cache.key_params,
        "value_params": cache.value_params,
        "k": k,
        "v": v,
        "slots": slots,
        "stride_k": k.stride(0),
        "stride_kh": k.stride(1),
        "stride_v": v.stride(0),
        "stride_vh": v.stride(1),
        "HEADS": heads,
        "SIZE": cache.block_size,
        "WIDTH": width,
        "PADDED": power_of_two(width),
        "BITS": cache.bits,
    }
    return Launch(cache_kernels.write, (tokens, heads), arguments, warps=1)


def paged_attention(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
    config: AttentionConfig | None = None,
) -> torch.Tensor:
    """Causal attention of each sequence's last tokens over its pages.

    Args:
        q: [T, Hq, D] float16, bfloat16 or float32.
        cache: Keys and values of Hkv heads; query head h reads head ``h // (Hq // Hkv)``.
        block_tables: int32 [B, X], the pages of each sequence.
        context_lens: int32 [B], tokens in the cache, the queries' own included.
        query_indptr: int32 [B + 1]: sequence b has the queries from ``query_indptr[b]`` to
            ``query_indptr[b + 1]``, its last positions.
        scale: Factor of the scores.
        config: Instead of `attention_config`'s.

    Returns:
        [T, Hq, D] in q's type.

    Raises:
        ValueError: Shapes that do not fit.
    """
    q = q if q.stride(2) == 1 else q.contiguous()
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    _check(q, cache, block_tables, context_lens, query_indptr)
    check_size(q)
    if out.numel():
        for launch in attention_launches(
            out, q, cache, block_tables, context_lens, query_indptr, scale, target_of(q), config
        ):
            launch.run()
    return out


def _check(
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
) -> None:
    heads, width = q.shape[1:]
    if heads % cache.kv_heads or width != cache.head_dim:
        raise ValueError(
            f"{heads} heads of {width} do not fit a cache of {cache.kv_heads} heads "
            f"of {cache.head_dim}"
        )
    if width % (32 // cache.bits):
        raise ValueError(f"heads of {width} dimensions do not fill 32-bit words")
    sequences = context_lens.shape[0]
    if block_tables.shape[0] != sequences or query_indptr.shape != (sequences + 1,):
        raise ValueError(f"tables and bounds do not fit {sequences} sequences")


def attention_launches(
    out: torch.Tensor,
    q: torch.Tensor,
    cache: KVCache,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
    target: Target,
    config: AttentionConfig | None = None,
) -> list[Launch]:
    """What to launch for ``out`` [T, Hq, D]; a second kernel if the context is split."""
    tokens, heads, width = q.shape
    sequences, group = context_lens.shape[0], heads // cache.kv_heads
    most = block_tables.shape[1] * cache.block_size
    config = config or attention_config(tokens, sequences, cache, group, most, target)
    kind, precision = _arithmetic(q.dtype, cache.bits)
    partial = statistics = None
    if config.split > 1:
        shape = (config.split, tokens, heads)
        partial = torch.empty(*shape, width, dtype=torch.float32, device=q.device)
        statistics = torch.empty(*shape, 2, dtype=torch.float32, device=q.device)
    padded = max(16, power_of_two(width))
    attend = Launch(
        attention_kernels.attend,
        (
            min(tokens * group, ceil_div(tokens * group, config.block_m) + sequences),
            cache.kv_heads,
            config.split,
        ),
        {
            "out": out,
            "partial": partial,
            "statistics": statistics,
            "q": q,
            "keys": _words(cache.keys),
            "values": _words(cache.values),
            "key_params": _words(cache.key_params),
            "value_params": _words(cache.value_params),
            "block_tables": block_tables,
            "context_lens": context_lens,
            "query_indptr": query_indptr,
            "tokens": tokens,
            "sequences": sequences,
            "table_width": block_tables.stride(0),
            "stride_token": q.stride(0),
            "stride_head": q.stride(1),
            "scale": float(scale),
            "HEADS": cache.kv_heads,
            "GROUP": group,
            "SIZE": cache.block_size,
            "WIDTH": width,
            "PADDED": padded,
            "BITS": cache.bits,
            "TYPE": kind,
            "PRECISION": precision,
            "SEQUENCES": power_of_two(sequences),
            "SPLIT": config.split,
            "BLOCK_M": config.block_m,
            "BLOCK_S": config.block_s,
        },
        config.warps,
        config.stages,
    )
    if config.split == 1:
        return [attend]
    combine = Launch(
        attention_kernels.combine,
        (tokens * heads,),
        {
            "out": out,
            "partial": partial,
            "statistics": statistics,
            "rows": tokens * heads,
            "WIDTH": width,
            "PADDED": padded,
            "SPLIT": config.split,
            "PARTS": power_of_two(config.split),
        },
        warps=1,
    )
    return [attend, combine]


def _words(part: torch.Tensor | None) -> torch.Tensor | None:
    """Codes and pairs of parameters as 32-bit words; bfloat16 as it is."""
    return part if part is None or part.dtype == torch.bfloat16 else part.view(torch.int32)


def _arithmetic(dtype: torch.dtype, bits: int) -> tuple[tl.dtype, str]:
    """The type of the matrix products, and their precision if that is float32.

    Codes and their parameters fit float16. bfloat16 keys with other queries are exact in tf32.
    """
    if dtype == torch.float32 or (INTERPRETED.value and bits == 16):
        return tl.float32, "tf32x3"
    if bits != 16:
        return tl.float16, "ieee"
    return (tl.bfloat16, "ieee") if dtype == torch.bfloat16 else (tl.float32, "tf32")
