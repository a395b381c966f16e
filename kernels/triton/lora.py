"""Low-rank adapters of a batch on a GPU: segments of rows, each with its own adapter and rank.

Two kernels, as in Punica (arXiv:2310.18547, section 4): shrink, ``v = x A``, and expand,
``y += s v B``. Adapters lie in pages of a pool, one table row per rank row (S-LoRA,
arXiv:2311.03285, section 5, generalized), so ranks are mixed without padding. Every program finds
its segment itself: the grid depends on shapes only, and no number is read back to the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
import triton.language as tl

from kernels.triton import lora_kernels
from kernels.triton.launch import (
    Launch,
    Target,
    ceil_div,
    check_size,
    power_of_two,
    target_of,
)
from kernels.triton.linear import TYPES

MAX_RANK = 512
"""Rows of a segment with a larger rank become NaN."""


@dataclass(frozen=True)
class LoraConfig:
    """How the two kernels are cut into programs.

    Attributes:
        block_m: Rows of a segment per program.
        block_r: Rank rows at a time.
        block_k: Inputs at a time in shrink (a divisor of the page size).
        block_n: Outputs per program of expand (a divisor of the page size).
        split: Programs that share the sum over K of one tile.
        rank_programs: Programs that share the rank rows of one segment.
        warps: Of each program.
        stages: Of the pipeline of loads, of which every other one looks pages up.
    """

    block_m: int
    block_r: int
    block_k: int
    block_n: int
    split: int
    rank_programs: int
    warps: int
    stages: int


def lora_config(
    rows: int, k: int, segments: int, ranks: int, page: int, target: Target
) -> LoraConfig:
    """The configuration for ``rows`` rows in ``segments`` segments of ``ranks`` rank rows."""
    mean_rows, mean_rank = ceil_div(rows, segments), ceil_div(ranks, segments)
    block_r = 16 if mean_rank <= 16 else 32
    if mean_rows <= 16:
        block_m, block_k, block_n = (8 if mean_rows <= 8 else 16), 128, 256
        warps = 4 if block_r == 32 or target.warpgroups else 2
    else:
        block_m, block_k, block_n, warps = 64, 64, 128, 8
    block_k, block_n = gcd(page, block_k), gcd(page, block_n)
    programs = min(4, ceil_div(mean_rank, block_r))
    units = min(rows, ceil_div(rows, block_m) + segments)
    wanted = ceil_div(8 * target.processors, units * programs)
    split = max(1, min(wanted, ceil_div(k, block_k) // 4, 4))
    return LoraConfig(block_m, block_r, block_k, block_n, split, programs, warps, 8)


def lora_sgmv(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
    config: LoraConfig | None = None,
) -> torch.Tensor:
    """Add ``scales[s] (x A_s) B_s`` to the rows of each segment s, in place.

    Args:
        y: [M, N] of any float type; columns adjacent.
        x: [M, K].
        pool: [pages, P] bfloat16, float16 or float32; P a multiple of 16.
        indptr: int32 [S + 1]: segment s has the rows from ``indptr[s]`` to ``indptr[s + 1]``.
        a_pages: int32 [R, pages of K values]: the pages of each rank row of A.
        b_pages: int32 [R, pages of N values]: the pages of each rank row of B.
        rank_indptr: int32 [S + 1]: segment s has the rank rows from ``rank_indptr[s]`` to
            ``rank_indptr[s + 1]``, at most `MAX_RANK` of them.
        scales: float32 [S].
        config: Instead of `lora_config`'s.

    Returns:
        y.

    Raises:
        ValueError: Shapes that do not fit.
    """
    x = x if x.shape[1] < 2 or x.stride(1) == 1 else x.contiguous()
    _check(y, x, pool, indptr, a_pages, b_pages, rank_indptr, scales)
    check_size(x, y)
    if y.numel() and x.shape[1] and scales.numel() and a_pages.shape[0]:
        for launch in lora_launches(
            y, x, pool, indptr, a_pages, b_pages, rank_indptr, scales, target_of(y), config
        ):
            launch.run()
    return y


def _check(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
) -> None:
    (rows, n), k, page = y.shape, x.shape[1], pool.shape[1]
    segments = scales.shape[0]
    if x.shape[0] != rows:
        raise ValueError(f"x has {x.shape[0]} rows and y {rows}")
    if n > 1 and y.stride(1) != 1:
        raise ValueError("the columns of y must be adjacent in memory")
    if page % 16 or not pool.is_contiguous():
        raise ValueError(f"pages must be contiguous and hold a multiple of 16 values, not {page}")
    if indptr.shape != (segments + 1,) or rank_indptr.shape != (segments + 1,):
        raise ValueError(f"{segments} scales need {segments + 1} segment bounds of rows and ranks")
    for name, pages, width in (("A", a_pages, k), ("B", b_pages, n)):
        if pages.shape[1] < ceil_div(width, page):
            raise ValueError(
                f"{width} values of {name} need {ceil_div(width, page)} pages of {page}, "
                f"the table has {pages.shape[1]}"
            )
        if pages.shape[1] > 1 and pages.stride(1) != 1:
            raise ValueError(f"the page table of {name} must have adjacent columns")


def lora_launches(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
    target: Target,
    config: LoraConfig | None = None,
) -> list[Launch]:
    """What to launch for `lora_sgmv`: shrink, then expand."""
    (m, n), k, page = y.shape, x.shape[1], pool.shape[1]
    segments, ranks = scales.shape[0], a_pages.shape[0]
    config = config or lora_config(m, k, segments, ranks, page, target)
    units = min(m, ceil_div(m, config.block_m) + segments)
    stride = ceil_div(min(ranks, MAX_RANK), config.block_r) * config.block_r
    steps = ceil_div(ceil_div(k, config.block_k), config.split)
    v = torch.empty(config.split, m, stride, dtype=torch.float32, device=y.device)
    common = {
        "v": v,
        "pool": pool,
        "indptr": indptr,
        "rank_indptr": rank_indptr,
        "m": m,
        "segments": segments,
        "PAGE": page,
        "STRIDE": stride,
        "SEGMENTS": power_of_two(segments),
        "BLOCK_M": config.block_m,
        "BLOCK_R": config.block_r,
    }
    first = {
        "x": x,
        "pages": a_pages,
        "k": k,
        "page_columns": a_pages.stride(0),
        "stride_x": x.stride(0),
        "BLOCK_K": config.block_k,
        "TYPE": _type(x, pool),
        "STEPS": steps,
    }
    second = {
        "y": y,
        "pages": b_pages,
        "scales": scales,
        "n": n,
        "page_columns": b_pages.stride(0),
        "stride_y": y.stride(0),
        "BLOCK_N": config.block_n,
        "SPLIT": config.split,
        "TYPE": TYPES[pool.dtype],
    }
    grid = (units, config.rank_programs, config.split)
    return [
        Launch(lora_kernels.shrink, grid, {**common, **first}, config.warps, config.stages),
        Launch(
            lora_kernels.expand,
            (units, ceil_div(n, config.block_n)),
            {**common, **second},
            config.warps,
            max(2, config.stages // 2),
        ),
    ]


def _type(x: torch.Tensor, pool: torch.Tensor) -> tl.dtype:
    """What shrink multiplies in: the common type, or float32 if they differ."""
    return TYPES[x.dtype] if x.dtype == pool.dtype else tl.float32
