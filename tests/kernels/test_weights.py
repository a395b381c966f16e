"""Quantized weights as types: their numbers, sizes, joins, and packing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import activations, grid_weight, seeds

import kernels
from kernels import reference
from kernels.cpu import available_isas, elementwise, isa, select_isa
from kernels.weights import AtomWeight, QuantizedWeight

examples = settings(max_examples=20, deadline=None)
KINDS = ("symmetric", "zero_points", "offsets", "int8")


@st.composite
def weights(draw: st.DrawFn) -> QuantizedWeight:
    group = draw(st.sampled_from((8, 32, 40)))
    n, k = draw(st.integers(1, 40)), group * draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(seeds))
    return grid_weight(generator, n, k, group, draw(st.sampled_from(KINDS)))


@given(weight=weights())
@examples
def test_bits_are_those_stored(weight: QuantizedWeight) -> None:
    """Zero points are counted as the 4 bits that they need, though they are held as bytes."""
    n, k = weight.shape
    stored = weight.codes.numel() * 8 + weight.scales.numel() * 16
    if weight.zeros is not None:
        stored += weight.zeros.numel() * (16 if weight.zeros.is_floating_point() else 4)
    assert weight.bits_per_weight == pytest.approx(stored / (n * k))


@given(seed=seeds, n=st.integers(0, 5), k=st.integers(0, 9).map(lambda half: 2 * half))
@examples
def test_nibbles_there_and_back(seed: int, n: int, k: int) -> None:
    codes = torch.randint(0, 16, (n, k), generator=torch.Generator().manual_seed(seed))
    packed = kernels.pack_nibbles(codes)
    assert packed.shape == (n, k // 2)
    assert torch.equal(kernels.unpack_nibbles(packed), codes.to(torch.uint8))


@given(
    seed=seeds,
    rows=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    kind=st.sampled_from(KINDS),
)
@examples
def test_joined_weights_give_joined_outputs(seed: int, rows: list[int], kind: str) -> None:
    """As one matrix for queries, keys and values, or for gate and up."""
    generator = torch.Generator().manual_seed(seed)
    parts = tuple(grid_weight(generator, n, 96, 32, kind) for n in rows)
    x = activations(generator, 3, 96, 32)
    product = kernels.int8_linear if kind == "int8" else kernels.int4_linear
    joined = product(x, kernels.pack(kernels.concatenate(parts)))
    alone = [product(x, kernels.pack(part)) for part in parts]
    assert torch.equal(joined, torch.cat(alone, dim=1))


def test_mixed_precision_by_columns() -> None:
    """Reordered column j is original column ``order[j]``."""
    generator = torch.Generator().manual_seed(0)
    low, high = (
        grid_weight(generator, 3, 8, 8, "symmetric"),
        grid_weight(generator, 3, 8, 8, "int8"),
    )
    order = torch.randperm(16, generator=generator).to(torch.int32)
    weight = AtomWeight(low, high, order)
    numbers = weight.dequantize()
    for j, column in enumerate(order.tolist()):
        part, place = (low, j) if j < 8 else (high, j - 8)
        assert torch.equal(numbers[:, column], part.dequantize()[:, place])
    stored = 3 * 8 * 4 + 3 * 8 * 8 + 2 * 3 * 16 + 16 * 32
    assert weight.bits_per_weight == pytest.approx(stored / 48)


@given(weight=weights(), seed=seeds)
@examples
def test_packed_rows_are_the_weight(weight: QuantizedWeight, seed: int) -> None:
    """Nothing is lost in packing, and what is packed at one level is the same at all others."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(weight.shape[0], (5,), generator=generator)
    before = isa()
    try:
        packed = []
        for level in available_isas():
            select_isa(level)
            packed.append(kernels.pack(weight))
            rows = elementwise.embedding(ids, packed[-1])
            torch.testing.assert_close(rows, reference.embedding(ids, weight), rtol=1e-6, atol=1e-6)
    finally:
        select_isa(before)
    for other in packed[1:]:
        assert torch.equal(other.blob, packed[0].blob)
    assert packed[0].blob.data_ptr() % 64 == 0


def test_packing_keeps_no_tie_to_its_source() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = grid_weight(generator, 9, 64, 32, "zero_points")
    packed, x = kernels.pack(weight), torch.randn(2, 64, generator=generator)
    before = kernels.int4_linear(x, packed)
    weight.codes.zero_()
    weight.scales.zero_()
    assert torch.equal(kernels.int4_linear(x, packed), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_packing_of_dense_weights(dtype: torch.dtype) -> None:
    """bfloat16 stays, the rest becomes float32."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator).to(dtype)
    packed = kernels.pack_dense(weight.T.contiguous().T)
    assert packed.bits == (16 if dtype == torch.bfloat16 else 32)
    x = torch.eye(7)
    torch.testing.assert_close(kernels.dense_linear(x, packed), weight.float().T, rtol=0, atol=0)


@pytest.mark.parametrize("bits", [4, 8])
def test_groups_whose_sums_need_more_than_32_bits(bits: int) -> None:
    """All activations alike: the sums of codes times the middle of the grid are the largest."""
    k = 16384
    codes = torch.full((3, k // 2), 0xFF, dtype=torch.uint8)
    if bits == 8:
        codes = torch.full((3, k), 127, dtype=torch.int8)
    weight = QuantizedWeight(codes, torch.ones(3, 1).half(), None, bits=bits, group=k)
    linear = kernels.int4_linear if bits == 4 else kernels.int8_linear
    before = isa()
    try:
        for level in available_isas():
            select_isa(level)
            got = linear(torch.ones(2, k), kernels.pack(weight))
            wanted = torch.full((2, 3), float(k * (7 if bits == 4 else 127)))
            assert torch.allclose(got, wanted, rtol=1e-3)
    finally:
        select_isa(before)
