"""Linear layers on every back-end of this machine against their definitions in float64."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from operator_backends import Backend, any_product, examples, few, linear
from operator_cases import (
    Layout,
    LinearCase,
    activations,
    atom_cases,
    dense_cases,
    grid_weight,
    layouts,
    linear_cases,
)

from kernels.weights import QuantizedWeight


@given(data=st.data(), layout=layouts)
@examples
def test_products_of_weights_on_a_grid(
    backend: Backend, data: st.DataObject, layout: Layout
) -> None:
    case = data.draw(linear_cases(groups=backend.groups))
    case.check(linear(backend, case, layout), backend.precision(case.x))


@given(data=st.data(), layout=layouts)
@examples
def test_products_of_mixed_precision(backend: Backend, data: st.DataObject, layout: Layout) -> None:
    case = data.draw(atom_cases([group for group in backend.groups if group % 32 == 0]))
    case.check(linear(backend, case, layout), backend.precision(case.x))


@given(case=dense_cases(), layout=layouts)
@examples
def test_products_of_dense_weights(backend: Backend, case: LinearCase, layout: Layout) -> None:
    case.check(linear(backend, case, layout), backend.precision(case.x))


@given(case=linear_cases(groups=(32, 64), rows=(6,)), dim=st.integers(1, 4))
@few
def test_products_keep_leading_dimensions(backend: Backend, case: LinearCase, dim: int) -> None:
    k = case.x.shape[1]
    shape = {1: (k,), 2: (6, k), 3: (2, 3, k), 4: (3, 1, 2, k)}[dim]
    case = case.with_x(case.x[0] if dim == 1 else case.x.view(shape))
    case.check(linear(backend, case), backend.precision(case.x))


@given(data=st.data(), bad=st.sampled_from((float("nan"), float("inf"), -float("inf"))))
@examples
def test_a_bad_row_spoils_itself_and_no_other(
    backend: Backend, data: st.DataObject, bad: float
) -> None:
    case = data.draw(any_product(backend))
    if not case.x.numel():
        return
    clean = linear(backend, case)
    row, column = (data.draw(st.integers(0, size - 1)) for size in case.x.shape)
    x = case.x.clone()
    x[row, column] = bad
    spoilt = linear(backend, case.with_x(x))
    others = torch.arange(len(x)) != row
    assert torch.equal(spoilt[others], clean[others])
    assert not spoilt[row].isfinite().any()
    # Nothing of it lingers in working memory.
    assert torch.equal(linear(backend, case), clean)


def test_activations_are_rounded_half_to_even(backend: Backend) -> None:
    """Scale 1, a weight that picks every column: the codes themselves come out."""
    k = 32
    x = torch.zeros(1, k)
    x[0, :8] = torch.tensor([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5])
    codes = torch.eye(k, dtype=torch.int8)
    weight = QuantizedWeight(codes, torch.ones(k, 1).half(), None, 8, k)
    got = linear(backend, LinearCase(x, weight, 8))
    assert got[0, :8].tolist() == [127, 0, 2, 2, 0, -2, -2, 126]


def test_large_products(backend: Backend) -> None:
    """More rows than are kept in a cache together, and a width of a real model."""
    generator = torch.Generator().manual_seed(0)
    weight = grid_weight(generator, 193, 1536, 64, "zero_points")
    case = LinearCase(activations(generator, 130, 1536, 64), weight)
    case.check(linear(backend, case), 4 * backend.fine)
