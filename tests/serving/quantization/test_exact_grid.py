"""Weights that lie on a grid already."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.weights import OFFSETS, SYMMETRIC, ZERO_POINTS, QuantizedWeight, pack_nibbles
from serving.quantization.exact import exact_grid

GROUP = 32


def _weight(kind: int, seed: int, lowest: int = 0, highest: int = 15) -> QuantizedWeight:
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(lowest, highest + 1, (6, 3 * GROUP), generator=draw, dtype=torch.uint8)
    codes[:, ::GROUP], codes[:, 1::GROUP] = lowest, highest
    scales = (0.01 * torch.rand(6, 3, generator=draw) + 0.001).half()
    zeros = None
    if kind == ZERO_POINTS:
        zeros = torch.randint(0, 16, (6, 3), generator=draw, dtype=torch.uint8)
    if kind == OFFSETS:
        zeros = (-0.08 * torch.rand(6, 3, generator=draw)).half()
    return QuantizedWeight(pack_nibbles(codes), scales, zeros, 4, GROUP)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from((SYMMETRIC, ZERO_POINTS, OFFSETS)),
    st.integers(0, 2**31),
    st.integers(0, 4),
    st.integers(9, 15),
)
def test_weights_on_a_grid_are_taken_over_bit_for_bit(
    kind: int, seed: int, lowest: int, highest: int
) -> None:
    dense = _weight(kind, seed, lowest, highest).dequantize()
    found = exact_grid(dense, 4, GROUP)
    assert found is not None
    assert torch.equal(found.dequantize(), dense)


def test_the_simplest_kind_of_grid_is_chosen() -> None:
    for kind in (SYMMETRIC, ZERO_POINTS, OFFSETS):
        found = exact_grid(_weight(kind, 5).dequantize(), 4, GROUP)
        assert found is not None
        assert found.zero_kind == kind


def test_eight_bits() -> None:
    draw = torch.Generator().manual_seed(3)
    codes = torch.randint(-127, 128, (5, 64), generator=draw, dtype=torch.int8)
    codes[:, ::GROUP] = 127
    codes[0, :GROUP] = 0
    scales = (0.001 + 0.01 * torch.rand(5, 2, generator=draw)).half()
    dense = QuantizedWeight(codes, scales, None, 8, GROUP).dequantize()
    found = exact_grid(dense, 8, GROUP)
    assert found is not None
    assert torch.equal(found.dequantize(), dense)


def test_constant_and_zero_groups() -> None:
    dense = torch.zeros(2, 64)
    dense[0, :32], dense[1, 32:] = 0.25, -0.5
    found = exact_grid(dense, 4, GROUP)
    assert found is not None
    assert torch.equal(found.dequantize(), dense)


def test_other_weights_are_not_on_a_grid() -> None:
    dense = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    assert exact_grid(dense, 4, GROUP) is None
    assert exact_grid(dense, 8, GROUP) is None
    on_grid = _weight(OFFSETS, 1).dequantize()
    on_grid[3, 40] += 1e-6
    assert exact_grid(on_grid, 4, GROUP) is None
    assert exact_grid(on_grid, 4, 64) is None
    assert exact_grid(torch.full((1, 32), torch.nan), 4, GROUP) is None
