"""The packed layout of 4-bit and 8-bit weights on a GPU, chosen once when a model is loaded.

A weight [N, K] becomes 32-bit words [K / block, N, 16]: the codes of one row in one block of K,
128 values of 4 bits or 64 of 8 bits, are 16 consecutive words. Inside a block the codes are
ordered as the tensor cores of compute capability 9.0 want their first operand in registers: a
thread's 16-byte load holds what that thread multiplies, so no data moves between threads.
Write a position in K, within its block, as ``32 m + 16 c + 8 j + 2 t + e`` (m 0..3 or 0..1, c, j,
e 0..1, t 0..3). Then

- 4 bits: word ``4 t + 2 (m % 2) + m // 2``, bits ``4 (4 e + 2 c + j)`` and up; the codes are
  stored as signed numbers (``code - 8`` in two's complement);
- 8 bits: word ``4 t + 2 j + m``, byte ``2 e + c``.

A blob is one byte tensor with the words, the scales (float16 [K / group, N]), the zero points or
offsets (float16, same shape, if any) and counters for reductions, each aligned to 256 bytes.
The counters are zero between launches; launches on one weight must not overlap in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import torch

from kernels.triton.launch import ceil_div

if TYPE_CHECKING:
    from kernels.weights import QuantizedWeight

WORDS = 16
"""Words of one row in one block of K."""
COUNTER_ROWS = 64
"""Rows of the weight per counter."""


@dataclass(frozen=True)
class Views:
    """The parts of a blob.

    Attributes:
        words: int32 [blocks, N, 16].
        scales: float16 [K / group, N].
        zeros: float16 [K / group, N]: zero points or offsets; None if there are none.
        counters: int32 [N / 64, rounded up].
    """

    words: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor | None
    counters: torch.Tensor


@dataclass(frozen=True)
class Layout:
    """Where the parts of a packed weight [n, k] lie.

    Attributes:
        zero_kind: 0 none, 1 zero points (w = s (q - z)), 2 offsets (w = s q + o).
    """

    n: int
    k: int
    group: int
    bits: int
    zero_kind: int

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise ValueError(f"weights of {self.bits} bits have no packed layout (4 or 8)")
        if self.group % 32 or self.group <= 0:
            raise ValueError(f"group size {self.group} is not a multiple of 32")
        if self.k % self.group:
            raise ValueError(f"group size {self.group} does not divide {self.k} columns")
        if self.bits == 8 and self.zero_kind:
            raise ValueError("8-bit weights are symmetric: they take no zero points")

    @property
    def block(self) -> int:
        """Values of K in one block."""
        return 128 if self.bits == 4 else 64

    @property
    def blocks(self) -> int:
        """Blocks along K; the last may be padded."""
        return ceil_div(self.k, self.block)

    @property
    def groups(self) -> int:
        """Groups along K."""
        return self.k // self.group

    @property
    def parts(self) -> int:
        """Parts of a block, each with one scale per row."""
        return self.block // gcd(self.group, self.block)

    def _parts(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        per_group = ((self.groups, self.n), torch.float16)
        return [
            ((self.blocks, self.n, WORDS), torch.int32),
            per_group,
            *([per_group] if self.zero_kind else []),
            ((ceil_div(self.n, COUNTER_ROWS),), torch.int32),
        ]

    def _spans(self) -> list[tuple[int, int]]:
        spans, start = [], 0
        for shape, dtype in self._parts():
            size = torch.Size(shape).numel() * dtype.itemsize
            spans.append((start, start + size))
            start += ceil_div(size, 256) * 256
        return spans

    @property
    def nbytes(self) -> int:
        """Length of the blob."""
        return ceil_div(self._spans()[-1][1], 256) * 256

    def views(self, blob: torch.Tensor) -> Views:
        """The parts of ``blob`` (uint8 [nbytes]), sharing its memory.

        Raises:
            ValueError: The blob has another length or type.
        """
        if blob.dtype != torch.uint8 or blob.shape != (self.nbytes,):
            raise ValueError(
                f"a packed weight [{self.n}, {self.k}] of {self.bits} bits has {self.nbytes} "
                f"bytes, not {tuple(blob.shape)} of {blob.dtype}"
            )
        found = [
            blob[start:stop].view(dtype).view(shape)
            for (start, stop), (shape, dtype) in zip(self._spans(), self._parts(), strict=True)
        ]
        return Views(found[0], found[1], found[2] if self.zero_kind else None, found[-1])


def layout_of(weight: QuantizedWeight) -> Layout:
    """The layout that a weight gets.

    Raises:
        ValueError: Its bits or group size have none.
    """
    n, k = weight.shape
    return Layout(n, k, weight.group, weight.bits, weight.zero_kind)


def pack_blob(weight: QuantizedWeight, device: torch.device | str) -> torch.Tensor:
    """The weight's blob (uint8 [bytes]) on ``device``.

    Raises:
        ValueError: Its bits or group size have no packed layout.
    """
    layout = layout_of(weight)
    blob = torch.zeros(layout.nbytes, dtype=torch.uint8)
    views = layout.views(blob)
    views.words.copy_(_words(weight.codes.cpu(), layout))
    views.scales.copy_(weight.scales.cpu().t())
    if views.zeros is not None and weight.zeros is not None:
        views.zeros.copy_(weight.zeros.cpu().t())
    return blob.to(device)


def _words(codes: torch.Tensor, layout: Layout) -> torch.Tensor:
    """int32 [blocks, N, 16] from the codes of a `QuantizedWeight`."""
    n, padding = layout.n, layout.blocks * layout.block - layout.k
    if layout.bits == 4:
        signed = torch.stack([codes & 15, codes >> 4], dim=-1).view(n, layout.k) ^ 8
        padded = torch.nn.functional.pad(signed, (0, padding))
        # [n, block, m % 2, m // 2 ...]: axes n, block, m // 2, m % 2, c, j, t, e
        parts = padded.view(n, layout.blocks, 2, 2, 2, 2, 4, 2)
        nibbles = parts.permute(1, 0, 6, 3, 2, 7, 4, 5).reshape(layout.blocks, n, WORDS, 4, 2)
        words = (nibbles[..., 0] | nibbles[..., 1] << 4).contiguous()
    else:
        parts = torch.nn.functional.pad(codes, (0, padding)).view(n, layout.blocks, 2, 2, 2, 4, 2)
        words = parts.permute(1, 0, 5, 4, 2, 6, 3).reshape(layout.blocks, n, WORDS, 4)
    return words.contiguous().view(torch.int32).view(layout.blocks, n, WORDS)
