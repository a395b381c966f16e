"""Back-ends of this machine, and cases carried out on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import settings
from hypothesis import strategies as st
from operator_cases import (
    FINE,
    AttentionCase,
    Layout,
    LinearCase,
    atom_cases,
    dense_cases,
    dtypes,
    linear_cases,
    placed,
    seeds,
)

import kernels
from kernels.cpu import available_isas
from kernels.kv_cache import KVCache
from kernels.weights import AtomWeight

examples = settings(max_examples=30, deadline=None)
few = settings(max_examples=8, deadline=None)


@dataclass(frozen=True)
class Backend:
    """Where operations run: a CPU at one instruction-set level, or a GPU.

    Attributes:
        device: Of the tensors.
        level: Of the CPU.
        groups: Sizes that it has kernels for.
        fine: Relative error of products of float32.
        coarse: And of 16-bit formats.
    """

    device: str
    level: str = ""
    groups: tuple[int, ...] = (8, 32, 40, 64, 128)
    fine: float = FINE
    coarse: float = FINE

    def __str__(self) -> str:
        return self.level or self.device

    def precision(self, x: torch.Tensor) -> float:
        return self.fine if x.dtype == torch.float32 else self.coarse

    def put(self, tensor: torch.Tensor, layout: Layout = "plain") -> torch.Tensor:
        return placed(tensor.to(self.device), layout)


BACKENDS = [Backend("cpu", level) for level in available_isas()]
if torch.cuda.is_available():
    BACKENDS.append(Backend("cuda", groups=(32, 64, 128), fine=2.0**-14, coarse=2.0**-8))


def linear(backend: Backend, case: LinearCase, layout: Layout = "plain") -> torch.Tensor:
    """The case's product on a back-end."""
    x = backend.put(case.x, layout)
    bias = None if case.bias is None else backend.put(case.bias)
    if isinstance(case.weight, torch.Tensor):
        return kernels.dense_linear(x, kernels.pack_dense(case.weight, backend.device), bias).cpu()
    if isinstance(case.weight, AtomWeight):
        return kernels.w4a4_linear(x, kernels.pack(case.weight, backend.device), case.clip).cpu()
    product = kernels.int4_linear if case.weight.bits == 4 else kernels.int8_linear
    packed = kernels.pack(case.weight, backend.device)
    return product(x, packed, case.activation_bits, bias).cpu()


def any_product(backend: Backend) -> st.SearchStrategy[LinearCase]:
    """Products of all kinds."""
    groups = [group for group in backend.groups if group % 32 == 0]
    return st.one_of(linear_cases(groups=backend.groups), atom_cases(groups), dense_cases())


@st.composite
def numbers(draw: st.DrawFn, most: int = 200, even: bool = False) -> torch.Tensor:
    """Rows [M, K] or [A, B, K] of any width, in any format."""
    shape = draw(st.sampled_from(((0,), (1,), (5,), (2, 3), (0, 2))))
    width = draw(st.integers(1, most // 2)) * 2 if even else draw(st.integers(1, most))
    generator = torch.Generator().manual_seed(draw(seeds))
    size = draw(st.sampled_from((1e-3, 1.0, 30.0)))
    return (torch.randn(*shape, width, generator=generator) * size).to(draw(dtypes))


def attend(backend: Backend, case: AttentionCase, layout: Layout = "plain") -> torch.Tensor:
    """The case's attention on a back-end."""
    q, cache = backend.put(case.q, layout), moved(backend, case.cache)
    tables, lengths, bounds = (backend.put(one) for one in case.tables)
    return kernels.paged_attention(q, cache, tables, lengths, bounds, case.scale).cpu()


def moved(backend: Backend, cache: KVCache) -> KVCache:
    parts = (cache.keys, cache.values, cache.key_params, cache.value_params)
    there = [None if one is None else backend.put(one) for one in parts]
    assert there[0] is not None
    assert there[1] is not None
    return KVCache(there[0], there[1], there[2], there[3], cache.kind)
