"""Operations under `torch.compile`, and what PyTorch demands of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from operator_cases import grid_weight, poisoned_cache

import kernels
from kernels.weights import AtomWeight

generator = torch.Generator().manual_seed(0)
GRID = grid_weight(generator, 20, 64, 32, "zero_points")
EIGHTS = grid_weight(generator, 20, 64, 32, "int8")
LOW = grid_weight(generator, 20, 64, 32, "symmetric")
INT4, INT8 = kernels.pack(GRID), kernels.pack(EIGHTS)
DENSE = kernels.pack_dense(torch.randn(20, 64, generator=generator))
ATOM = kernels.pack(AtomWeight(LOW, EIGHTS, torch.arange(128, dtype=torch.int32).flip(0)))
X = torch.randn(3, 64, generator=generator)
HEADS = torch.randn(3, 4, 8, generator=generator)
POOL = torch.randn(12, 32, generator=generator)
COUNT = torch.arange(3, dtype=torch.int32)


def lora() -> dict[str, torch.Tensor]:
    return {
        "y": torch.ones(3, 20),
        "x": X,
        "pool": POOL,
        "indptr": torch.tensor([0, 1, 3], dtype=torch.int32),
        "a_pages": torch.arange(6, dtype=torch.int32).view(3, 2),
        "b_pages": torch.arange(6, 9, dtype=torch.int32).view(3, 1),
        "rank_indptr": torch.tensor([0, 1, 3], dtype=torch.int32),
        "scales": torch.ones(2),
    }


def cached(kind: Any) -> tuple[torch.Tensor, ...]:
    """Three tokens written, then read by two sequences."""
    cache = kernels.allocate_kv_cache(6, 2, 4, 8, kind)
    kernels.write_kv(HEADS[:, :2], HEADS[:, 2:], cache, torch.tensor([0, 1, 8]))
    tables = torch.tensor([[0], [2]], dtype=torch.int32)
    lengths = torch.tensor([2, 1], dtype=torch.int32)
    bounds = torch.tensor([0, 2, 3], dtype=torch.int32)
    out = kernels.paged_attention(HEADS, cache, tables, lengths, bounds, 0.3)
    return out, cache.keys, cache.values


def adapted() -> torch.Tensor:
    wide = torch.zeros(3, 30)
    arguments = {**lora(), "y": wide[:, 5:25]}
    return kernels.lora_sgmv(**arguments) * 2 + wide[:, 5:25]


CALLS: dict[str, Callable[[], Any]] = {
    "int4_linear": lambda: kernels.int4_linear(X * 2, INT4, 16, X[0, :20]) + 1,
    "int8_linear": lambda: kernels.int8_linear(X.view(1, 3, 64), INT8, 8).sum(0),
    "dense_linear": lambda: kernels.dense_linear(X.bfloat16(), DENSE),
    "w4a4_linear": lambda: kernels.w4a4_linear(X.repeat(1, 2), ATOM, 0.8),
    "lora_sgmv": adapted,
    "rms_norm": lambda: kernels.rms_norm(X, X[0], 1e-5),
    "add_rms_norm": lambda: kernels.add_rms_norm(X, X * 2, X[0], 1e-5),
    "rope": lambda: kernels.rope(HEADS, HEADS[:, :2], COUNT, X[:, :4], X[:, 4:8]),
    "silu_mul": lambda: kernels.silu_mul(X) * 2,
    "embedding": lambda: kernels.embedding(COUNT, X),
    "quantized_embedding": lambda: kernels.embedding(COUNT.long(), GRID),
    "attention over bf16": lambda: cached("bf16"),
    "attention over int8": lambda: cached("int8"),
    "attention over int4": lambda: cached("int4"),
    "sample": lambda: kernels.sample(X, X[:, 0].double().abs() % 1, X[:, 1].abs(), X[:, 2].abs()),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_calls_give_the_same(name: str, backend: str) -> None:
    """In one graph: nothing falls back to Python."""
    torch.compiler.reset()
    compiled = torch.compile(CALLS[name], backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(), CALLS[name](), rtol=0, atol=0)


def test_one_graph_serves_all_numbers_of_rows() -> None:
    torch.compiler.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    layer = torch.compile(
        lambda x: kernels.silu_mul(kernels.int4_linear(x, INT4)), backend=count, dynamic=True
    )
    for rows in (2, 5, 33):
        x = torch.randn(rows, 64)
        expected = kernels.silu_mul(kernels.int4_linear(x, INT4))
        assert torch.equal(layer(x), expected)
    assert len(graphs) == 1


def samples() -> dict[str, tuple[Any, ...]]:
    """Flat arguments of every operator."""
    quantized, plain = poisoned_cache(6, 2, 4, 8, "int8"), poisoned_cache(6, 2, 4, 8, "bf16")
    tables = (torch.zeros(2, 1, dtype=torch.int32), COUNT[1:], torch.tensor([0, 1, 3]).int())
    tensors = (quantized.keys, quantized.values, quantized.key_params, quantized.value_params)
    keys, slots = HEADS[:, :2], torch.tensor([3, -1, 9])
    return {
        "int4_linear": (X, INT4.blob, 20, 64, 32, 1, 16, None),
        "int8_linear": (X, INT8.blob, 20, 64, 32, 8, torch.ones(20)),
        "dense_linear": (X.half(), DENSE.blob, 20, 64, 32, None),
        "w4a4_linear": (
            X.repeat(1, 2), ATOM.low.blob, ATOM.high.blob, ATOM.order, 20, 64, 64, 32, 32, 0.9,
        ),
        "lora_sgmv": tuple(lora().values()),
        "rms_norm": (X, X[0], 1e-5),
        "add_rms_norm": (X, X * 2, X[0], 1e-5),
        "rope": (HEADS, keys, COUNT, X[:, :4], X[:, 4:8]),
        "silu_mul": (X,),
        "embedding": (COUNT, X),
        "quantized_embedding": (COUNT, GRID.codes, GRID.scales, GRID.zeros, 4, 32),
        "write_kv": (keys, keys + 1, *tensors, slots, "int8"),
        "write_kv ": (keys, keys + 1, plain.keys, plain.values, None, None, slots, "bf16"),
        "paged_attention": (HEADS, *map(torch.zeros_like, tensors), *tables, 0.3, "int8"),  # type: ignore[arg-type]
        "sample": (X, torch.rand(3, dtype=torch.float64), torch.ones(3), torch.ones(3) / 2),
    }  # fmt: skip


@pytest.mark.parametrize("name", samples())
def test_operators_are_what_pytorch_demands(name: str) -> None:
    """Their schemas tell what they change, and tensors without memory get the same shapes."""
    operator = getattr(torch.ops.specdrive, name.strip()).default
    torch.library.opcheck(operator, samples()[name])


def test_every_operator_is_sampled() -> None:
    from kernels.operators import SCHEMAS

    assert {name.strip() for name in samples()} == set(SCHEMAS)


@pytest.mark.parametrize("name", ["int4_linear", "rms_norm", "rope", "silu_mul", "sample"])
def test_no_rows_have_shapes_too(name: str) -> None:
    """On tensors without memory, and on those with."""
    arguments = [
        one[:0] if isinstance(one, torch.Tensor) and one.shape[0] == 3 and one.dim() != 2 else one
        for one in samples()[name]
    ]
    first = samples()[name][0]
    arguments[0] = first[:0]
    if name == "rope":
        arguments[3:] = samples()[name][3:]
    operator = getattr(torch.ops.specdrive, name)
    real = operator(*arguments)
    fake = operator(
        *(one.to("meta") if isinstance(one, torch.Tensor) else one for one in arguments)
    )
    pairs = zip(real, fake, strict=True) if isinstance(real, tuple) else [(real, fake)]
    for one, other in pairs:
        assert one.shape == other.shape
        assert one.dtype == other.dtype
