"""Low-rank adapters of a batch whose rows use different ones, defined."""

from __future__ import annotations

import torch


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
    """y[row] += s_i (x[row] A_i) B_i for every row of segment i, in place.

    The segmented gather matrix-vector product of Punica (section 4) over pages as in S-LoRA
    (section 5): a rank row of A (K numbers) and of B (N numbers) each lies in pages of its own,
    so that ranks differ without padding and adapters need not be contiguous.

    Args:
        y: [M, N]; rows at or after ``indptr[-1]`` are left alone.
        x: [M, K].
        pool: [pages, P].
        indptr: int [S + 1]: rows ``indptr[i]`` to ``indptr[i + 1]`` are segment i.
        a_pages: int [R, ceil(K / P)]: pages of each rank row of A; R = ``rank_indptr[-1]``.
        b_pages: int [R, ceil(N / P)]: pages of each rank row of B.
        rank_indptr: int [S + 1]: rank rows of segment i; none: no adapter.
        scales: float [S].

    Returns:
        y.
    """
    for i, scale in enumerate(scales.tolist()):
        rows = slice(int(indptr[i]), int(indptr[i + 1]))
        ranks = slice(int(rank_indptr[i]), int(rank_indptr[i + 1]))
        if rows.start == rows.stop or ranks.start == ranks.stop:
            continue
        a = pool[a_pages[ranks].long()].flatten(1)[:, : x.shape[1]].to(y.dtype)
        b = pool[b_pages[ranks].long()].flatten(1)[:, : y.shape[1]].to(y.dtype)
        y[rows] += scale * (x[rows].to(y.dtype) @ a.T) @ b
    return y
