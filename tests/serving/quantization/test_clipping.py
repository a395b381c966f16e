"""The search for clipped grids."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tiny_networks import correlated_inputs

from serving.quantization import clipping
from serving.quantization.clipping import ClipSettings, clip, clip_groups, clip_rows
from serving.quantization.gptq import relative_error
from serving.quantization.grid import Grid, find_ranges, snap

GROUP = 16


def _problem(seed: int, rows: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, 5 * GROUP, generator=draw)
    weight *= 1 + 4 * (torch.rand(weight.shape, generator=draw) > 0.95)  # outliers to clip
    x = correlated_inputs(400, 5 * GROUP, seed)
    return weight, x.T @ x / len(x)


def _row_errors(weight: torch.Tensor, rounded: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    change = rounded - weight
    return ((change @ gram) * change).sum(dim=1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_take_the_best_factor_of_all(symmetric: bool) -> None:
    weight, gram = _problem(1)
    grid, settings = Grid(4, GROUP, symmetric), ClipSettings(steps=6, sweeps=0)
    rounded = snap(weight, clip_groups(weight, gram, grid, settings), grid)
    for group in range(5):
        columns = slice(group * GROUP, (group + 1) * GROUP)
        block, part = gram[columns, columns], weight[:, columns]
        tried = [
            _row_errors(part, snap(part, find_ranges(part, grid, f), grid), block)
            for f in settings.factors()
        ]
        found = _row_errors(part, rounded[:, columns], block)
        assert torch.allclose(found, torch.stack(tried).amin(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_no_output_gets_worse_and_most_get_better(symmetric: bool, seed: int) -> None:
    weight, gram = _problem(seed)
    grid = Grid(4, GROUP, symmetric)
    nearest = _row_errors(weight, snap(weight, find_ranges(weight, grid), grid), gram)
    alone = clip_groups(weight, gram, grid, ClipSettings())
    start = _row_errors(weight, snap(weight, alone, grid), gram)
    errors = [start]
    for sweeps in (1, 2, 3):
        ranges = clip_rows(weight, gram, grid, alone, ClipSettings(sweeps=sweeps))
        errors.append(_row_errors(weight, snap(weight, ranges, grid), gram))
    for before, after in pairwise(errors):
        assert bool((after <= before * (1 + 1e-4)).all())
    assert float(errors[-1].sum()) < 0.7 * float(start.sum())
    assert float(errors[-1].sum()) < 0.7 * float(nearest.sum())


def test_independent_inputs_make_both_searches_one() -> None:
    weight, _ = _problem(4)
    grid = Grid(4, GROUP, False)
    alone = clip_groups(weight, torch.eye(80), grid, ClipSettings())
    both = clip(weight, torch.eye(80), grid)
    assert torch.equal(snap(weight, both, grid), snap(weight, alone, grid))


def test_rows_are_searched_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, gram = _problem(5, rows=11)
    grid = Grid(4, GROUP, True)
    whole = clip(weight, gram, grid)
    monkeypatch.setattr(clipping, "ROWS", 4)
    parts = clip(weight, gram, grid)
    assert relative_error(snap(weight, whole, grid), snap(weight, parts, grid), gram) < 1e-3
    assert parts.scale.shape == whole.scale.shape


def test_factors() -> None:
    factors = ClipSettings(steps=3, lowest=0.5).factors()
    assert factors == [1.0, 0.75, 0.5]
    assert ClipSettings(steps=1).factors() == [1.0]
