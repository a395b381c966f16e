"""A decoder's packed matrices side by side in large pages of memory.

A step reads all of them in order; with pages of 2 MB the processor looks up few addresses, and
its prefetchers are not stopped every 4 KB.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace

import torch

from kernels.cpu.decoder_types import AnyPacked, DecoderWeights, LayerWeights
from kernels.packing import PackedAtomWeight, PackedWeight

_PAGE = 2 << 20
_LINE = 64


def side_by_side(weights: DecoderWeights) -> DecoderWeights:
    """The same weights with their packed matrices in one block of memory, in the order of use."""
    blobs = list({id(blob): blob for blob in _blobs(weights)}.values())
    arena = _large_pages(sum(_rounded(blob) for blob in blobs))
    moved: dict[int, torch.Tensor] = {}
    at = 0
    for blob in blobs:
        moved[id(blob)] = arena[at : at + blob.numel()].copy_(blob)
        at += _rounded(blob)

    def in_arena(packed: PackedWeight) -> PackedWeight:
        return replace(packed, blob=moved[id(packed.blob)])

    embedding = weights.embedding
    return replace(
        weights,
        embedding=in_arena(embedding) if isinstance(embedding, PackedWeight) else embedding,
        layers=[_moved_layer(layer, in_arena) for layer in weights.layers],
        lm_head=_moved(weights.lm_head, in_arena),
    )


def _moved_layer(layer: LayerWeights, move: Callable[[PackedWeight], PackedWeight]) -> LayerWeights:
    return replace(
        layer,
        qkv=_moved(layer.qkv, move),
        o=_moved(layer.o, move),
        gate_up=_moved(layer.gate_up, move),
        down=_moved(layer.down, move),
    )


def _moved(packed: AnyPacked, move: Callable[[PackedWeight], PackedWeight]) -> AnyPacked:
    if isinstance(packed, PackedAtomWeight):
        return replace(packed, low=move(packed.low), high=move(packed.high))
    return move(packed)


def _blobs(weights: DecoderWeights) -> list[torch.Tensor]:
    matrices: list[AnyPacked] = []
    for layer in weights.layers:
        matrices += [layer.qkv, layer.o, layer.gate_up, layer.down]
    matrices.append(weights.lm_head)
    if isinstance(weights.embedding, PackedWeight):
        matrices.append(weights.embedding)
    return [
        part.blob
        for one in matrices
        for part in ((one.low, one.high) if isinstance(one, PackedAtomWeight) else (one,))
    ]


def _rounded(blob: torch.Tensor) -> int:
    return -(-blob.numel() // _LINE) * _LINE


def _large_pages(size: int) -> torch.Tensor:
    """Memory for ``size`` bytes, uint8, at a multiple of 2 MB, in large pages where there are."""
    memory = mmap.mmap(-1, size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    skip = -whole.data_ptr() % _PAGE
    return whole[skip : skip + size]
