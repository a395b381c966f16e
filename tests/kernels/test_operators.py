"""Operations on every back-end of this machine against their definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from operator_backends import Backend, any_product, attend, examples, few, linear, moved, numbers
from operator_cases import (
    AttentionCase,
    Layout,
    LoraCase,
    SampleCase,
    attention_cases,
    check_written,
    close,
    dtypes,
    grid_weight,
    layouts,
    lora_cases,
    sample_cases,
    seeds,
    write_cases,
)

import kernels
from kernels import reference
from kernels.kv_cache import KVCache


@given(data=st.data())
@few
def test_threads_make_no_difference(
    backend: Backend, threads: Callable[[int], None], data: st.DataObject
) -> None:
    if backend.device != "cpu":
        pytest.skip("threads are those of the CPU")
    case, lora = data.draw(any_product(backend)), data.draw(lora_cases())
    attention, sampling = data.draw(attention_cases(most_context=300)), data.draw(sample_cases())
    x = data.draw(numbers(40))
    results = []
    for count in (1, 2):
        threads(count)
        results.append(
            [
                linear(backend, case),
                kernels.lora_sgmv(lora.y.clone(), lora.x, *lora.tables),
                attend(backend, attention),
                kernels.sample(*sampling.arguments),
                kernels.rms_norm(x, torch.ones(x.shape[-1]), 1e-5),
                kernels.silu_mul(torch.cat([x, x.flip(-1)], dim=-1)),
            ]
        )
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


@given(case=lora_cases(), layout=layouts, columns=st.booleans())
@examples
def test_adapters(backend: Backend, case: LoraCase, layout: Layout, columns: bool) -> None:
    x = backend.put(case.x, layout)
    tables = [backend.put(one) for one in case.tables]
    y = backend.put(case.y, "columns" if columns else "plain")
    before = None if y._base is None else y._base.clone()
    assert kernels.lora_sgmv(y, x, *tables) is y
    case.check(y.cpu().contiguous(), backend.precision(case.x))
    if before is not None and y._base is not None:
        # The rest of the wider tensor is as it was.
        y.zero_()
        before[..., 2 : y.shape[1] + 2] = 0
        torch.testing.assert_close(y._base, before, rtol=0, atol=0, equal_nan=True)


@given(case=lora_cases(), data=st.data())
@few
def test_a_bad_row_spoils_its_own_sum(
    backend: Backend, case: LoraCase, data: st.DataObject
) -> None:
    if not len(case.x):
        return
    row = data.draw(st.integers(0, len(case.x) - 1))
    x = case.x.clone()
    x[row, data.draw(st.integers(0, x.shape[1] - 1))] = float("nan")
    tables = [backend.put(one) for one in case.tables]
    clean, spoilt = (
        kernels.lora_sgmv(backend.put(case.y.clone()), backend.put(one), *tables).cpu()
        for one in (case.x, x)
    )
    others = torch.arange(len(x)) != row
    torch.testing.assert_close(spoilt[others], clean[others], rtol=0, atol=0, equal_nan=True)
    if case.adapted()[row]:
        assert spoilt[row].isnan().all()
    else:
        torch.testing.assert_close(spoilt[row], case.y[row], rtol=0, atol=0, equal_nan=True)


@given(x=numbers(), layout=layouts, eps=st.sampled_from((0.0, 1e-6, 1e-2)))
@examples
def test_norms(backend: Backend, x: torch.Tensor, layout: Layout, eps: float) -> None:
    weight = torch.rand(x.shape[-1]) + 0.5
    residual = x.flip(-1) * 0.5
    there = backend.put(x, layout), backend.put(residual, layout), backend.put(weight)
    normed = kernels.rms_norm(there[0], there[2], eps).cpu()
    assert normed.dtype == x.dtype
    expected = reference.rms_norm(x.double(), weight, eps)
    close(normed, expected, expected.abs() * 2e-6)
    both, total = (one.cpu() for one in kernels.add_rms_norm(*there, eps))
    assert torch.equal(total, x + residual)
    assert torch.equal(there[1].cpu(), residual), "the argument has changed"
    expected = reference.rms_norm(total.double(), weight, eps)
    close(both, expected, expected.abs() * 2e-6)


@given(x=numbers(even=True), layout=layouts)
@examples
def test_gated_activation(backend: Backend, x: torch.Tensor, layout: Layout) -> None:
    got = kernels.silu_mul(backend.put(x, layout)).cpu()
    assert got.dtype == x.dtype
    expected = reference.silu_mul(x.double())
    close(got, expected, expected.abs() * 1e-5 + 1e-12)


@given(x=numbers(even=True), data=st.data(), bad=st.sampled_from((float("nan"), float("inf"))))
@few
def test_a_bad_number_spoils_its_row_or_itself(
    backend: Backend, x: torch.Tensor, data: st.DataObject, bad: float
) -> None:
    rows = x.reshape(-1, x.shape[-1])
    if not len(rows):
        return
    row, column = (data.draw(st.integers(0, size - 1)) for size in rows.shape)
    weight, spoilt = backend.put(torch.ones(rows.shape[1])), rows.clone()
    spoilt[row, column] = bad
    others = torch.arange(len(rows)) != row
    clean, normed = (
        kernels.rms_norm(backend.put(one), weight, 1e-6).cpu() for one in (rows, spoilt)
    )
    assert torch.equal(normed[others], clean[others])
    assert normed[row].isnan().all() if bad != bad else normed[row, column].isnan()
    clean, gated = (kernels.silu_mul(backend.put(one)).cpu() for one in (rows, spoilt))
    column %= gated.shape[1]
    assert not gated[row, column].isfinite()
    gated[row, column] = clean[row, column]
    assert torch.equal(gated, clean)


def test_gates_far_out(backend: Backend) -> None:
    gate = torch.tensor([-1e4, -100.0, -88.0, 88.0, 100.0, 1e4])
    x = backend.put(torch.cat([gate, torch.full((6,), 2.0)])[None])
    expected = reference.silu_mul(x.cpu().double())
    close(kernels.silu_mul(x).cpu(), expected, expected.abs() * 1e-5 + 1e-35)


@given(data=st.data(), dtype=dtypes, seed=seeds, layout=layouts)
@examples
def test_rotary_positions(
    backend: Backend, data: st.DataObject, dtype: torch.dtype, seed: int, layout: Layout
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens, width = data.draw(st.sampled_from((0, 1, 5))), 2 * data.draw(st.integers(1, 40))
    q, k = (
        torch.randn(tokens, data.draw(st.integers(1, 5)), width, generator=generator).to(dtype)
        for _ in range(2)
    )
    angles = torch.randn(9, width // 2, generator=generator)
    positions = torch.randint(9, (tokens,), generator=generator, dtype=torch.int32)
    arguments = positions, angles.cos(), angles.sin()
    turned = kernels.rope(
        backend.put(q, layout), backend.put(k, layout), *(backend.put(one) for one in arguments)
    )
    for got, x in zip(turned, reference.rope(q.double(), k.double(), *arguments), strict=True):
        assert got.dtype == dtype
        close(got.cpu(), x, 1e-6 * (x.abs() + 4))


@given(data=st.data(), dtype=dtypes, seed=seeds, layout=layouts, wide=st.booleans())
@examples
def test_embedding(
    backend: Backend,
    data: st.DataObject,
    dtype: torch.dtype,
    seed: int,
    layout: Layout,
    wide: bool,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, kind = data.draw(st.integers(1, 40)), data.draw(st.sampled_from(KINDS))
    ids = torch.randint(rows, (data.draw(st.integers(0, 6)),), generator=generator)
    ids = ids if wide else ids.int()
    if kind == "dense":
        width = data.draw(st.integers(1, 90))
        table: Any = torch.randn(rows, width, generator=generator).to(dtype)
        there: Any = backend.put(table, layout)
    else:
        group = data.draw(st.sampled_from(backend.groups))
        table = grid_weight(generator, rows, group * data.draw(st.integers(1, 3)), group, kind)
        there = replace(
            table,
            codes=backend.put(table.codes, layout),
            scales=backend.put(table.scales, layout),
            zeros=None if table.zeros is None else backend.put(table.zeros, layout),
        )
    got = kernels.embedding(backend.put(ids), there).cpu()
    expected = reference.embedding(ids, table)
    assert got.dtype == expected.dtype
    close(got, expected.double(), 1e-6)


KINDS = ("dense", "symmetric", "zero_points", "offsets", "int8")


@given(case=attention_cases(), layout=layouts)
@examples
def test_attention(backend: Backend, case: AttentionCase, layout: Layout) -> None:
    case.check(attend(backend, case, layout), backend.precision(case.q))


@given(case=attention_cases(most_context=300, widths=(16, 64)))
@few
def test_attention_over_long_contexts(backend: Backend, case: AttentionCase) -> None:
    case.check(attend(backend, case), backend.precision(case.q))


@given(case=attention_cases(widths=(16,)), data=st.data())
@few
def test_a_bad_query_spoils_its_own_head(
    backend: Backend, case: AttentionCase, data: st.DataObject
) -> None:
    if not case.q.numel():
        return
    token, head = (data.draw(st.integers(0, size - 1)) for size in case.q.shape[:2])
    clean, q = attend(backend, case), case.q.clone()
    q[token, head, data.draw(st.integers(0, 15))] = float("nan")
    spoilt = attend(backend, replace(case, q=q))
    assert spoilt[token, head].isnan().all()
    spoilt[token, head] = clean[token, head]
    assert torch.equal(spoilt, clean)


@given(case=write_cases(), layout=layouts)
@examples
def test_writing_keys_and_values(
    backend: Backend,
    case: tuple[torch.Tensor, torch.Tensor, KVCache, torch.Tensor],
    layout: Layout,
) -> None:
    k, v, cache, slots = case
    there = moved(backend, cache)
    kernels.write_kv(backend.put(k, layout), backend.put(v, layout), there, backend.put(slots))
    check_written(k, v, moved(replace(backend, device="cpu"), there), slots)


@given(case=write_cases(kinds=("int8", "int4")), bad=st.sampled_from((float("nan"), float("inf"))))
@few
def test_bad_keys_are_stored_as_nan(
    backend: Backend,
    case: tuple[torch.Tensor, torch.Tensor, KVCache, torch.Tensor],
    bad: float,
) -> None:
    k, v, cache, slots = case
    if not len(k):
        return
    slots[0] = 0
    slots[1:][slots[1:] == 0] = -1
    k[0, 0, 1] = bad
    there = moved(backend, cache)
    kernels.write_kv(backend.put(k), backend.put(v), there, backend.put(slots))
    assert there.key_params is not None
    assert there.value_params is not None
    assert there.key_params[0, 0, 0].isnan().all()
    assert there.value_params[0, 0, 0].isfinite().all()


@given(case=sample_cases(), layout=layouts)
@examples
def test_sampling(backend: Backend, case: SampleCase, layout: Layout) -> None:
    logits, *rest = case.arguments
    got = kernels.sample(backend.put(logits, layout), *(backend.put(one) for one in rest))
    case.check(got.cpu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ties_go_to_the_lowest_token(backend: Backend, dtype: torch.dtype) -> None:
    logits = torch.zeros(2, 5000, dtype=dtype)
    logits[0, [4000, 1234, 2047]] = 3.0
    got = kernels.sample(
        backend.put(logits),
        backend.put(torch.tensor([0.9, 0.9], dtype=torch.float64)),
        backend.put(torch.zeros(2)),
        backend.put(torch.ones(2)),
    )
    assert got.tolist() == [1234, 0]
