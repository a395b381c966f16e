"""Every Triton kernel in the interpreter: run by test_triton_interpreter.py in its own process.

The interpreter is slow, so cases are tiny and chosen to meet every branch; what they hold is
random. It has no arithmetic in bfloat16 and cuts off where a GPU rounds to it.
"""

from __future__ import annotations

import dataclasses
import os

os.environ["TRITON_INTERPRET"] = "1"

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from operator_cases import (
    FINE,
    AttentionCase,
    LinearCase,
    LoraCase,
    SampleCase,
    activations,
    atom_cases,
    attention_cases,
    check_written,
    clear_of_ties,
    close,
    grid_weight,
    lora_cases,
    poisoned_cache,
    sample_cases,
    write_cases,
)

from benchmarks.gpu_bench import Bench, Plan
from benchmarks.gpu_kernels import all_rows
from benchmarks.gpu_timing import Device, copier
from kernels import reference
from kernels.packing import PackedAtomWeight
from kernels.triton import atom, attention, elementwise, linear, lora, sampling
from kernels.triton.launch import Target
from kernels.triton.linear import LinearConfig
from kernels.weights import AtomWeight

HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
CUT = 2.0**-7
"""Relative error of results in bfloat16, which are cut off."""


@pytest.fixture(autouse=True)
def poisoned_memory():
    """New memory is full of NaN: what a kernel fails to write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def few(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def precision(dtype: torch.dtype, bits: int = 16) -> float:
    """Cases of quantized activations count a sixteenth of the terms' size."""
    return CUT * (16 if bits == 8 else 1) if dtype == BRAIN else FINE


LINEAR = [
    # kind, group, k, m, activation bits, type, compute capability
    ("symmetric", 64, 192, 3, 16, HALF, 90),
    ("symmetric", 32, 96, 1, 16, BRAIN, 80),
    ("symmetric", 128, 256, 17, 16, HALF, 80),
    ("zero_points", 32, 160, 2, 16, HALF, 90),
    ("zero_points", 64, 128, 20, 16, BRAIN, 90),
    ("zero_points", 96, 192, 2, 8, FULL, 90),
    ("offsets", 128, 256, 2, 16, HALF, 90),
    ("offsets", 32, 64, 20, 16, HALF, 80),
    ("offsets", 64, 192, 3, 8, HALF, 80),
    ("symmetric", 32, 96, 2, 8, HALF, 90),
    ("symmetric", 64, 128, 18, 16, FULL, 90),
    ("int8", 64, 192, 3, 16, HALF, 90),
    ("int8", 32, 96, 20, 16, BRAIN, 80),
    ("int8", 32, 96, 2, 8, HALF, 90),
    ("int8", 128, 256, 2, 8, BRAIN, 90),
    ("int8", 64, 64, 2, 16, FULL, 80),
]


@pytest.mark.parametrize(("kind", "group", "k", "m", "bits", "dtype", "capability"), LINEAR)
def test_linear(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    group: int,
    k: int,
    m: int,
    bits: int,
    dtype: torch.dtype,
    capability: int,
) -> None:
    monkeypatch.setattr(linear, "target_of", lambda _: Target(capability, 2))
    generator = torch.Generator().manual_seed(k * m + bits)
    n = int(torch.randint(1, 71, (1,), generator=generator))
    x = activations(generator, m, k, group).to(dtype)
    if bits == 8:
        x = clear_of_ties(x, group, 8)
    bias = torch.randn(n, generator=generator) if dtype != BRAIN else None
    weight = grid_weight(generator, n, k, group, kind)
    got = linear.int4_linear(x, linear.pack(weight, "cpu"), bits, bias)
    LinearCase(x, weight, bits, bias).check(got, precision(dtype, bits))


@pytest.mark.parametrize("bits", [8, 16])
def test_linear_in_several_programs_per_sum(bits: int) -> None:
    """Splits of K, also into more than there are blocks, twice with the same counters."""
    generator = torch.Generator().manual_seed(bits)
    weight = grid_weight(generator, 70, 448, 64, "zero_points")
    x = clear_of_ties(activations(generator, 3, 448, 64).half(), 64, 8)
    case, packed = LinearCase(x, weight, bits), linear.pack(weight, "cpu")
    for split in (3, 5):
        config = LinearConfig(8, 64, split, fold=False, warps=4, stages=2)
        for _ in range(2):
            case.check(linear.int4_linear(x, packed, bits, config=config))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_bad_row_of_a_linear_layer_spoils_itself_only(bits: int, bad: float) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = grid_weight(generator, 20, 128, 64, "zero_points")
    x = torch.randn(3, 128, generator=generator).half()
    packed = linear.pack(weight, "cpu")
    clean = linear.int4_linear(x, packed, bits)
    x[1, 70] = bad
    spoilt = linear.int4_linear(x, packed, bits)
    assert not spoilt[1].isfinite().any()
    assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])


