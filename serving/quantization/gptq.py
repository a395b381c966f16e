"""GPTQ: columns are rounded one after the other, and the later ones make up for the earlier ones.

Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023, Algorithm 1: with the Hessian H = 2 X X^T of
a layer's squared output error and the upper Cholesky factor U of its inverse, rounding column j
with the error e = (w_j - q_j) / U_jj changes the columns to come by -e U_j. Columns are worked on
in blocks; columns beyond the block are changed once per block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from serving.quantization.grid import Grid, Ranges, find_ranges, pack, values_of
from serving.quantization.settings import QuantizeSettings
from serving.quantization.stages import Stage, StageResult

BLOCK = 128
"""Columns per block: a matter of speed alone."""


@dataclass(frozen=True)
class GptqSettings:
    """How GPTQ proceeds.

    Attributes:
        damping: Share of the mean diagonal of the Hessian that is added to its diagonal.
        sorted_columns: Round the columns with the most energy first (act-order). Groups stay
            where they are, and their grids are those of the weights before any rounding.
    """

    damping: float = 0.01
    sorted_columns: bool = True


def gptq_stage(stage: Stage, settings: QuantizeSettings) -> StageResult:
    """GPTQ on every map of a stage, on grids that span the weights."""
    weights = {}
    for name, weight in stage.matrices.items():
        grid = settings.grid(weight.shape[1])
        codes, ranges = gptq(weight, stage.moments.gram, grid)
        weights[name] = pack(codes, ranges, grid)
    return StageResult(weights)


def gptq(
    weight: torch.Tensor,
    gram: torch.Tensor,
    grid: Grid,
    settings: GptqSettings = GptqSettings(),
    ranges: Ranges | None = None,
) -> tuple[torch.Tensor, Ranges]:
    """Codes and grids that keep a layer's outputs.

    Args:
        weight: float32 [N, K].
        gram: Sum or mean of x x^T over calibration inputs, [K, K].
        grid: Of which kind the grids are.
        settings: How to proceed.
        ranges: The grids, if they are not to span the weights. Without them and with columns in
            their own order, a group's grid spans its weights as earlier columns have changed them.

    Returns:
        Codes (float32 [N, K], whole numbers) and grids.
    """
    columns = weight.shape[1]
    if not settings.sorted_columns:
        codes, ranges, _ = gptq_leading(weight, gram, grid, columns, settings.damping, ranges)
        return codes, ranges
    ranges = ranges or find_ranges(weight, grid)
    order = torch.argsort(gram.diagonal(), descending=True, stable=True)
    permuted, of_column = gram[order][:, order], order // grid.group
    sorted_codes, _, _ = gptq_leading(
        weight[:, order], permuted, grid, columns, settings.damping, ranges, of_column
    )
    codes = torch.empty_like(sorted_codes)
    codes[:, order] = sorted_codes
    return codes, ranges


def gptq_leading(
    weight: torch.Tensor,
    gram: torch.Tensor,
    grid: Grid,
    count: int,
    damping: float = 0.01,
    ranges: Ranges | None = None,
    of_column: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Ranges, torch.Tensor]:
    """Round the first columns in their order; the others make up for them.

    Args:
        weight: float32 [N, K].
        gram: As for `gptq`.
        grid: Of which kind the grids are.
        count: How many columns are rounded.
        damping: See `GptqSettings`.
        ranges: See `gptq`.
        of_column: int64 [K]: the group of each column where neighbours do not share one; needs
            ``ranges``.

    Returns:
        Codes (float32 [N, count], whole numbers), grids, and the other columns as changed.
    """
    rows, columns = weight.shape
    work, upper = weight.float().clone(), inverse_factor(gram, damping)
    groups = (torch.arange(columns) // grid.group if of_column is None else of_column).tolist()
    found = ranges or Ranges(*torch.zeros(2, rows, count // grid.group))
    codes = torch.empty(rows, count)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        errors = torch.zeros(rows, stop - start)
        for j in range(start, stop):
            group = groups[j]
            if ranges is None and j % grid.group == 0:
                # Columns beyond the block have not been told of the errors within it yet.
                ahead = work[:, j : j + grid.group].clone()
                told = stop - j
                ahead[:, told:] -= errors @ upper[start:stop, stop : j + grid.group]
                span = find_ranges(ahead, grid)
                found.scale[:, group], found.zero[:, group] = span.scale[:, 0], span.zero[:, 0]
            column, step, origin = work[:, j], found.scale[:, group], found.zero[:, group]
            safe = torch.where(step == 0, torch.inf, step)
            code = (column / safe + origin).round_().clamp_(grid.lowest, grid.highest)
            error = (column - step * (code - origin)) / upper[j, j]
            work[:, j:stop] -= torch.outer(error, upper[j, j:stop])
            codes[:, j], errors[:, j - start] = code, error
        work[:, stop:] -= errors @ upper[start:stop, stop:]
    return codes, found, work[:, count:]


def inverse_factor(gram: torch.Tensor, damping: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of a damped Gram matrix, float32 [K, K].

    Inputs that are always 0 count as independent ones. The damping is raised tenfold, up to one
    mean diagonal, until the matrix can be factored.
    """
    gram = gram.double().clone()
    diagonal = gram.diagonal()
    diagonal[diagonal <= 0] = 1.0
    mean = float(diagonal.mean())
    eye = torch.eye(len(gram), dtype=gram.dtype)
    while True:
        lower, failed = torch.linalg.cholesky_ex(gram + damping * mean * eye)
        if not failed or damping >= 1:
            break
        damping = min(1.0, 10 * max(damping, 1e-4))
    inverse = torch.cholesky_inverse(lower)
    return torch.linalg.cholesky(inverse, upper=True).float()


def output_error(
    weight: torch.Tensor, codes: torch.Tensor, ranges: Ranges, grid: Grid, gram: torch.Tensor
) -> float:
    """Squared error of a layer's outputs relative to their squares: tr(D H D^T) / tr(W H W^T)."""
    return relative_error(weight, values_of(codes, ranges, grid), gram)


def relative_error(weight: torch.Tensor, rounded: torch.Tensor, gram: torch.Tensor) -> float:
    """As `output_error`, of weights that are rounded already."""
    weight, gram = weight.double(), gram.double()
    change = rounded.double() - weight
    total = float(((weight @ gram) * weight).sum())
    return float(((change @ gram) * change).sum()) / total if total > 0 else 0.0
