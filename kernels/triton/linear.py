"""Linear layers with 4-bit and 8-bit weights on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import triton.language as tl

from kernels.triton import linear_kernels
from kernels.triton.launch import (
    Launch,
    Target,
    ceil_div,
    check_size,
    power_of_two,
    target_of,
)
from kernels.triton.layout import Layout, pack_blob

if TYPE_CHECKING:
    from kernels.packing import PackedWeight
    from kernels.weights import QuantizedWeight

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


@dataclass(frozen=True)
class LinearConfig:
    """How a linear layer is cut into programs.

    Attributes:
        block_m: Rows of x per program.
        block_n: Outputs per program: a multiple of 16 times ``warps``.
        split: Programs that share the sum over K of one tile.
        fold: Multiply weights by their scales before the product (one rounding per weight, less
            work per row) instead of sums by scales after it.
    """

    block_m: int
    block_n: int
    split: int
    fold: bool
    warps: int
    stages: int


def pack(weight: QuantizedWeight, device: torch.device | str | None = None) -> PackedWeight:
    """The weight in the layout of `kernels.triton.layout`, on a GPU (default: the current one).

    Raises:
        ValueError: Its group size has no packed layout (multiples of 32 have one).
    """
    from kernels.packing import PackedWeight

    n, k = weight.shape
    blob = pack_blob(weight, "cuda" if device is None else device)
    return PackedWeight(blob, n, k, weight.group, weight.bits, weight.zero_kind)


def linear_config(
    m: int, layout: Layout, dtype: torch.dtype, activation_bits: int, target: Target
) -> LinearConfig:
    """The configuration for ``m`` rows of ``dtype``, from a small table by the shape's class."""
    integer = activation_bits == 8
    wide = dtype == torch.float32 and not integer
    if m <= 16 or wide:  # float32 products take three passes and twice the memory
        block_m, block_n, warps, stages = (8 if m <= 8 else 16), 128, 4, 4
        if wide or layout.n < 128 * target.processors // 2:
            block_n = 64
    elif m <= 32:
        block_m, block_n, warps, stages = 32, 128, 4, 4
    elif m <= 64:
        block_m, block_n, warps, stages = 64, 128, 8, 4
    elif m < 512 or integer or not target.warpgroups:
        block_m, block_n, warps, stages = 128, 128, 8, 3
    else:
        block_m, block_n, warps, stages = 256, 128, 8, 3
    size = 1 if integer else dtype.itemsize
    while _shared(block_m, block_n, stages, layout, size) > target.shared:
        if stages > 2:
            stages -= 1
        else:
            block_m //= 2
    tiles = ceil_div(m, block_m) * ceil_div(layout.n, block_n)
    split = 1
    if m <= block_m:  # several programs per processor hide each other's waiting
        wanted = ceil_div(4 * target.processors, tiles)
        split = max(1, min(wanted, layout.blocks // 4, 16))
    return LinearConfig(block_m, block_n, split, m > 16 and not integer, warps, stages)


def _shared(block_m: int, block_n: int, stages: int, layout: Layout, size: int) -> int:
    """Bytes that the pipeline holds, at most: activations of ``size`` bytes, and words."""
    return stages * block_m * layout.block * size + (stages - 1) * block_n * 64


def int4_linear(
    x: torch.Tensor,
    packed: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
    config: LinearConfig | None = None,
) -> torch.Tensor:
    """`kernels.reference.linear.int4_linear` with a packed weight.

    Args:
        x: [..., k] float16, bfloat16 or float32.
        packed: From `pack`.
        activation_bits: 16, or 8 to quantize x per row and group and multiply integers.
        bias: [n].
        config: Instead of `linear_config`'s.

    Returns:
        [..., n] in x's type.

    Raises:
        ValueError: Shapes that do not fit, or another number of bits.
    """
    layout = packed_layout(packed)
    rows = check_rows(x, layout.k)
    if activation_bits not in (8, 16):
        raise ValueError(f"activations of {activation_bits} bits are not supported (8 or 16)")
    y = torch.empty(rows.shape[0], layout.n, dtype=x.dtype, device=x.device)
    check_size(y)
    if y.numel():
        for launch in linear_launches(
            y, rows, packed.blob, layout, activation_bits, bias, target_of(x), config
        ):
            launch.run()
    return y.view(*x.shape[:-1], layout.n)


def int8_linear(
    x: torch.Tensor,
    packed: PackedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
    config: LinearConfig | None = None,
) -> torch.Tensor:
    """`int4_linear` with a weight of 8 bits, which is symmetric."""
    return int4_linear(x, packed, activation_bits, bias, config)


def packed_layout(packed: PackedWeight) -> Layout:
    """Where the parts of a packed weight lie."""
    return Layout(packed.n, packed.k, packed.group, packed.bits, packed.zero_kind)


def check_rows(x: torch.Tensor, k: int) -> torch.Tensor:
    """x [..., k] as [rows, k] with adjacent columns.

    Raises:
        ValueError: Another width, a type that is not floating, or 2**31 values and more.
    """
    if x.shape[-1] != k:
        raise ValueError(f"the layer takes {k} features, got {x.shape[-1]}")
    if x.dtype not in TYPES:
        raise ValueError(f"activations must be float16, bfloat16 or float32, not {x.dtype}")
    rows = x.reshape(-1, k)
    if rows.stride(-1) != 1:
        rows = rows.contiguous()
    check_size(rows)
    return rows


def linear_launches(
    y: torch.Tensor,
    x: torch.Tensor,
    blob: torch.Tensor,
    layout: Layout,
    activation_bits: int,
    bias: torch.Tensor | None,
    target: Target,
    config: LinearConfig | None = None,
) -> list[Launch]:
    """What to launch for y [m, n] = x [m, k] @ W.T + bias."""
    m = x.shape[0]
    config = config or linear_config(m, layout, x.dtype, activation_bits, target)
    if config.split > 1 and m > config.block_m:
        config = replace(config, split=1)
    launches: list[Launch] = []
    scales = sums = None
    values = x
    if activation_bits == 8:
        quantize, values, scales, sums = quantize_launch(x, layout)
        launches.append(quantize)
    launches.append(product_launch(y, values, scales, sums, blob, layout, bias, target, config))
    return launches


def quantize_launch(
    x: torch.Tensor, layout: Layout
) -> tuple[Launch, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """INT8 activations [m, padded k], their scales float32 [groups, m], and sums if needed."""
    m, padded = x.shape[0], layout.blocks * layout.block
    codes = torch.empty(m, padded, dtype=torch.int8, device=x.device)
    scales = torch.empty(layout.groups, m, dtype=torch.float32, device=x.device)
    sums = torch.empty_like(scales) if layout.zero_kind else None
    width = power_of_two(layout.group)
    groups = max(1, 512 // width)
    launch = Launch(
        linear_kernels.quantize_rows,
        (m, ceil_div(ceil_div(padded, layout.group), groups)),
        {
            "codes": codes,
            "scales": scales,
            "sums": sums,
            "x": x,
            "m": m,
            "k": layout.k,
            "padded": padded,
            "stride_x": x.stride(0),
            "GROUP": layout.group,
            "WIDTH": width,
            "GROUPS": groups,
            "SUMS": sums is not None,
        },
    )
    return launch, codes, scales, sums


def product_launch(
    y: torch.Tensor,
    x: torch.Tensor,
    x_scales: torch.Tensor | None,
    x_sums: torch.Tensor | None,
    blob: torch.Tensor,
    layout: Layout,
    bias: torch.Tensor | None,
    target: Target,
    config: LinearConfig,
) -> Launch:
    """The product itself; x is floating, or INT8 with scales (and sums) from `quantize_launch`."""
    m, n = y.shape
    views = layout.views(blob)
    partial = None
    if config.split > 1:
        partial = torch.empty(config.split, m, n, dtype=torch.float32, device=y.device)
    integer = x.dtype == torch.int8
    return Launch(
        linear_kernels.linear,
        (ceil_div(n, config.block_n), ceil_div(m, config.block_m), config.split),
        {
            "y": y,
            "partial": partial,
            "counters": views.counters,
            "x": x,
            "x_scales": x_scales,
            "x_sums": x_sums,
            "words": views.words,
            "scales": views.scales,
            "zeros": views.zeros,
            "bias": bias,
            "m": m,
            "n": n,
            "k": layout.k,
            "blocks": layout.blocks,
            "stride_x": x.stride(0),
            "GROUP": layout.group,
            "BITS": layout.bits,
            "ZERO": layout.zero_kind,
            "INTEGER": integer,
            "FOLD": config.fold and not integer,
            "EVEN": layout.k % layout.block == 0,
            "TYPE": tl.int8 if integer else TYPES[x.dtype],
            "PAIRS": 1 if integer else target.pairs,
            "PARTS": layout.parts,
            "SPLIT": config.split,
            "BIAS": bias is not None,
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "WARPS": config.warps,
        },
        config.warps,
        config.stages,
    )
