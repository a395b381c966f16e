"""Rounding onto grids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ServingError
from serving.quantization.grid import (
    Grid,
    check_group,
    find_codes,
    find_ranges,
    in_groups,
    pack,
    quantize_to_grid,
    snap,
    values_of,
)

GRIDS = st.builds(
    Grid,
    bits=st.sampled_from((4, 8)),
    group=st.sampled_from((8, 16, 64)),
    symmetric=st.booleans(),
)


@st.composite
def matrices(draw: st.DrawFn, group: int) -> torch.Tensor:
    rows, groups = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    source = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = 10.0 ** draw(st.integers(-3, 2))
    weight = size * torch.randn(rows, groups * group, generator=source)
    shift = draw(st.sampled_from((0.0, 3 * size, -3 * size)))
    weight += shift
    if draw(st.booleans()):
        in_groups(weight, group)[0, 0] = draw(st.sampled_from((0.0, 0.5 * size, -2.0 * size)))
    return weight


@settings(deadline=None, max_examples=80)
@given(st.data(), GRIDS)
def test_what_is_stored_is_what_was_rounded_to(data: st.DataObject, grid: Grid) -> None:
    weight = data.draw(matrices(grid.group))
    ranges = find_ranges(weight, grid)
    stored = pack(find_codes(weight, ranges, grid), ranges, grid)
    assert torch.equal(stored.dequantize(), snap(weight, ranges, grid))
    assert stored.group == grid.group
    assert stored.bits == grid.bits
    assert (stored.zeros is None) == (grid.symmetric or grid.bits == 8)


@settings(deadline=None, max_examples=80)
@given(st.data(), GRIDS, st.sampled_from((1.0, 0.8)))
def test_no_other_code_is_nearer(data: st.DataObject, grid: Grid, shrink: float) -> None:
    weight = data.draw(matrices(grid.group))
    ranges = find_ranges(weight, grid, shrink)
    rounded = snap(weight, ranges, grid)
    every = torch.arange(grid.lowest, grid.highest + 1).float()
    # [codes, N, K]
    levels = torch.stack([values_of(torch.full_like(weight, c), ranges, grid) for c in every])
    nearest = (levels - weight).abs().amin(dim=0)
    slack = 1e-5 * weight.abs().max()
    assert bool(((rounded - weight).abs() <= nearest + slack).all())


@settings(deadline=None, max_examples=80)
@given(st.data(), GRIDS)
def test_weights_move_by_half_a_step_unless_clipped(data: st.DataObject, grid: Grid) -> None:
    weight = data.draw(matrices(grid.group))
    ranges = find_ranges(weight, grid)
    step = ranges.scale.abs()[..., None]
    moved = in_groups((snap(weight, ranges, grid) - weight).abs(), grid.group)
    # Codes end at 7 steps on the side opposite to the largest magnitude, and zero points are
    # rounded: a step more there. Rounding of scales adds 2^-11 of the span.
    ends = 1.0 if grid.bits == 4 else 0.5
    span = in_groups(weight.abs(), grid.group).amax(dim=-1, keepdim=True)
    assert bool((moved <= ends * step + 2.0**-10 * span + 1e-7).all())


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from((8, 32)))
def test_the_largest_magnitude_is_kept_on_symmetric_grids(data: st.DataObject, group: int) -> None:
    weight = data.draw(matrices(group))
    grid = Grid(4, group, symmetric=True)
    groups, rounded = (
        in_groups(x, group) for x in (weight, snap(weight, find_ranges(weight, grid), grid))
    )
    where = groups.abs().argmax(dim=-1, keepdim=True)
    largest = groups.gather(-1, where)
    assert torch.allclose(rounded.gather(-1, where), largest, rtol=2.0**-10, atol=1e-6)


@pytest.mark.parametrize("grid", [Grid(4, 8, True), Grid(4, 8, False), Grid(8, 8, True)])
def test_zeros_stay_zeros(grid: Grid) -> None:
    weight = torch.zeros(2, 16)
    weight[0, 8:] = torch.tensor([0.0, 1, 2, 3, 0, -5, 0.3, 0])
    assert not snap(weight, find_ranges(weight, grid), grid)[weight == 0].any()
    assert torch.equal(quantize_to_grid(torch.zeros(1, 8), grid).dequantize(), torch.zeros(1, 8))


def test_tiny_weights_become_zeros() -> None:
    weight = 1e-9 * torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    for symmetric in (True, False):
        assert not quantize_to_grid(weight, Grid(4, 8, symmetric)).dequantize().any()


def test_groups_that_do_not_divide_name_the_layer_and_what_would_do() -> None:
    check_group("a", 576, 64)
    with pytest.raises(ServingError, match=r"groups of 128 .* 576 columns of model\.x.*64.*192"):
        check_group("model.x", 576, 128)


@pytest.mark.parametrize(("bits", "group"), [(3, 64), (4, 0), (4, 12), (16, 64)])
def test_impossible_grids_are_refused(bits: int, group: int) -> None:
    with pytest.raises(ServingError):
        Grid(bits, group)
