"""Representative launches of every kernel, on shapes of a 7B model; tensors without memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from kernels.kv_cache import Kind, KVCache, allocate_kv_cache
from kernels.triton import atom, attention, elementwise, linear, lora, sampling
from kernels.triton.launch import Launch, Target
from kernels.triton.layout import Layout
from kernels.weights import QuantizedWeight

Named = Iterator[tuple[str, Launch]]

_TARGETS = {80: Target(80, 108, 163 * 1024), 90: Target(90, 132, 227 * 1024)}
_HALF, _BRAIN, _FULL = torch.float16, torch.bfloat16, torch.float32
_WIDTH = 4096


def catalogue(capability: int) -> dict[str, Launch]:
    """Launches by name for a GPU of compute capability ``capability`` (80, 90)."""
    target = _TARGETS.get(capability) or Target(capability)
    return {
        **dict(_linear(target)),
        **dict(_atom(target)),
        **dict(_lora(target)),
        **dict(_attention(target)),
        **dict(_elementwise()),
        **dict(_sampling()),
    }


def _empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _linear(target: Target) -> Named:
    cases = [
        ("int4_linear M=1 g64", 1, 4, 64, 0, 16, _BRAIN),
        ("int4_linear M=16 g128", 16, 4, 128, 0, 16, _HALF),
        ("int4_linear M=16 g32 zero points", 16, 4, 32, 1, 16, _BRAIN),
        ("int4_linear M=8 g32 offsets", 8, 4, 32, 2, 16, _HALF),
        ("int4_linear M=32 g64", 32, 4, 64, 0, 16, _BRAIN),
        ("int4_linear M=64 g64 zero points", 64, 4, 64, 1, 16, _BRAIN),
        ("int4_linear M=1024 g64", 1024, 4, 64, 0, 16, _BRAIN),
        ("int4_linear M=1024 g128 zero points", 1024, 4, 128, 1, 16, _HALF),
        ("int4_linear M=64 g64 float32", 64, 4, 64, 0, 16, _FULL),
        ("int4_linear W4A8 M=1 g64", 1, 4, 64, 0, 8, _BRAIN),
        ("int4_linear W4A8 M=16 g64 zero points", 16, 4, 64, 1, 8, _BRAIN),
        ("int4_linear W4A8 M=1024 g128", 1024, 4, 128, 0, 8, _BRAIN),
        ("int8_linear M=1 g64", 1, 8, 64, 0, 16, _BRAIN),
        ("int8_linear M=16 g128", 16, 8, 128, 0, 16, _HALF),
        ("int8_linear W8A8 M=64 g64", 64, 8, 64, 0, 8, _BRAIN),
    ]
    for name, m, bits, group, zero_kind, activation_bits, dtype in cases:
        layout = Layout(_WIDTH, _WIDTH, group, bits, zero_kind)
        y, x = _empty(m, _WIDTH, dtype=dtype), _empty(m, _WIDTH, dtype=dtype)
        blob = _empty(layout.nbytes, dtype=torch.uint8)
        launches = linear.linear_launches(y, x, blob, layout, activation_bits, None, target)
        if len(launches) == 2 and m == 1:
            yield "quantize_rows", launches[0]
        yield name, launches[-1]


def _atom(target: Target) -> Named:
    low, high = Layout(_WIDTH, _WIDTH - 128, 128, 4, 0), Layout(_WIDTH, 128, 128, 8, 0)
    blobs = [_empty(layout.nbytes, dtype=torch.uint8) for layout in (low, high)]
    order = _empty(_WIDTH, dtype=torch.int32)
    for m in (1, 256):
        y, x = _empty(m, _WIDTH, dtype=_HALF), _empty(m, _WIDTH, dtype=_HALF)
        quantize, product = atom.atom_launches(
            y, x, blobs[0], low, blobs[1], high, order, 0.9, target
        )
        if m == 1:
            yield "reorder_quantize", quantize
        yield f"w4a4_linear M={m} g128", product


def _lora(target: Target) -> Named:
    page = 2048
    for name, rows, segments, rank in (("32 adapters", 32, 32, 16), ("prefill", 1024, 2, 64)):
        ranks, columns = segments * rank, -(-_WIDTH // page)
        y, x = _empty(rows, _WIDTH, dtype=_BRAIN), _empty(rows, _WIDTH, dtype=_BRAIN)
        pages = _empty(ranks, columns, dtype=torch.int32)
        bounds = _empty(segments + 1, dtype=torch.int32)
        pool = _empty(2 * ranks * columns, page, dtype=_BRAIN)
        scales = _empty(segments, dtype=_FULL)
        launches = lora.lora_launches(y, x, pool, bounds, pages, pages, bounds, scales, target)
        yield f"lora shrink {name}", launches[0]
        yield f"lora expand {name}", launches[1]


def _attention(target: Target) -> Named:
    heads, kv_heads, width, size = 32, 8, 128, 16
    cases: list[tuple[str, int, int, Kind, torch.dtype]] = [
        ("attention decode bf16", 16, 16, "bf16", _BRAIN),
        ("attention decode int8", 16, 16, "int8", _BRAIN),
        ("attention decode int4", 16, 16, "int4", _HALF),
        ("attention prefill bf16", 2048, 2, "bf16", _BRAIN),
        ("attention prefill int4", 2048, 2, "int4", _BRAIN),
    ]
    for name, tokens, sequences, kind, dtype in cases:
        cache: KVCache = allocate_kv_cache(1024, kv_heads, size, width, kind, "meta")
        q = _empty(tokens, heads, width, dtype=dtype)
        tables = _empty(sequences, 256, dtype=torch.int32)
        lengths = _empty(sequences, dtype=torch.int32)
        bounds = _empty(sequences + 1, dtype=torch.int32)
        launches = attention.attention_launches(
            _empty(tokens, heads, width, dtype=dtype),
            q,
            cache,
            tables,
            lengths,
            bounds,
            0.1,
            target,
        )
        yield name, launches[0]
        if name == "attention decode bf16":
            yield "attention combine", launches[1]
        k = _empty(tokens, kv_heads, width, dtype=dtype)
        slots = _empty(tokens, dtype=torch.int64)
        if "decode" in name:
            yield f"write_kv {kind}", attention.write_launch(k, k, cache, slots)


def _elementwise() -> Named:
    x = _empty(16, _WIDTH, dtype=_BRAIN)
    weight = _empty(_WIDTH, dtype=_BRAIN)
    yield "rms_norm", elementwise.norm_launch(x, None, x, None, weight, 1e-5)
    yield "add_rms_norm", elementwise.norm_launch(x, x, x, x, weight, 1e-5)
    q, k = _empty(16, 32, 128, dtype=_BRAIN), _empty(16, 8, 128, dtype=_BRAIN)
    table = _empty(4096, 64, dtype=_FULL)
    positions = _empty(16, dtype=torch.int32)
    yield "rope", elementwise.rope_launch(q, k, q, k, positions, table, table)
    both = _empty(16, 2 * 11008, dtype=_BRAIN)
    yield "silu_mul", elementwise.gated_launch(_empty(16, 11008, dtype=_BRAIN), both)
    ids = _empty(16, dtype=torch.int64)
    yield "embedding", elementwise.embedding_launch(x, ids, _empty(32000, _WIDTH, dtype=_BRAIN))
    grid = QuantizedWeight(
        _empty(32000, _WIDTH // 2, dtype=torch.uint8),
        _empty(32000, _WIDTH // 64, dtype=_HALF),
        None,
        4,
        64,
    )
    out = _empty(16, _WIDTH, dtype=_FULL)
    yield "embedding int4", elementwise.embedding_launch(out, ids, grid)


def _sampling() -> Named:
    logits = _empty(16, 32000, dtype=_FULL)
    number = _empty(16, dtype=_FULL)
    survey, choose = sampling.sample_launches(
        _empty(16, dtype=torch.int64), logits, _empty(16, dtype=torch.float64), number, number
    )
    yield "sample survey", survey
    yield "sample choose", choose