def test_activations_are_rounded_half_to_even() -> None:
    weight = dataclasses.replace(
        grid_weight(torch.Generator(), 32, 32, 32, "int8"),
        codes=torch.eye(32, dtype=torch.int8),
        scales=torch.ones(32, 1).half(),
    )
    x = torch.zeros(1, 32)
    x[0, :8] = torch.tensor([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5])
    got = linear.int8_linear(x, linear.pack(weight, "cpu"), 8)
    assert got[0, :8].tolist() == [127, 0, 2, 2, 0, -2, -2, 126]


@given(case=atom_cases(groups=(32, 64, 128), rows=(1, 2, 17)))
@few(5)
def test_atom(case: LinearCase) -> None:
    weight = case.weight
    assert isinstance(weight, AtomWeight)
    packed = PackedAtomWeight(
        linear.pack(weight.low, "cpu"), linear.pack(weight.high, "cpu"), weight.order
    )
    case.check(atom.w4a4_linear(case.x, packed, case.clip), precision(case.x.dtype, 8))


@given(case=lora_cases(most_segments=4, most_rank=20, most_rows=4), blocks=st.integers(0, 2))
@few(8)
def test_lora(case: LoraCase, blocks: int) -> None:
    y, config = case.y.clone(), None
    if blocks:
        page = case.pool.shape[1]
        config = lora.LoraConfig((8, 16)[blocks - 1], 16, 16, page & -page, 2, blocks, 1, 4)
    lora.lora_sgmv(y, case.x, *case.tables, config)
    case.check(y, CUT if BRAIN in (case.x.dtype, case.pool.dtype) else FINE)


def test_lora_in_part_of_a_wider_result() -> None:
    generator = torch.Generator().manual_seed(0)
    wide, x = torch.randn(3, 40, generator=generator), torch.randn(3, 20, generator=generator)
    pool = torch.randn(8, 16, generator=generator)
    numbers = [[0, 1, 3], [[5, 1], [0, 7]], [[2, 3], [6, 4]], [0, 1, 2]]
    bounds, a_pages, b_pages, ranks = (torch.tensor(one, dtype=torch.int32) for one in numbers)
    before, scales = wide.clone(), torch.tensor([0.5, 2.0])
    case = LoraCase(before[:, 7:37].clone(), x, pool, bounds, a_pages, b_pages, ranks, scales)
    lora.lora_sgmv(wide[:, 7:37], x, *case.tables)
    case.check(wide[:, 7:37].contiguous())
    assert torch.equal(wide[:, :7], before[:, :7])
    assert torch.equal(wide[:, 37:], before[:, 37:])


def test_lora_ranks_beyond_the_limit_give_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "MAX_RANK", 16)
    pool, pages = torch.ones(1, 16), torch.zeros(20, 1, dtype=torch.int32)
    y, bounds = torch.zeros(2, 16), torch.tensor([0, 1, 2], dtype=torch.int32)
    ranks = torch.tensor([0, 17, 20], dtype=torch.int32)
    lora.lora_sgmv(y, torch.ones(2, 16), pool, bounds, pages, pages, ranks, torch.ones(2))
    assert y[0].isnan().all()
    assert (y[1] == 3 * 16).all()


@given(case=attention_cases(widths=(8, 16, 24), most_context=20), blocks=st.integers(0, 2))
@few(12)
def test_attention(case: AttentionCase, blocks: int) -> None:
    config = None
    if blocks:
        config = attention.AttentionConfig(16, 8, blocks, 4, 2)
    got = attention.paged_attention(case.q, case.cache, *case.tables, case.scale, config)
    case.check(got, precision(case.q.dtype))


def test_later_values_do_not_count_whatever_they_are() -> None:
    """Of a chunk of queries each sees only what comes before, also within one block of tokens."""
    cache = poisoned_cache(1, 1, 8, 16, "bf16")
    numbers = torch.randn(5, 1, 16, generator=torch.Generator().manual_seed(0))
    numbers[3] = float("nan")
    reference.write_kv(numbers, numbers, cache, torch.arange(5))
    tables = [torch.tensor(one, dtype=torch.int32) for one in ([[0]], [5], [0, 4])]
    q = torch.ones(4, 2, 16)
    got = attention.paged_attention(q, cache, tables[0], tables[1], tables[2], 0.25)
    assert got[:2].isfinite().all()
    assert got[2:].isnan().all()


