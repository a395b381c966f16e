"""4-bit linear layers against torch's 4-bit, 8-bit, bfloat16 and float32 products."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.kernels_timing import (
    COLD,
    Contender,
    Effort,
    Times,
    alternate,
    copies_of,
    require_close,
)
from kernels import pack
from kernels.cpu.library import check, native
from kernels.cpu.linear import c_linear
from kernels.packing import PackedWeight
from kernels.weights import QuantizedWeight, pack_nibbles, unpack_nibbles

GROUP = 64
ROWS = (1, 8, 32, 128)

OURS_16, OURS_8 = "ours, 16-bit activations", "ours, 8-bit activations"
PACKED, BF16, FP32 = "torch INT4 in bf16", "torch bf16", "torch fp32"
INT8 = "torch _int_mm (W8A8)"
WEIGHT_ONLY = (PACKED, BF16, FP32)
"""What 16-bit activations are compared with: torch's ``_weight_int4pack_mm_for_cpu`` and ``mm``."""
ALL = (*WEIGHT_ONLY, INT8)
"""What 8-bit activations are compared with."""

_TOLERANCES = {OURS_16: 1e-3, OURS_8: 2e-2, PACKED: 2e-2, BF16: 1e-2, FP32: 1e-4}
"""Of relative root mean square errors. With 8-bit activations 1/255 of a group's range is a step;
torch's INT4 rounds scales, zero points and results to bfloat16."""
_CHECKED = 8
"""Rows of the answers that are held against float64."""


@dataclass(frozen=True)
class Shape:
    """A layer's weight, ``[outputs, inputs]``, and how often a model has it."""

    model: str
    layer: str
    outputs: int
    inputs: int
    count: int = 1

    @property
    def name(self) -> str:
        """``960×576``."""
        return f"{self.outputs}×{self.inputs}"


SMOLLM2, SEVEN = "SmolLM2-135M", "7B"
SHAPES = (
    Shape(SMOLLM2, "q, k, v", 960, 576, 30),
    Shape(SMOLLM2, "o", 576, 576, 30),
    Shape(SMOLLM2, "gate, up", 3072, 576, 30),
    Shape(SMOLLM2, "down", 576, 1536, 30),
    Shape(SMOLLM2, "head", 49152, 576),
    Shape(SEVEN, "o", 4096, 4096),
    Shape(SEVEN, "up", 11008, 4096),
    Shape(SEVEN, "down", 4096, 11008),
)


@dataclass(frozen=True)
class LinearCase:
    """What one shape took with one number of rows.

    Attributes:
        shape: The weight.
        rows: Of activations.
        size: Bytes of our weight, scales and zero points included.
        times: Of all contenders.
    """

    shape: Shape
    rows: int
    size: int
    times: Times


def measure_shape(
    shape: Shape,
    rows: Sequence[int],
    effort: Effort,
    read: Callable[[], float],
    cold: int = COLD,
) -> list[LinearCase]:
    """All contenders on one shape; each answer is checked before it is timed.

    Args:
        shape: The weight.
        rows: Numbers of rows of activations.
        effort: How long.
        read: One pass through memory, in GB/s.
        cold: Bytes of each contender's copies in all.

    Raises:
        MismatchError: Somebody's answer is wrong.
    """
    weights = _Weights.make(shape, cold)
    cases: list[LinearCase] = []
    for count in rows:
        x = torch.randn(count, shape.inputs)
        contenders = weights.contenders(x)
        times = alternate(contenders, effort, read)
        cases.append(LinearCase(shape, count, weights.ours[0].blob.numel(), times))
    return cases


