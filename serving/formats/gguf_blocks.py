"""Blocks of 32 weights as ggml stores them, and ours.

======  =================================================  =====================
type    bytes of a block                                   weight
======  =================================================  =====================
Q4_0    d float16, 16 bytes of codes                       d * (code - 8)
Q4_1    d float16, m float16, 16 bytes of codes            d * code + m
Q8_0    d float16, 32 codes int8                           d * code
======  =================================================  =====================

In the bytes of 4-bit codes element i stands in the low nibble of byte i, element i + 16 in the
high one. Layout as in ggml 0.25, ``ggml-common.h``.
"""

from __future__ import annotations

import torch
from gguf import GGMLQuantizationType

from kernels.weights import QuantizedWeight, pack_nibbles, unpack_nibbles
from serving.errors import ServingError
from serving.formats.shared import regrouped

BLOCK = 32
"""Weights per block."""

Q4_0, Q4_1, Q8_0 = (
    GGMLQuantizationType.Q4_0,
    GGMLQuantizationType.Q4_1,
    GGMLQuantizationType.Q8_0,
)


def to_blocks(weight: QuantizedWeight) -> tuple[GGMLQuantizationType, torch.Tensor]:
    """A weight's type and its blocks, uint8 [N, bytes of a row].

    Exact, except that integer zero points become offsets -scale * zero, rounded to float16: at
    most 0.8 % of a step off.

    Raises:
        ServingError: Rows cannot be cut into blocks of 32 with one scale each.
    """
    if weight.group % BLOCK:
        raise ServingError(
            f"GGUF has blocks of {BLOCK}, which do not divide groups of {weight.group}",
            remedy="export to autoawq or compressed-tensors",
        )
    fine = regrouped(weight, BLOCK)
    rows = fine.shape[0]
    scales = _bytes(fine.scales)
    if fine.bits == 8:
        codes = fine.codes.view(torch.uint8).reshape(rows, -1, BLOCK)
        return Q8_0, torch.cat([scales, codes], dim=-1).flatten(1)
    halves = unpack_nibbles(fine.codes).reshape(rows, -1, 2, BLOCK // 2)
    codes = halves[:, :, 0] | (halves[:, :, 1] << 4)
    if fine.zeros is None:
        return Q4_0, torch.cat([scales, codes], dim=-1).flatten(1)
    offsets = fine.zeros
    if not offsets.is_floating_point():
        offsets = (-fine.scales.float() * offsets.float()).to(torch.float16)
    if not bool(torch.isfinite(offsets).all()):
        raise ServingError("an offset is beyond float16's range", remedy="export to autoawq")
    return Q4_1, torch.cat([scales, _bytes(offsets), codes], dim=-1).flatten(1)


def from_blocks(kind: GGMLQuantizationType, blocks: torch.Tensor) -> QuantizedWeight | None:
    """The weight in blocks, uint8 [N, bytes of a row]; exact.

    None if the type is another one, or an INT8 code is -128, which ours does not have.

    Raises:
        ValueError: Rows are no whole number of blocks.
    """
    size = {Q4_0: 18, Q4_1: 20, Q8_0: 34}.get(kind)
    if size is None:
        return None
    if blocks.shape[1] % size:
        raise ValueError(f"rows of {blocks.shape[1]} bytes are no whole number of {kind.name}")
    blocks = blocks.reshape(blocks.shape[0], -1, size)
    scales = _halves(blocks[..., :2])
    if kind == Q8_0:
        signed = blocks[..., 2:].flatten(1).view(torch.int8)
        if bool((signed == -128).any()):
            return None
        return QuantizedWeight(signed, scales, None, bits=8, group=BLOCK)
    codes = blocks[..., -BLOCK // 2 :]
    elements = torch.cat([codes & 15, codes >> 4], dim=-1).flatten(1)
    zeros = _halves(blocks[..., 2:4]) if kind == Q4_1 else None
    return QuantizedWeight(pack_nibbles(elements), scales, zeros, bits=4, group=BLOCK)


def _bytes(halves: torch.Tensor) -> torch.Tensor:
    """float16 [N, blocks] as uint8 [N, blocks, 2]."""
    return halves.flatten().view(torch.uint8).reshape(*halves.shape, 2)


def _halves(bytes_: torch.Tensor) -> torch.Tensor:
    """The inverse of `_bytes`."""
    return bytes_.flatten().view(torch.float16).reshape(bytes_.shape[:-1])
