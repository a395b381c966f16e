"""Weights that lie on a grid already, such as those that came out of a GGUF file.

Their grid is found from the weights alone and they are taken over unchanged, bit for bit: the step
is tried as the span of a group divided by every number of steps that the codes allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from kernels.weights import QuantizedWeight, pack_nibbles
from serving.quantization.grid import LEVELS, in_groups

_FIRST = 64
"""Groups that a kind of grid is tried on before the others."""

_Guess = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From groups [M, g] to steps [M, 1] and what is added to step x code [M, 1]."""


def exact_grid(weight: torch.Tensor, bits: int = 4, group: int = 32) -> QuantizedWeight | None:
    """A matrix as codes whose values are exactly its numbers.

    With 4 bits symmetric grids are tried first, then integer zero points, then offsets (which the
    blocks of GGUF's Q4_1 have); with 8 bits symmetric ones (Q8_0).

    Args:
        weight: float32 [N, K].
        bits: 4 or 8.
        group: Columns that share a scale.

    Returns:
        None if some group lies on no such grid.
    """
    if weight.shape[1] % group or not bool(torch.isfinite(weight).all()):
        return None
    flat = in_groups(weight, group).reshape(-1, group)
    shape = weight.shape[0], weight.shape[1] // group
    if bits == 8:
        found = _fit(flat, _centred(range(127, 0, -1)), -127, 127)
        if found is None:
            return None
        codes, step, _ = found
        return QuantizedWeight(
            codes.to(torch.int8).reshape(weight.shape), step.half().reshape(shape), None, 8, group
        )
    for kind, guesses in (("none", _symmetric), ("points", _points), ("offsets", _offsets)):
        if _fit(flat[:_FIRST], guesses(), 0, LEVELS) is None:
            continue
        found = _fit(flat, guesses(), 0, LEVELS)
        if found is None:
            continue
        codes, step, added = found
        packed = pack_nibbles(codes.to(torch.uint8).reshape(weight.shape))
        zeros = None
        if kind == "points":
            safe = torch.where(step == 0, 1.0, step)
            zeros = (-added / safe).round().to(torch.uint8).reshape(shape)
        elif kind == "offsets":
            zeros = added.half().reshape(shape)
        found_weight = QuantizedWeight(packed, step.half().reshape(shape), zeros, 4, group)
        if torch.equal(found_weight.dequantize(), weight):
            return found_weight
    return None


def _fit(
    flat: torch.Tensor, guesses: Iterable[_Guess], lowest: int, highest: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Codes [M, g], steps [M] and additions [M] by the first guess that reproduces each group."""
    codes = torch.empty_like(flat)
    step, added = torch.empty(len(flat)), torch.empty(len(flat))
    left = torch.arange(len(flat))
    for guess in guesses:
        part = flat[left]
        size, addition = guess(part)
        safe = torch.where(size == 0, torch.inf, size)
        tried = ((part - addition) / safe).round().clamp(lowest, highest)
        hit = (size * tried + addition == part).all(dim=1) & torch.isfinite(size).all(dim=1)
        rows = left[hit]
        codes[rows], step[rows], added[rows] = tried[hit], size[hit, 0], addition[hit, 0]
        left = left[~hit]
        if not len(left):
            return codes, step, added
    return None


def _centred(tops: Iterable[int]) -> Iterator[_Guess]:
    """The largest magnitude has this code, or its negative."""
    for top in tops:

        def guess(part: torch.Tensor, top: int = top) -> tuple[torch.Tensor, torch.Tensor]:
            step = _half(part.abs().amax(dim=1, keepdim=True) / top)
            return step, torch.zeros_like(step)

        yield guess


def _symmetric() -> Iterator[_Guess]:
    """Symmetric: the largest magnitude is at code 0 or 15, or further inside."""
    for top in range(8, 0, -1):
        for sign in (-1, 1):

            def guess(
                part: torch.Tensor, top: int = top, sign: int = sign
            ) -> tuple[torch.Tensor, torch.Tensor]:
                extreme = part.gather(1, part.abs().argmax(dim=1, keepdim=True))
                step = _half(sign * extreme / top)
                return step, -8 * step

            yield guess


def _spans() -> Iterator[tuple[int, int]]:
    """Numbers of steps between the smallest and the largest weight, and the smallest's code."""
    for span in range(LEVELS, 0, -1):
        for first in range(LEVELS - span + 1):
            yield span, first


def _points() -> Iterator[_Guess]:
    for span, first in _spans():

        def guess(
            part: torch.Tensor, span: int = span, first: int = first
        ) -> tuple[torch.Tensor, torch.Tensor]:
            low, step = _low_and_step(part, span)
            safe = torch.where(step == 0, 1.0, step)
            zero = (first - low / safe).round().clamp(0, LEVELS)
            return step, -step * zero

        yield guess


def _offsets() -> Iterator[_Guess]:
    for span, first in _spans():

        def guess(
            part: torch.Tensor, span: int = span, first: int = first
        ) -> tuple[torch.Tensor, torch.Tensor]:
            low, step = _low_and_step(part, span)
            return step, _half(low - first * step)

        yield guess


def _low_and_step(part: torch.Tensor, span: int) -> tuple[torch.Tensor, torch.Tensor]:
    low = part.amin(dim=1, keepdim=True)
    return low, _half((part.amax(dim=1, keepdim=True) - low) / span)


def _half(x: torch.Tensor) -> torch.Tensor:
    return x.half().float()
