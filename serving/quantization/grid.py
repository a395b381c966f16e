"""Grids: the numbers that a group of weights may take, and rounding to them.

A group is ``group`` neighbouring weights of one row. Its grid is

- symmetric, 4 bits: ``scale * (code - 8)``, codes 0 to 15. The weight of the largest magnitude
  gets code 0, so that all sixteen codes are used; the scale has the sign that this takes (as in
  GGUF's Q4_0).
- asymmetric, 4 bits: ``scale * (code - zero)``, zero point an integer from 0 to 15. The range from
  the smallest to the largest weight, widened to contain 0, is divided by 15.
- 8 bits: ``scale * code``, codes -127 to 127; always symmetric.

Scales are rounded to float16 before codes are computed: what is stored is what was optimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.weights import QuantizedWeight, pack_nibbles
from serving.errors import ServingError

LEVELS = 15
"""Steps of a 4-bit grid."""


@dataclass(frozen=True)
class Grid:
    """Which grids to use.

    Attributes:
        bits: 4 or 8.
        group: Columns that share a scale.
        symmetric: Without zero points; 8 bits are always so.
    """

    bits: int = 4
    group: int = 64
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise ServingError(f"{self.bits} bits are not supported", remedy="use 4 or 8")
        if self.group < 8 or self.group % 8:
            raise ServingError(
                f"groups of {self.group} are not possible", remedy="use a multiple of 8"
            )

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return 0 if self.bits == 4 else -127

    @property
    def highest(self) -> int:
        """The largest code."""
        return LEVELS if self.bits == 4 else 127


@dataclass(frozen=True)
class Ranges:
    """The grids of a matrix, one per row and group: ``scale * (code - zero)``.

    Attributes:
        scale: float32 [N, K/group], each representable in float16; 0 where a group is all zeros,
            infinite where weights are too large for float16.
        zero: float32 [N, K/group], whole numbers: the code that stands for 0.
    """

    scale: torch.Tensor
    zero: torch.Tensor


def in_groups(weight: torch.Tensor, group: int) -> torch.Tensor:
    """A matrix [N, K] as [N, K/group, group]."""
    return weight.reshape(weight.shape[0], -1, group)


def check_group(layer: str, columns: int, group: int) -> None:
    """Whether groups divide a layer's columns.

    Raises:
        ServingError: They do not; the message names groups that would.
    """
    if columns % group:
        fitting = [g for g in (16, 32, 48, 64, 96, 128, 192, 256) if columns % g == 0]
        raise ServingError(
            f"groups of {group} do not divide the {columns} columns of {layer}",
            remedy=f"use --group {' or '.join(map(str, fitting))}" if fitting else None,
        )


def find_ranges(weight: torch.Tensor, grid: Grid, shrink: torch.Tensor | float = 1.0) -> Ranges:
    """The grids that span each group's weights, or a part of that span.

    Args:
        weight: float32 [N, K].
        grid: Of which kind.
        shrink: Factor of the span, a number or [N, K/group]; below 1 outer weights are clipped.
    """
    groups = in_groups(weight, grid.group)
    if grid.bits == 8 or grid.symmetric:
        low, high = groups.amin(dim=-1), groups.amax(dim=-1)
        if grid.bits == 8:
            scale = torch.maximum(-low, high) / 127
            zero = torch.zeros_like(scale)
        else:
            scale = torch.where(-low >= high, -low, -high) / 8
            zero = torch.full_like(scale, 8.0)
        return Ranges(_half(scale * shrink), zero)
    low = groups.amin(dim=-1).clamp(max=0) * shrink
    high = groups.amax(dim=-1).clamp(min=0) * shrink
    scale = _half((high - low) / LEVELS)
    safe = torch.where(scale == 0, 1.0, scale)
    return Ranges(scale, (-low / safe).round().clamp(0, LEVELS))


def find_codes(weight: torch.Tensor, ranges: Ranges, grid: Grid) -> torch.Tensor:
    """The nearest code of each weight (ties to even): float32 [N, K], whole numbers."""
    groups = in_groups(weight, grid.group)
    safe = torch.where(ranges.scale == 0, torch.inf, ranges.scale)[..., None]
    codes = (groups / safe + ranges.zero[..., None]).round_()
    return codes.clamp_(grid.lowest, grid.highest).reshape(weight.shape)


def values_of(codes: torch.Tensor, ranges: Ranges, grid: Grid) -> torch.Tensor:
    """What codes stand for: float32 [N, K]."""
    groups = in_groups(codes, grid.group)
    values = ranges.scale[..., None] * (groups - ranges.zero[..., None])
    return values.reshape(codes.shape)


def snap(weight: torch.Tensor, ranges: Ranges, grid: Grid) -> torch.Tensor:
    """Each weight's nearest number on its grid: float32 [N, K]."""
    return values_of(find_codes(weight, ranges, grid), ranges, grid)


def pack(codes: torch.Tensor, ranges: Ranges, grid: Grid) -> QuantizedWeight:
    """The matrix as stored in checkpoints.

    Args:
        codes: Whole numbers [N, K] of any type.
        ranges: Their grids.
        grid: Of which kind they are.
    """
    if grid.bits == 8:
        return QuantizedWeight(
            codes=codes.to(torch.int8),
            scales=ranges.scale.half(),
            zeros=None,
            bits=8,
            group=grid.group,
        )
    return QuantizedWeight(
        codes=pack_nibbles(codes.to(torch.uint8)),
        scales=ranges.scale.half(),
        zeros=None if grid.symmetric else ranges.zero.to(torch.uint8),
        bits=4,
        group=grid.group,
    )


def quantize_to_grid(
    weight: torch.Tensor, grid: Grid, shrink: torch.Tensor | float = 1.0
) -> QuantizedWeight:
    """Round to nearest.

    Args:
        weight: float32 [N, K].
        grid: Of which kind.
        shrink: See `find_ranges`.
    """
    ranges = find_ranges(weight, grid, shrink)
    return pack(find_codes(weight, ranges, grid), ranges, grid)


def _half(scale: torch.Tensor) -> torch.Tensor:
    """Rounded to float16, but kept as float32."""
    return scale.half().float()
