"""Finding the fastest configuration by trying: never done unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, TypeVar

import torch
import triton
from triton.runtime.errors import OutOfResources

from kernels.packing import PackedWeight
from kernels.triton.launch import Launch, ceil_div, target_of
from kernels.triton.linear import LinearConfig, linear_launches, packed_layout

Config = TypeVar("Config")


def autotune(
    launches: Callable[[Config], Sequence[Launch]],
    candidates: Sequence[Config],
    milliseconds: int = 50,
) -> Config:
    """The candidate whose launches take least time on this GPU, the cache emptied between runs.

    Args:
        launches: What a configuration launches.
        candidates: Those to try; what does not fit the GPU is passed over.
        milliseconds: Spent on each.

    Raises:
        ValueError: No candidate fits.
    """
    times: list[tuple[float, int]] = []
    for index, candidate in enumerate(candidates):

        def run(tried: Config = candidate) -> None:
            for launch in launches(tried):
                launch.run()

        try:
            found: Any = triton.testing.do_bench(run, rep=milliseconds, return_mode="median")
        except OutOfResources:
            continue
        times.append((float(found), index))
    if not times:
        raise ValueError("no candidate fits this GPU")
    return candidates[min(times)[1]]


def linear_candidates(m: int, fold: bool | None = None) -> list[LinearConfig]:
    """Configurations of a linear layer worth trying for ``m`` rows."""
    if m <= 16:
        blocks, widths, splits = [8 if m <= 8 else 16], [(64, 4), (128, 4), (128, 8)], [1, 2, 4, 8]
    else:
        rows = [32, 64, 128, 256]
        blocks = [block for block in rows if block <= 2 * m]
        widths, splits = [(64, 4), (128, 4), (128, 8), (256, 8)], [1]
    folds = [m > 16] if fold is None else [fold]
    return [
        LinearConfig(block, width, split, folded, warps, stages)
        for block, (width, warps), split, folded, stages in product(
            blocks, widths, splits, folds, [2, 3, 4, 5]
        )
    ]


def tune_linear(
    packed: PackedWeight, m: int, dtype: torch.dtype, activation_bits: int = 16
) -> LinearConfig:
    """The fastest configuration for ``m`` rows; pass it to `kernels.triton.linear.int4_linear`."""
    layout, device = packed_layout(packed), packed.device
    x = torch.randn(m, packed.k, dtype=dtype, device=device)
    y = torch.empty(m, packed.n, dtype=dtype, device=device)
    target = target_of(x)
    candidates = [
        config
        for config in linear_candidates(m)
        if config.split <= max(1, ceil_div(layout.blocks, 2))
    ]
    return autotune(
        lambda config: linear_launches(
            y, x, packed.blob, layout, activation_bits, None, target, config
        ),
        candidates,
    )