@given(case=write_cases(widths=(2, 8, 24)))
@few(8)
def test_write_kv(case: tuple) -> None:
    k, v, cache, slots = case
    if BRAIN in (k.dtype,) or cache.kind == "bf16":
        k, v = k.bfloat16(), v.bfloat16()  # conversions that are exact
    attention.write_kv(k, v, cache, slots)
    check_written(k, v, cache, slots)


def test_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, residual = torch.randn(2, 3, 70, generator=generator).half()
    weight = torch.rand(70, generator=generator)
    for longest in (8192, 32):  # one block, and several passes
        monkeypatch.setattr(elementwise, "_LONGEST", longest)
        for layout in (x, torch.cat([x, x], dim=1)[:, :70]):
            expected = reference.rms_norm(x.double(), weight, 1e-3)
            close(elementwise.rms_norm(layout, weight, 1e-3), expected, expected.abs() * 2e-6)
            normed, total = elementwise.add_rms_norm(layout, residual, weight, 1e-3)
            assert torch.equal(total, x + residual)
            expected = reference.rms_norm(total.double(), weight, 1e-3)
            close(normed, expected, expected.abs() * 2e-6)


def test_rope() -> None:
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(3, 7, 24, generator=generator)
    q, k = both[:, :5], both[:, 5:]
    angles = torch.randn(9, 12, generator=generator)
    positions = torch.tensor([4, 0, 8], dtype=torch.int32)
    arguments = positions, angles.cos(), angles.sin()
    turned = elementwise.rope(q, k, *arguments)
    for got, expected in zip(
        turned, reference.rope(q.double(), k.double(), *arguments), strict=True
    ):
        close(got, expected, 1e-6 * (expected.abs() + 4))


def test_silu_mul() -> None:
    x = torch.randn(2, 3, 2600, generator=torch.Generator().manual_seed(0))
    x[0, 0, :2] = torch.tensor([-100.0, 100.0])
    expected = reference.silu_mul(x.double())
    close(elementwise.silu_mul(x), expected, expected.abs() * 1e-5 + 1e-35)


@pytest.mark.parametrize("kind", ["dense", "symmetric", "zero_points", "offsets", "int8"])
def test_embedding(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([6, 0, 3, 7, -1], dtype=torch.int64 if kind == "int8" else torch.int32)
    if kind == "dense":
        table = torch.randn(7, 37, generator=generator).bfloat16()
    else:
        table = grid_weight(generator, 7, 64, 32, kind)
    got = elementwise.embedding(ids, table)
    close(got[:3], reference.embedding(ids[:3], table).double(), 1e-6)
    assert got[3:].isnan().all(), "ids outside the table"


@given(case=sample_cases(most_tokens=200), block=st.sampled_from((64, 256)))
@few(12)
def test_sample(case: SampleCase, block: int) -> None:
    out = torch.empty(len(case.draws), dtype=torch.int64)
    if len(out):
        for launch in sampling.sample_launches(out, *case.arguments, block=block):
            launch.run()
    case.check(out)


def test_sample_marks_rows_it_cannot_draw_from() -> None:
    logits = torch.randn(6, 70, generator=torch.Generator().manual_seed(0))
    logits[0, 3], logits[1], logits[2, 5] = float("nan"), float("-inf"), float("inf")
    draws = torch.full((6,), 0.5, dtype=torch.float64)
    draws[3] = 1.0
    temperature, top_p = torch.ones(6), torch.full((6,), 0.9)
    temperature[4] = -1.0
    got = sampling.sample(logits, draws, temperature, top_p)
    assert (got[:5] == -1).all()
    assert got[5] >= 0


def test_the_benchmark_of_gpu_kernels_runs() -> None:
    """What it measures is meaningless here; that answers are right is not."""
    device = Device("cpu", cold=1, blocks=1)
    plan = Plan(
        shapes=((64, 192),),
        rows=(1,),
        lora=(48, 64),
        ranks=(8,),
        batches=(2,),
        contexts=((2, 20),),
        heads=(4, 2, 16),
        batch=1,
        vocabulary=100,
        square=32,
    )
    rows = list(all_rows(Bench(device, plan, copier(device))))
    assert all(row.value > 0 for row in rows)
    for kernel in ("int4_linear", "W4A8", "int8", "w4a4", "lora", "int8", "bf16", "sample"):
        assert any(kernel in row.what for row in rows), kernel
