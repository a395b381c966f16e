"""Random linear layers, and what they must give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from case_tools import FINE, close, dtypes, seeds
from hypothesis import strategies as st

from kernels import reference
from kernels.weights import AtomWeight, QuantizedWeight, pack_nibbles


@dataclass(frozen=True)
class LinearCase:
    """``x`` times ``weight``, which is on a grid, of mixed precision, or dense."""

    x: torch.Tensor
    weight: QuantizedWeight | AtomWeight | torch.Tensor
    activation_bits: int = 16
    bias: torch.Tensor | None = None
    clip: float = 0.9

    def expected(self) -> torch.Tensor:
        x, bias = self.x.double(), self.bias
        if isinstance(self.weight, AtomWeight):
            return reference.w4a4_linear(x, self.weight, self.clip)
        if isinstance(self.weight, torch.Tensor):
            return reference.dense_linear(x, self.weight, bias)
        linear = reference.int4_linear if self.weight.bits == 4 else reference.int8_linear
        return linear(x, self.weight, self.activation_bits, bias)

    def check(self, actual: torch.Tensor, precision: float = FINE) -> None:
        assert actual.dtype == self.x.dtype
        close(actual, self.expected(), self.scale_of_error() * precision)

    def scale_of_error(self) -> torch.Tensor:
        """Sums of largest activation times weight, group by group: [..., N]."""
        if isinstance(self.weight, torch.Tensor):
            return self.x.double().abs() @ self.weight.double().abs().T
        if isinstance(self.weight, AtomWeight):
            # Sums of integers are exact: what is left is the rounding of sums in float32.
            columns = self.x.double().abs() * 2.0**-4
            return columns @ self.weight.dequantize(torch.float64).abs().T
        groups = self.x.double().unflatten(-1, (-1, self.weight.group)).abs()
        largest = groups.amax(dim=-1, keepdim=True).expand(groups.shape).flatten(-2)
        exact = 2.0**-4 if self.activation_bits == 8 else 1.0
        return exact * largest @ self.weight.dequantize(torch.float64).abs().T

    def with_x(self, x: torch.Tensor) -> LinearCase:
        return replace(self, x=x)


@st.composite
def linear_cases(
    draw: st.DrawFn,
    kinds: Iterable[str] = ("symmetric", "zero_points", "offsets", "int8"),
    groups: Iterable[int] = (8, 32, 40, 64, 128),
    activation_bits: Iterable[int] = (16, 8),
    rows: Iterable[int] = (0, 1, 2, 3, 5, 9, 17, 33, 101),
    most_outputs: int = 70,
) -> LinearCase:
    """Any number of outputs, any number of groups, activations of very different sizes."""
    group, kind = draw(st.sampled_from(tuple(groups))), draw(st.sampled_from(tuple(kinds)))
    n, k = draw(st.integers(1, most_outputs)), group * draw(st.integers(1, 5))
    bits, dtype = draw(st.sampled_from(tuple(activation_bits))), draw(dtypes)
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = grid_weight(generator, n, k, group, kind)
    x = activations(generator, draw(st.sampled_from(tuple(rows))), k, group, dtype)
    if bits == 8:
        x = clear_of_ties(x, group, 8)
    bias = torch.randn(n, generator=generator) if draw(st.booleans()) else None
    return LinearCase(x, weight, bits, bias)


@st.composite
def atom_cases(
    draw: st.DrawFn,
    groups: Iterable[int] = (8, 32, 64, 128),
    rows: Iterable[int] = (0, 1, 2, 5, 17, 33),
) -> LinearCase:
    """Weights of mixed precision with low and high parts of different groups."""
    low_group, high_group = draw(st.sampled_from(tuple(groups))), draw(st.sampled_from((32, 64)))
    n, low, high = draw(st.integers(1, 50)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    low, high = low * low_group, high * high_group
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = AtomWeight(
        grid_weight(generator, n, low, low_group, "symmetric"),
        grid_weight(generator, n, high, high_group, "int8"),
        torch.randperm(low + high, generator=generator).to(torch.int32),
    )
    clip = draw(st.sampled_from((1.0, 0.9, 0.7)))
    m, dtype = draw(st.sampled_from(tuple(rows))), draw(dtypes)
    x = activations(generator, m, low + high, 32, dtype)[:, weight.order.long()]
    x = torch.cat(
        [
            clear_of_ties(x[:, :low], low_group, 4, clip),
            clear_of_ties(x[:, low:], high_group, 8),
        ],
        dim=1,
    )
    original = torch.empty_like(x)
    original[:, weight.order.long()] = x
    return LinearCase(original, weight, clip=clip)


@st.composite
def dense_cases(draw: st.DrawFn) -> LinearCase:
    """Unquantized weights of any width."""
    n, k = draw(st.integers(1, 70)), draw(st.integers(1, 150))
    dtype = draw(st.sampled_from((torch.float32, torch.bfloat16)))
    generator = torch.Generator().manual_seed(draw(seeds))
    weight = torch.randn(n, k, generator=generator).to(dtype)
    x = torch.randn(draw(st.sampled_from((0, 1, 3, 17))), k, generator=generator).to(draw(dtypes))
    bias = torch.randn(n, generator=generator) if draw(st.booleans()) else None
    return LinearCase(x, weight, bias=bias)


def grid_weight(
    generator: torch.Generator, n: int, k: int, group: int, kind: str
) -> QuantizedWeight:
    """Any codes, scales of either sign and of several sizes, some of them zero."""
    sizes = torch.rand(n, k // group, generator=generator) + 0.1
    signs = torch.randint(-1, 2, sizes.shape, generator=generator)
    scales = (sizes * signs * 0.05).half()
    if kind == "int8":
        codes = torch.randint(-127, 128, (n, k), generator=generator, dtype=torch.int8)
        return QuantizedWeight(codes, (scales / 16).half(), None, 8, group)
    codes = torch.randint(0, 16, (n, k), generator=generator, dtype=torch.uint8)
    zeros = None
    if kind == "zero_points":
        zeros = torch.randint(0, 16, sizes.shape, generator=generator, dtype=torch.uint8)
    if kind == "offsets":
        zeros = torch.randn(sizes.shape, generator=generator).half()
    return QuantizedWeight(pack_nibbles(codes), scales, zeros, 4, group)


def activations(
    generator: torch.Generator,
    m: int,
    k: int,
    group: int,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """[m, k]: groups of sizes from 1e-3 to 1e3 (float16: 10, products must fit), some zero."""
    count = -(-k // group)
    sizes = 10 ** (6 * torch.rand(m, count, generator=generator) - 3)
    sizes *= torch.rand(m, count, generator=generator) > 0.1
    x = torch.randn(m, k, generator=generator)
    x *= sizes.repeat_interleave(group, dim=1)[:, :k]
    return (x / 100 if dtype == torch.float16 else x).to(dtype)


def clear_of_ties(x: torch.Tensor, group: int, bits: int, clip: float = 1.0) -> torch.Tensor:
    """``x`` with what lies between two codes moved onto one: all roundings agree on it."""
    codes, scales = reference.quantize_activations(x, group, bits, clip)
    numbers, levels = x.float().unflatten(-1, (-1, group)), 7 if bits == 4 else 127
    steps = numbers / scales[..., None]
    undecided = ((steps - codes).abs() > 0.45) & (steps < levels) & (steps > -1 - levels)
    moved = torch.where(undecided, codes.clamp(min=-levels) * scales[..., None], numbers)
    return moved.flatten(-2).to(x.dtype)
