"""GPTQ against its definition and against round-to-nearest."""

from __future__ import annotations

import pytest
import torch
from tiny_networks import correlated_inputs

from serving.quantization.gptq import (
    GptqSettings,
    gptq,
    gptq_leading,
    inverse_factor,
    output_error,
    relative_error,
)
from serving.quantization.grid import Grid, Ranges, find_codes, find_ranges, snap, values_of


def _problem(
    rows: int = 12, columns: int = 192, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed + 100)
    x = correlated_inputs(600, columns, seed)
    return torch.randn(rows, columns, generator=draw), x.T @ x / len(x)


def _one_by_one(
    weight: torch.Tensor, gram: torch.Tensor, grid: Grid, ranges: Ranges, order: list[int]
) -> torch.Tensor:
    """Optimal brain quantization in a fixed order: after each column the best change, by least
    squares, of those that are still free (Frantar and Alistarh, NeurIPS 2022, equation 2)."""
    work, free = weight.double().clone(), list(order)
    hessian = gram.double()
    codes = torch.empty_like(work)
    for column in order:
        scale = ranges.scale[:, column // grid.group].double()
        zero = ranges.zero[:, column // grid.group].double()
        code = (work[:, column] / scale + zero).round().clamp(grid.lowest, grid.highest)
        codes[:, column] = code
        free.remove(column)
        moved = scale * (code - zero) - work[:, column]
        if free:
            inside = hessian[free][:, free]
            work[:, free] -= torch.outer(moved, torch.linalg.solve(inside, hessian[free, column]))
    return codes.float()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("sorted_columns", [True, False])
def test_codes_are_those_of_the_definition(symmetric: bool, sorted_columns: bool) -> None:
    weight, gram = _problem(columns=144)
    grid = Grid(4, 48, symmetric)
    ranges = find_ranges(weight, grid)
    order = list(range(144))
    if sorted_columns:
        order.sort(key=lambda j: -float(gram[j, j]))
    damped = gram.double() + 0.01 * float(gram.diagonal().double().mean()) * torch.eye(144)
    wanted = _one_by_one(weight, damped, grid, ranges, order)
    settings = GptqSettings(sorted_columns=sorted_columns)
    codes, used = gptq(weight, gram, grid, settings, ranges)
    # Ties and the last bits of float32 may turn a code now and then.
    assert float((codes != wanted).float().mean()) < 0.01
    assert torch.equal(used.scale, ranges.scale)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("sorted_columns", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_outputs_change_less_than_by_rounding_to_nearest(
    symmetric: bool, sorted_columns: bool, seed: int
) -> None:
    weight, gram = _problem(seed=seed)
    grid = Grid(4, 64, symmetric)
    codes, ranges = gptq(weight, gram, grid, GptqSettings(sorted_columns=sorted_columns))
    nearest = relative_error(weight, snap(weight, find_ranges(weight, grid), grid), gram)
    assert output_error(weight, codes, ranges, grid, gram) < 0.5 * nearest
    assert codes.min() >= grid.lowest
    assert codes.max() <= grid.highest


def test_independent_inputs_leave_nothing_to_make_up_for() -> None:
    weight, _ = _problem()
    grid = Grid(4, 64, False)
    ranges = find_ranges(weight, grid)
    for settings in (GptqSettings(), GptqSettings(sorted_columns=False)):
        codes, found = gptq(weight, torch.eye(192), grid, settings)
        assert torch.equal(codes, find_codes(weight, ranges, grid))
        assert torch.equal(found.scale, ranges.scale)
        assert torch.equal(found.zero, ranges.zero)


def test_grids_of_later_groups_span_the_changed_weights() -> None:
    weight, gram = _problem(columns=320)
    grid = Grid(4, 160, True)  # groups that begin and end within blocks
    codes, ranges = gptq(weight, gram, grid, GptqSettings(sorted_columns=False))
    first = find_ranges(weight, grid)
    assert torch.equal(ranges.scale[:, 0], first.scale[:, 0])
    assert not torch.equal(ranges.scale[:, 1], first.scale[:, 1])
    # Were the second group's grid taken from stale weights, its ends would be missed or unused.
    again, _, _ = gptq_leading(weight, gram, grid, 320, ranges=ranges)
    assert torch.equal(again, codes)
    assert bool((codes[:, 160:].amin(dim=1) == 0).float().mean() > 0.5)


def test_columns_that_are_not_rounded_make_up_for_the_others() -> None:
    weight, gram = _problem()
    grid = Grid(4, 64, True)
    codes, ranges, rest = gptq_leading(weight, gram, grid, 128)
    assert codes.shape == (12, 128)
    assert rest.shape == (12, 64)
    low = values_of(codes, ranges, grid)
    kept = relative_error(weight, torch.cat([low, weight[:, 128:]], dim=1), gram)
    assert relative_error(weight, torch.cat([low, rest], dim=1), gram) < 0.5 * kept


def test_dead_and_dependent_inputs_can_be_factored() -> None:
    gram = torch.zeros(64, 64)
    gram[:32, :32] = 1.0  # rank 1, and 32 inputs that are always 0
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    codes, ranges = gptq(weight, gram, Grid(4, 32, True))
    assert bool(torch.isfinite(values_of(codes, ranges, Grid(4, 32, True))).all())
    upper = inverse_factor(gram, 0.01)
    assert bool(torch.isfinite(upper).all())
    assert torch.equal(upper, upper.triu())
