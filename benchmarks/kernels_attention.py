"""Attention of one new token per sequence over paged contexts, against torch's over whole ones."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from benchmarks.kernels_timing import (
    COLD,
    Contender,
    Effort,
    Times,
    alternate,
    copies_of,
    require_close,
)
from kernels import KVCache, allocate_kv_cache, write_kv
from kernels.cpu.attention import c_cache
from kernels.cpu.library import DTYPES, check, native

BLOCK = 16
"""Tokens per block."""

Kind = Literal["bf16", "int8", "int4"]
KINDS: tuple[Kind, ...] = ("bf16", "int8", "int4")
"""How our caches keep keys and values."""
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
TORCH = tuple(f"torch SDPA, {name}" for name in _TYPES)
"""``scaled_dot_product_attention`` over contexts that lie in one piece, grouped heads included."""

_TOLERANCES = {"ours, bf16": 1e-2, "ours, int8": 2e-2, "ours, int4": 0.2, TORCH[0]: 1e-2}
"""Of relative root mean square errors; others 1e-3. All but torch's float32 hold rounded keys and
values: to 8 bits of mantissa, or to 255 or 15 steps of a head's range."""


@dataclass(frozen=True)
class Heads:
    """Heads of a model: of queries, of keys and values, and their width."""

    model: str
    queries: int
    keys: int
    width: int


@dataclass(frozen=True)
class Contexts:
    """Sequences that each get a token, and how much they hold."""

    sequences: int
    length: int


HEADS = (Heads("SmolLM2-135M", 9, 3, 64), Heads("7B with grouped queries", 32, 8, 128))
CONTEXTS = (Contexts(1, 1024), Contexts(8, 1024), Contexts(32, 128), Contexts(32, 1024))


def ours(kind: str) -> str:
    """Our contender with a cache of this kind."""
    return f"ours, {kind}"


@dataclass(frozen=True)
class AttentionCase:
    """What one step of attention took.

    Attributes:
        heads: Of the model.
        contexts: Of the batch.
        size: Bytes of keys and values in bfloat16.
        times: Of all contenders.
    """

    heads: Heads
    contexts: Contexts
    size: int
    times: Times


def measure_attention(
    heads: Heads,
    contexts: Contexts,
    effort: Effort,
    read: Callable[[], float],
    cold: int = COLD,
) -> AttentionCase:
    """All contenders on one batch; each answer is checked before it is timed.

    Raises:
        MismatchError: Somebody's answer is wrong.
    """
    b, length = contexts.sequences, contexts.length
    q = torch.randn(b, heads.queries, heads.width)
    k, v = (torch.randn(b, heads.keys, length, heads.width) for _ in range(2))
    made: dict[str, tuple[Callable[[int], object], int]] = {}
    answers: dict[str, torch.Tensor] = {}
    for kind in KINDS:
        made[ours(kind)], answers[ours(kind)] = _ours(q, k, v, kind, cold)
    for name, dtype in zip(TORCH, _TYPES.values(), strict=True):
        made[name] = _torch(q.to(dtype), k.to(dtype), v.to(dtype), cold)
    _check(made, answers, _by_definition(q, k, v))
    contenders = [Contender(name, call, copies) for name, (call, copies) in made.items()]
    size = 2 * 2 * k.numel()
    return AttentionCase(heads, contexts, size, alternate(contenders, effort, read))


def _by_definition(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """In float64: [B, Hq, D]."""
    repeats = q.shape[1] // k.shape[1]
    keys, values = (part.double().repeat_interleave(repeats, dim=1) for part in (k, v))
    scores = (keys @ q.double()[..., None])[..., 0] / q.shape[2] ** 0.5
    return (scores.softmax(dim=-1)[:, :, None] @ values)[:, :, 0]


def _check(
    made: Mapping[str, tuple[Callable[[int], object], int]],
    answers: Mapping[str, torch.Tensor],
    expected: torch.Tensor,
) -> None:
    for name, (call, copies) in made.items():
        answer = call(copies - 1)
        answer = answers.get(name, answer)
        assert isinstance(answer, torch.Tensor)
        require_close(name, answer.reshape(expected.shape), expected, _TOLERANCES.get(name, 1e-3))


def _ours(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, kind: Kind, cold: int
) -> tuple[tuple[Callable[[int], object], int], torch.Tensor]:
    """Blocks in any order, through the C interface."""
    b, kv_heads, length, width = k.shape
    per = -(-length // BLOCK)
    tables = torch.randperm(b * per).to(torch.int32).reshape(b, per)
    cache = allocate_kv_cache(b * per, kv_heads, BLOCK, width, kind)
    positions = torch.arange(length)
    for row in range(b):
        slots = tables[row, positions // BLOCK].long() * BLOCK + positions % BLOCK
        write_kv(k[row].transpose(0, 1), v[row].transpose(0, 1), cache, slots)
    parts = (cache.keys, cache.values, cache.key_params, cache.value_params)
    size = sum(part.numel() * part.element_size() for part in parts if part is not None)
    caches = [cache, *(_copied(cache) for _ in range(copies_of(size, cold) - 1))]
    views = [c_cache(one) for one in caches]
    lengths = torch.full((b,), length, dtype=torch.int32)
    bounds = torch.arange(b + 1, dtype=torch.int32)
    heads = q.shape[1]
    out = torch.full_like(q, torch.nan)
    places = [ctypes.byref(view) for view in views]
    before = (
        ctypes.c_void_p(q.data_ptr()), ctypes.c_int64(heads * width), ctypes.c_int64(b), heads,
    )  # fmt: skip
    after = (
        ctypes.c_int64(b * per), ctypes.c_void_p(tables.data_ptr()), ctypes.c_int64(per),
        ctypes.c_int64(per), ctypes.c_void_p(lengths.data_ptr()),
        ctypes.c_void_p(bounds.data_ptr()), ctypes.c_int64(b), ctypes.c_float(width**-0.5),
        ctypes.c_void_p(out.data_ptr()), ctypes.c_int64(heads * width), DTYPES[q.dtype],
    )  # fmt: skip
    function = native().sd_paged_attention
    check(function(*before, places[0], *after))
    held = (q, caches, tables, lengths, bounds, out)

    def call(number: int) -> object:
        return function(*before, places[number], *after), held

    return (call, len(caches)), out


def _copied(cache: KVCache) -> KVCache:
    return replace(
        cache,
        keys=cache.keys.clone(),
        values=cache.values.clone(),
        key_params=None if cache.key_params is None else cache.key_params.clone(),
        value_params=None if cache.value_params is None else cache.value_params.clone(),
    )


def _torch(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cold: int
) -> tuple[Callable[[int], object], int]:
    copies = copies_of(2 * k.numel() * k.element_size(), cold)
    pairs = [(k, v), *((k.clone(), v.clone()) for _ in range(copies - 1))]
    query = q[:, :, None]
    attend = torch.nn.functional.scaled_dot_product_attention

    def call(number: int) -> object:
        return attend(query, *pairs[number], enable_gqa=True)

    return call, copies
