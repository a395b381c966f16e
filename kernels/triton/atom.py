"""Linear layers of mixed precision (Atom): 4-bit weights and activations, 8 bits for outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kernels.triton import atom_kernels
from kernels.triton.launch import Launch, Target, ceil_div, power_of_two, target_of
from kernels.triton.layout import Layout
from kernels.triton.linear import LinearConfig, check_rows, linear_config, packed_layout

if TYPE_CHECKING:
    from kernels.packing import PackedAtomWeight

_GROUPS = 4
"""Groups that one program quantizes."""


@dataclass(frozen=True)
class AtomActivations:
    """Reordered, quantized activations: int8 codes [m, padded] and float32 scales [groups, m]."""

    low: torch.Tensor
    low_scales: torch.Tensor
    high: torch.Tensor
    high_scales: torch.Tensor


def w4a4_linear(
    x: torch.Tensor,
    packed: PackedAtomWeight,
    clip: float = 0.9,
    config: LinearConfig | None = None,
) -> torch.Tensor:
    """`kernels.reference.linear.w4a4_linear` with a packed weight.

    Args:
        x: [..., k] float16, bfloat16 or float32.
        packed: From `kernels.packing.pack_atom`.
        clip: Share of the largest activation of a group at which INT4 saturates.
        config: Instead of `linear_config`'s.

    Returns:
        [..., n] in x's type.

    Raises:
        ValueError: Shapes that do not fit.
    """
    low, high = packed_layout(packed.low), packed_layout(packed.high)
    rows = check_rows(x, low.k + high.k)
    order = packed.order
    if order.shape != (low.k + high.k,) or order.dtype != torch.int32:
        raise ValueError(f"order must be int32 [{low.k + high.k}]")
    y = torch.empty(rows.shape[0], low.n, dtype=x.dtype, device=x.device)
    if y.numel():
        for launch in atom_launches(
            y, rows, packed.low.blob, low, packed.high.blob, high, order, clip, target_of(x), config
        ):
            launch.run()
    return y.view(*x.shape[:-1], low.n)


def atom_launches(
    y: torch.Tensor,
    x: torch.Tensor,
    low_blob: torch.Tensor,
    low: Layout,
    high_blob: torch.Tensor,
    high: Layout,
    order: torch.Tensor,
    clip: float,
    target: Target,
    config: LinearConfig | None = None,
) -> list[Launch]:
    """What to launch for y [m, n]: quantizing x [m, k], then the product."""
    quantize, activations = _quantize(x, low, high, order, clip)
    config = config or linear_config(x.shape[0], low, x.dtype, 8, target)
    product = _product(y, activations, low_blob, low, high_blob, high, config)
    return [quantize, product]


def _quantize(
    x: torch.Tensor, low: Layout, high: Layout, order: torch.Tensor, clip: float
) -> tuple[Launch, AtomActivations]:
    m = x.shape[0]

    def outputs(layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
        codes = torch.empty(m, layout.blocks * layout.block, dtype=torch.int8, device=x.device)
        return codes, torch.empty(layout.groups, m, dtype=torch.float32, device=x.device)

    def programs(layout: Layout) -> int:
        return ceil_div(layout.blocks * layout.block, layout.group * _GROUPS)

    found = AtomActivations(*outputs(low), *outputs(high))
    arguments = {
        "low": found.low,
        "low_scales": found.low_scales,
        "high": found.high,
        "high_scales": found.high_scales,
        "x": x,
        "order": order,
        "m": m,
        "low_count": low.k,
        "low_padded": found.low.shape[1],
        "high_count": high.k,
        "high_padded": found.high.shape[1],
        "stride_x": x.stride(0),
        "clip": float(clip),
        "LOW_PROGRAMS": programs(low),
        "LOW_GROUP": low.group,
        "LOW_WIDTH": power_of_two(low.group),
        "HIGH_GROUP": high.group,
        "HIGH_WIDTH": power_of_two(high.group),
        "GROUPS": _GROUPS,
    }
    return Launch(
        atom_kernels.reorder_quantize, (m, programs(low) + programs(high)), arguments
    ), found


def _product(
    y: torch.Tensor,
    x: AtomActivations,
    low_blob: torch.Tensor,
    low: Layout,
    high_blob: torch.Tensor,
    high: Layout,
    config: LinearConfig,
) -> Launch:
    m, n = y.shape
    low_views, high_views = low.views(low_blob), high.views(high_blob)
    split = config.split if m <= config.block_m else 1
    partial = None
    if split > 1:
        partial = torch.empty(split, m, n, dtype=torch.float32, device=y.device)
    arguments = {
        "y": y,
        "partial": partial,
        "counters": low_views.counters,
        "low": x.low,
        "low_scales": x.low_scales,
        "high": x.high,
        "high_scales": x.high_scales,
        "low_words": low_views.words,
        "low_weight_scales": low_views.scales,
        "high_words": high_views.words,
        "high_weight_scales": high_views.scales,
        "m": m,
        "n": n,
        "low_count": low.k,
        "low_blocks": low.blocks,
        "low_stride": x.low.stride(0),
        "high_count": high.k,
        "high_blocks": high.blocks,
        "high_stride": x.high.stride(0),
        "LOW_GROUP": low.group,
        "LOW_PARTS": low.parts,
        "HIGH_GROUP": high.group,
        "HIGH_PARTS": high.parts,
        "SPLIT": split,
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "WARPS": config.warps,
    }
    grid = (ceil_div(n, config.block_n), ceil_div(m, config.block_m), split)
    return Launch(atom_kernels.mixed_linear, grid, arguments, config.warps, config.stages)
