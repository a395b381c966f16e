"""Triton kernels on a GPU, beyond what test_operators.py asks of every back-end."""

from __future__ import annotations

import pytest
import torch
from operator_cases import (
    LinearCase,
    LoraCase,
    activations,
    clear_of_ties,
    grid_weight,
    lora_cases,
    placed,
)

pytest.importorskip("triton")
if not torch.cuda.is_available():
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

from hypothesis import given, settings

import kernels
from kernels import reference
from kernels.triton import linear
from kernels.triton.launch import target_of
from kernels.triton.tuning import linear_candidates, tune_linear

HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
COARSE = 2.0**-8


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [HALF, BRAIN, FULL])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("kind", "group"), [("symmetric", 64), ("zero_points", 128), ("offsets", 32), ("int8", 64)])  # fmt: skip
def test_every_class_of_shapes(kind: str, group: int, bits: int, dtype: torch.dtype) -> None:
    """A configuration for each number of rows, on the widths of a real layer."""
    generator = torch.Generator().manual_seed(group)
    n, k = 1000, 1536
    weight = grid_weight(generator, n, k, group, kind)
    packed = kernels.pack(weight, "cuda")
    for m in (1, 8, 16, 17, 33, 65, 130, 520):
        x = clear_of_ties(activations(generator, m, k, group, dtype), group, 8)
        case = LinearCase(x, weight, bits)
        got = linear.int4_linear(x.cuda(), packed, bits).cpu()
        case.check(got, 2.0**-14 if dtype == FULL else COARSE)


@pytest.mark.parametrize("m", [1, 16, 100])
def test_every_candidate_of_the_tuner_computes_the_same(m: int) -> None:
    generator = torch.Generator().manual_seed(m)
    weight = grid_weight(generator, 512, 2048, 64, "zero_points")
    packed, x = kernels.pack(weight, "cuda"), torch.randn(m, 2048, generator=generator).half()
    case = LinearCase(x, weight)
    tried = 0
    for config in linear_candidates(m):
        try:
            case.check(linear.int4_linear(x.cuda(), packed, config=config).cpu(), COARSE)
        except Exception as problem:
            if "out of resource" not in str(problem).lower():
                raise
            continue
        tried += 1
    assert tried
    assert tune_linear(packed, m, HALF) in linear_candidates(m)


def test_sums_of_several_programs_are_deterministic() -> None:
    weight = grid_weight(torch.Generator(), 256, 8192, 64, "symmetric")
    packed, x = kernels.pack(weight, "cuda"), random(4, 8192).bfloat16().cuda()
    first = kernels.int4_linear(x, packed)
    for _ in range(50):
        assert torch.equal(kernels.int4_linear(x, packed), first)


def test_operations_run_in_a_cuda_graph() -> None:
    """One step's operations, captured once and replayed on other numbers."""
    generator = torch.Generator().manual_seed(1)
    weight = grid_weight(generator, 512, 1024, 64, "symmetric")
    packed = kernels.pack(weight, "cuda")
    x = random(4, 1024, seed=2).bfloat16().cuda()
    norm = torch.ones(1024, device="cuda", dtype=BRAIN)
    logits_inputs = (
        torch.full((4,), 0.4, dtype=torch.float64, device="cuda"),
        torch.tensor([0.0, 1.0, 0.7, 1.0], device="cuda"),
        torch.tensor([1.0, 1.0, 0.9, 0.5], device="cuda"),
    )

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        logits = kernels.int4_linear(kernels.rms_norm(x, norm, 1e-6), packed)
        return logits, kernels.sample(logits, *logits_inputs)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for seed in (3, 4):
        x.copy_(random(4, 1024, seed=seed))
        graph.replay()
        again = step()
        assert torch.equal(captured[0], again[0])
        assert torch.equal(captured[1], again[1])


def test_attention_over_a_long_context() -> None:
    """More tokens than one program reads; decoding and a chunk of a prompt side by side."""
    heads, kv_heads, width, size = 8, 2, 128, 16
    lengths, counts = [3000, 513, 4096], [1, 100, 1]
    blocks = [-(-length // size) for length in lengths]
    order = torch.randperm(sum(blocks), generator=torch.Generator().manual_seed(0)).int()
    tables = torch.zeros(3, max(blocks), dtype=torch.int32)
    first = 0
    for row, own in enumerate(blocks):
        tables[row, :own] = order[first : first + own]
        first += own
    bounds = torch.tensor([0, *counts]).cumsum(0).int()
    q = random(sum(counts), heads, width)
    for kind in ("bf16", "int8", "int4"):
        cache = kernels.allocate_kv_cache(sum(blocks), kv_heads, size, width, kind)
        for row, length in enumerate(lengths):
            positions = torch.arange(length)
            slots = tables[row].long()[positions // size] * size + positions % size
            keys, values = random(2, length, kv_heads, width, seed=row)
            reference.write_kv(keys, values, cache, slots)
        params = [
            one if one is None else one.cuda() for one in (cache.key_params, cache.value_params)
        ]
        there = kernels.KVCache(cache.keys.cuda(), cache.values.cuda(), *params, kind=kind)
        context = torch.tensor(lengths, dtype=torch.int32)
        expected = reference.paged_attention(
            q.double(), cache, tables, context, bounds, width**-0.5
        )
        for dtype in (HALF, BRAIN, FULL):
            own = q.to(dtype).cuda()
            got = kernels.paged_attention(
                own, there, tables.cuda(), context.cuda(), bounds.cuda(), width**-0.5
            )
            torch.testing.assert_close(got.cpu().double(), expected, rtol=2e-2, atol=2e-2)


@given(case=lora_cases(most_segments=40, most_rank=64, most_rows=3))
@settings(max_examples=20, deadline=None)
def test_many_adapters(case: LoraCase) -> None:
    y = placed(case.y.cuda(), "columns")
    pool, indptr, a_pages, b_pages, ranks, scales = (one.cuda() for one in case.tables)
    kernels.lora_sgmv(y, case.x.cuda(), pool, indptr, a_pages, b_pages, ranks, scales)
    case.check(y.cpu().contiguous(), COARSE)


def test_the_target_is_that_of_the_device() -> None:
    found = target_of(torch.zeros(1, device="cuda"))
    assert (
        found.capability
        == 10 * torch.cuda.get_device_capability()[0] + (torch.cuda.get_device_capability()[1])
    )
    assert found.shared >= 48 * 1024