@dataclass(frozen=True)
class _Weights:
    """One weight in everybody's format, in copies."""

    dense: torch.Tensor
    ours: list[PackedWeight]
    packed: list[tuple[torch.Tensor, torch.Tensor]]
    halves: list[torch.Tensor]
    floats: list[torch.Tensor]
    bytes8: list[torch.Tensor]

    @staticmethod
    def make(shape: Shape, cold: int) -> _Weights:
        n, k = shape.outputs, shape.inputs
        weight = random_weight(n, k)
        dense = weight.dequantize()
        own = pack(weight)
        blobs = _copies(own.blob, cold)
        return _Weights(
            dense,
            [PackedWeight(one, n, k, GROUP, 4, own.zero_kind) for one in blobs],
            list(zip(*(_copies(part, cold) for part in _torch_packed(weight)), strict=False)),
            _copies(dense.bfloat16(), cold),
            _copies(dense, cold),
            _copies(torch.randint(-127, 128, (n, k), dtype=torch.int8), cold),
        )

    def contenders(self, x: torch.Tensor) -> list[Contender]:
        """Everybody, with answers that were found right."""
        half, int8 = x.bfloat16(), torch.randint(-127, 128, x.shape, dtype=torch.int8)
        n = self.dense.shape[0]
        sixteen, eight = (torch.full((len(x), n), torch.nan) for _ in range(2))
        calls: Mapping[str, tuple[Callable[[int], object], int]] = {
            OURS_16: (our_call(self.ours, x, sixteen, 16), len(self.ours)),
            OURS_8: (our_call(self.ours, x, eight, 8), len(self.ours)),
            PACKED: (_packed_call(self.packed, half), len(self.packed)),
            BF16: (_product_call(self.halves, half), len(self.halves)),
            FP32: (_product_call(self.floats, x), len(self.floats)),
            INT8: (_integer_call(self.bytes8, int8), len(self.bytes8)),
        }
        self._check(calls, x, {OURS_16: sixteen, OURS_8: eight}, int8)
        return [Contender(name, call, copies) for name, (call, copies) in calls.items()]

    def _check(
        self,
        calls: Mapping[str, tuple[Callable[[int], object], int]],
        x: torch.Tensor,
        written: Mapping[str, torch.Tensor],
        int8: torch.Tensor,
    ) -> None:
        expected = x[:_CHECKED].double() @ self.dense.double().T
        for name, (call, copies) in calls.items():
            answer = call(copies - 1)
            answer = written.get(name, answer)
            assert isinstance(answer, torch.Tensor)
            if name == INT8:
                # Sums stay below 2^53: float64 is exact.
                exact = int8[:_CHECKED].double() @ self.bytes8[0].double().T
                require_close(name, answer[:_CHECKED], exact, 0.0)
            else:
                require_close(name, answer[:_CHECKED], expected, _TOLERANCES[name])


def random_weight(n: int, k: int) -> QuantizedWeight:
    """A weight [n, k] of 4 bits with integer zero points, in groups of `GROUP`."""
    return QuantizedWeight(
        codes=pack_nibbles(torch.randint(0, 16, (n, k))),
        scales=(torch.rand(n, k // GROUP) / 50 + 0.01).half(),
        zeros=torch.randint(4, 12, (n, k // GROUP), dtype=torch.uint8),
        bits=4,
        group=GROUP,
    )


def _copies(tensor: torch.Tensor, cold: int) -> list[torch.Tensor]:
    count = copies_of(tensor.numel() * tensor.element_size(), cold)
    return [tensor, *(tensor.clone() for _ in range(count - 1))]


def _torch_packed(weight: QuantizedWeight) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight as torch's operator takes it: ``(code - 8) * scale + zero`` in bfloat16."""
    assert weight.zeros is not None
    codes = unpack_nibbles(weight.codes).to(torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    scales = weight.scales.float()
    zeros = scales * (8 - weight.zeros.float())
    both = torch.stack([scales, zeros], dim=-1).transpose(0, 1).contiguous()
    return packed, both.bfloat16()


def our_call(
    weights: Sequence[PackedWeight], x: torch.Tensor, out: torch.Tensor, activation_bits: int
) -> Callable[[int], object]:
    """Through the C interface, as the decoder's step calls it."""
    layers = [c_linear(one, activation_bits) for one in weights]
    places = [ctypes.byref(layer) for layer in layers]
    m, k = x.shape
    rest = (
        ctypes.c_void_p(x.data_ptr()), ctypes.c_int64(k), ctypes.c_int64(m),
        ctypes.c_void_p(out.data_ptr()), ctypes.c_int64(out.shape[1]), 0,
    )  # fmt: skip
    function = native().sd_linear
    check(function(places[0], *rest))
    held = (x, out, weights)  # what the pointers lead to

    def call(number: int) -> object:
        return function(places[number], *rest), held

    return call


def _packed_call(
    weights: Sequence[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor
) -> Callable[[int], object]:
    function = torch.ops.aten._weight_int4pack_mm_for_cpu.default
    return lambda number: function(x, weights[number][0], GROUP, weights[number][1])


def _product_call(weights: Sequence[torch.Tensor], x: torch.Tensor) -> Callable[[int], object]:
    turned = [weight.T for weight in weights]
    return lambda number: torch.mm(x, turned[number])


def _integer_call(weights: Sequence[torch.Tensor], x: torch.Tensor) -> Callable[[int], object]:
    turned = [weight.T for weight in weights]
    integer = torch.ops.aten._int_mm.default
    return lambda number: integer(x, turned[number])


def call_costs(calls: int = 2000) -> tuple[float, float]:
    """Seconds that a call from Python costs by itself: ours (no rows), torch's (one number)."""
    own = pack(random_weight(16, GROUP))
    ours = our_call([own], torch.zeros(0, GROUP), torch.zeros(0, 16), 16)
    one = torch.ones(1, 1)
    costs: list[float] = []
    for function in (ours, lambda _number: torch.mm(one, one)):
        began = time.perf_counter()
        for _ in range(calls):
            function(0)
        costs.append((time.perf_counter() - began) / calls)
    return costs[0], costs[1]
