"""Low-rank adapters of a batch whose rows belong to different adapters of different ranks."""

from __future__ import annotations

import torch

from kernels.reference.precision import working_dtype


def lora_sgmv(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
) -> torch.Tensor:
    """Add to each row of ``y`` what its adapter makes of the row of ``x``, in place.

    The operation of Punica (section 4, segmented gather matrix-vector products) over pages as in
    S-LoRA (section 5.1): of adapter s, rank row j of A (K numbers) and column j of B (N numbers)
    each lie in pages of P numbers, in any order anywhere in the pool, the last page of each only
    partly used. For the rows of segment s: y += scales[s] (x A^T) B. Rows outside every segment,
    and those of segments of rank 0, stay as they are.

    Args:
        y: [M, N].
        x: [M, K].
        pool: [pages, P].
        indptr: int32 [S + 1]: segment s are the rows indptr[s] to indptr[s + 1].
        a_pages: int32 [R, at least ceil(K / P)]: pages of each rank row of A.
        b_pages: int32 [R, at least ceil(N / P)]: pages of each column of B.
        rank_indptr: int32 [S + 1]: segment s has the rank rows rank_indptr[s] to [s + 1].
        scales: float32 [S].

    Returns:
        ``y``.
    """
    dtype = working_dtype(y)
    bounds, ranks = indptr.tolist(), rank_indptr.tolist()
    for segment in range(scales.numel()):
        rows = slice(bounds[segment], bounds[segment + 1])
        own = slice(ranks[segment], ranks[segment + 1])
        if rows.start >= rows.stop or own.start >= own.stop:
            continue
        a = _gathered(pool, a_pages[own], x.shape[1]).to(dtype)
        b = _gathered(pool, b_pages[own], y.shape[1]).to(dtype)
        added = scales[segment].to(dtype) * (x[rows].to(dtype) @ a.T @ b)
        y[rows] = (y[rows].to(dtype) + added).to(y.dtype)
    return y


def _gathered(pool: torch.Tensor, pages: torch.Tensor, width: int) -> torch.Tensor:
    """Rows [R, width] whose numbers lie in ``pages`` [R, X] of the pool."""
    needed = -(-width // pool.shape[1])
    return pool[pages[:, :needed].long()].flatten(1)[:, :width]
