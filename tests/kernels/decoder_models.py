"""Small decoders with random weights, their step by definition in float64, and paged sequences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from kernels import packing, reference
from kernels.cpu.decoder import (
    TARGETS,
    Decoder,
    DecoderConfig,
    DecoderWeights,
    LayerWeights,
    LoraBatch,
    StepBatch,
)
from kernels.cpu.linear import pack_dense
from kernels.kv_cache import Kind, KVCache, allocate_kv_cache
from kernels.weights import AtomWeight, QuantizedWeight

Format = Literal["int4", "zeros", "offsets", "int8", "atom", "bf16", "f32"]
Weight = torch.Tensor | QuantizedWeight | AtomWeight

POSITIONS = 64


@dataclass(frozen=True)
class MadeLayer:
    """A layer before packing."""

    input_norm: torch.Tensor
    qkv: Weight
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    o: Weight
    post_norm: torch.Tensor
    gate_up: Weight
    down: Weight


@dataclass(frozen=True)
class Made:
    """A decoder before packing; ``tied``: its head is its embedding."""

    config: DecoderConfig
    embedding: Weight
    layers: list[MadeLayer]
    final_norm: torch.Tensor
    head: Weight
    cos: torch.Tensor
    sin: torch.Tensor

    def packed(self) -> DecoderWeights:
        head, embedding = pack(self.head), self.embedding
        rows = embedding if isinstance(embedding, torch.Tensor) else pack(embedding)
        rows = head if self.embedding is self.head else rows
        assert not isinstance(rows, packing.PackedAtomWeight)
        layers = [
            LayerWeights(
                one.input_norm, pack(one.qkv), one.qkv_bias, one.q_norm, one.k_norm, pack(one.o),
                one.post_norm, pack(one.gate_up), pack(one.down),
            )
            for one in self.layers
        ]  # fmt: skip
        return DecoderWeights(rows, layers, self.final_norm, head, self.cos, self.sin)

    def decoder(self, activation_bits: Literal[16, 8] = 16) -> Decoder:
        return Decoder(self.config, self.packed(), activation_bits)


def pack(weight: Weight) -> packing.PackedWeight | packing.PackedAtomWeight:
    if isinstance(weight, QuantizedWeight):
        return packing.pack(weight)
    return packing.pack_atom(weight) if isinstance(weight, AtomWeight) else pack_dense(weight)


def make(
    draw: torch.Generator,
    kind: Format = "int4",
    *,
    qk_norm: bool = False,
    qkv_bias: bool = False,
    tied: bool = False,
    heads: int = 6,
    kv_heads: int = 2,
) -> Made:
    """Two layers; widths that are multiples of the group but of nothing rounder."""
    config = DecoderConfig(96, 2, heads, kv_heads, 32, 160, 77, 1e-5, qk_norm, qkv_bias)
    q, kv = config.q_width, config.kv_width

    def matrix(n: int, k: int, own: Format = kind) -> Weight:
        dense = torch.randn(n, k, generator=draw) / k**0.5
        if own == "f32":
            return dense
        if own == "bf16":
            return dense.bfloat16()
        if own == "atom":
            order = torch.randperm(k, generator=draw).to(torch.int32)
            dense = dense[:, order.long()]
            return AtomWeight(
                quantized(dense[:, :-32], "int4"), quantized(dense[:, -32:], "int8"), order
            )
        return quantized(dense, own)

    def vector(n: int) -> torch.Tensor:
        return torch.rand(n, generator=draw) + 0.5

    def layer() -> MadeLayer:
        return MadeLayer(
            vector(96),
            matrix(q + 2 * kv, 96),
            torch.randn(q + 2 * kv, generator=draw) if qkv_bias else None,
            vector(32) if qk_norm else None,
            vector(32) if qk_norm else None,
            matrix(96, q),
            vector(96),
            matrix(320, 96),
            matrix(96, 160),
        )

    head = matrix(77, 96, "int8" if kind == "atom" else kind)
    embedding = head if tied else torch.randn(77, 96, generator=draw)
    angles = torch.outer(torch.arange(POSITIONS).float(), 0.3 ** torch.arange(16).float())
    layers = [layer(), layer()]
    return Made(config, embedding, layers, vector(96), head, angles.cos(), angles.sin())


def quantized(dense: torch.Tensor, kind: Format) -> QuantizedWeight:
    """Round to nearest in groups of 32."""
    groups = dense.unflatten(1, (-1, 32))
    low, high = groups.amin(-1), groups.amax(-1)
    zeros = None
    if kind == "int8":
        scales = (groups.abs().amax(-1) / 127).half()
        codes = (groups / scales[..., None].float()).round().clamp(-127, 127)
        return QuantizedWeight(codes.flatten(1).to(torch.int8), scales, None, 8, 32)
    if kind == "int4":
        scales = (groups.abs().amax(-1) / 7).half()
        middle = torch.full_like(low, 8.0)
    else:
        scales = ((high - low) / 15).half()
        middle = (-low / scales.float()).round().clamp(0, 15)
        zeros = middle.to(torch.uint8) if kind == "zeros" else low.half()
    if kind == "offsets":
        codes = (groups - low.half().float()[..., None]) / scales[..., None].float()
    else:
        codes = groups / scales[..., None].float() + middle[..., None]
    flat = codes.round().clamp(0, 15).flatten(1).to(torch.uint8)
    return QuantizedWeight(flat[:, ::2] | flat[:, 1::2] << 4, scales, zeros, 4, 32)


def reference_step(made: Made, batch: StepBatch, activation_bits: int = 16) -> torch.Tensor:
    """The step from the operations' definitions, in float64; writes to the batch's caches."""
    c = made.config

    def linear(x: torch.Tensor, weight: Weight, bias: torch.Tensor | None = None) -> torch.Tensor:
        if isinstance(weight, AtomWeight):
            y = reference.w4a4_linear(x, weight)
            return y if bias is None else y + bias
        if isinstance(weight, QuantizedWeight):
            return reference.int4_linear(x, weight, activation_bits, bias)
        return reference.dense_linear(x, weight, bias)

    def adapt(y: torch.Tensor, x: torch.Tensor, number: int, *targets: str) -> None:
        for name in targets if batch.lora is not None else ():
            lora, (_, n, column) = batch.lora, c.target_shapes()[name]
            assert lora is not None
            if name in lora.pages[number]:
                a, b = lora.pages[number][name]
                reference.lora_sgmv(
                    y[:, column : column + n], x, lora.pool, lora.indptr, a, b, lora.rank_indptr,
                    lora.scales,
                )  # fmt: skip

    table = made.embedding
    assert not isinstance(table, AtomWeight)
    rows = table.dequantize(torch.float64) if isinstance(table, QuantizedWeight) else table.double()
    residual = reference.embedding(batch.ids, rows)
    for number, (layer, cache) in enumerate(zip(made.layers, batch.kv, strict=True)):
        x = reference.rms_norm(residual, layer.input_norm, c.rms_eps)
        qkv = linear(x, layer.qkv, layer.qkv_bias)
        adapt(qkv, x, number, "q", "k", "v")
        q, k, v = qkv.unflatten(-1, (-1, c.head_dim)).split([c.heads, c.kv_heads, c.kv_heads], 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q = reference.rms_norm(q, layer.q_norm, c.rms_eps)
            k = reference.rms_norm(k, layer.k_norm, c.rms_eps)
        q, k = reference.rope(q, k, batch.positions, made.cos, made.sin)
        reference.write_kv(k, v, cache, batch.slots)
        x = reference.paged_attention(
            q, cache, batch.block_tables, batch.context_lens, batch.query_indptr, c.head_dim**-0.5
        ).flatten(1)
        y = linear(x, layer.o)
        adapt(y, x, number, "o")
        residual = residual + y
        x = reference.rms_norm(residual, layer.post_norm, c.rms_eps)
        gate_up = linear(x, layer.gate_up)
        adapt(gate_up, x, number, "gate", "up")
        x = reference.silu_mul(gate_up)
        y = linear(x, layer.down)
        adapt(y, x, number, "down")
        residual = residual + y
    return linear(
        reference.rms_norm(residual[batch.rows.long()], made.final_norm, c.rms_eps), made.head
    )


@dataclass
class Paged:
    """Sequences whose blocks lie anywhere in caches that begin full of NaN."""

    config: DecoderConfig
    kv: list[KVCache]
    free: list[int]
    block_size: int
    tables: list[list[int]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @classmethod
    def empty(
        cls,
        config: DecoderConfig,
        draw: torch.Generator,
        kind: Kind = "bf16",
        block_size: int = 4,
        blocks: int = 40,
    ) -> Paged:
        kv = [
            allocate_kv_cache(blocks, config.kv_heads, block_size, config.head_dim, kind)
            for _ in range(config.layers)
        ]
        for cache in kv:
            for tensor in (cache.keys, cache.values, cache.key_params, cache.value_params):
                if tensor is not None:
                    tensor.fill_(float("nan") if tensor.is_floating_point() else 255)
        return cls(config, kv, torch.randperm(blocks, generator=draw).tolist(), block_size)

    def batch(
        self,
        tokens: Mapping[int, Sequence[int]],
        rows: Sequence[int] | None = None,
        lora: LoraBatch | None = None,
    ) -> StepBatch:
        """Append tokens to sequences by number; logits of all tokens unless ``rows`` says which."""
        ids, positions, slots, indptr = [], [], [], [0]
        for sequence, new in tokens.items():
            while len(self.lengths) <= sequence:
                self.lengths.append(0)
                self.tables.append([])
            for token in new:
                place = self.lengths[sequence]
                if place % self.block_size == 0:
                    self.tables[sequence].append(self.free.pop())
                ids.append(token)
                positions.append(place)
                block = self.tables[sequence][place // self.block_size]
                slots.append(block * self.block_size + place % self.block_size)
                self.lengths[sequence] += 1
            indptr.append(len(ids))
        width = max((len(self.tables[s]) for s in tokens), default=0) + 1
        # What lies past a sequence's end must not be read.
        tables = [self.tables[s] + [-9] * (width - len(self.tables[s])) for s in tokens]
        return StepBatch(
            int32(ids), int32(positions), int32(indptr), int32([self.lengths[s] for s in tokens]),
            int32(tables).reshape(len(tokens), width), torch.tensor(slots, dtype=torch.int64),
            self.kv, int32(range(len(ids)) if rows is None else rows), lora,
        )  # fmt: skip


def int32(numbers: Iterable[int] | Sequence[list[int]]) -> torch.Tensor:
    return torch.tensor(list(numbers), dtype=torch.int32)


def with_own_caches(batch: StepBatch) -> StepBatch:
    """The same step on copies of its caches."""
    kv = [
        replace(
            cache,
            keys=cache.keys.clone(),
            values=cache.values.clone(),
            key_params=None if cache.key_params is None else cache.key_params.clone(),
            value_params=None if cache.value_params is None else cache.value_params.clone(),
        )
        for cache in batch.kv
    ]
    return replace(batch, kv=kv)


def adapters(
    config: DecoderConfig,
    draw: torch.Generator,
    segments: Sequence[int],
    ranks: Sequence[int],
    *,
    first: int = 0,
    targets: Sequence[str] = TARGETS,
    dtype: torch.dtype = torch.float16,
    page_size: int = 48,
    size: float = 0.3,
) -> LoraBatch:
    """Adapters of ``ranks`` for ``segments`` rows each, from row ``first``, pages shuffled."""
    total, shapes = sum(ranks), config.target_shapes()
    counts = {name: (-(-k // page_size), -(-n // page_size)) for name, (k, n, _) in shapes.items()}
    pages = config.layers * total * sum(a + b for a, b in counts.values()) + 2
    order = torch.randperm(pages, generator=draw).to(torch.int32)
    used = 0

    def table(width: int) -> torch.Tensor:
        nonlocal used
        used += total * width
        return order[used - total * width : used].reshape(total, width)

    tables = [
        {name: (table(counts[name][0]), table(counts[name][1])) for name in targets}
        for _ in range(config.layers)
    ]
    indptr = int32([first, *(first + sum(segments[: i + 1]) for i in range(len(segments)))])
    rank_indptr = int32([0, *(sum(ranks[: i + 1]) for i in range(len(ranks)))])
    scales = torch.rand(len(ranks), generator=draw) + 0.5
    pool = (torch.randn(pages, page_size, generator=draw) * size / 5).to(dtype)
    return LoraBatch(indptr, rank_indptr, scales, pool, tables)
