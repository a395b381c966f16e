"""4-bit, 8-bit and mixed linear layers on a GPU against cuBLAS and torch's own INT4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu_bench import (
    BRAIN,
    CUBLAS,
    GROUP,
    OURS,
    TORCH4,
    Bench,
    against,
    of_copying,
    random_weight,
)
from benchmarks.kernels_timing import Contender, require_close
from benchmarks.results import Row
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.triton import atom, linear, tuning
from kernels.weights import QuantizedWeight

Product = Callable[[torch.Tensor, int], torch.Tensor]
"""Of activations with one copy of a weight."""


def linear_rows(bench: Bench) -> Iterator[Row]:
    """4-bit layers of every shape; 8 bits and mixed precision of the first."""
    for index, (n, k) in enumerate(bench.plan.shapes):
        dense = bench.random(n, k)
        cublas = cublas_product(bench, dense)
        yield from int4_rows(bench, random_weight(n, k, GROUP), cublas)
        if index == 0:
            yield from int8_rows(bench, random_weight(n, k, GROUP, 8), cublas)
            yield from atom_rows(bench, n, k, cublas)


def cublas_product(bench: Bench, dense: torch.Tensor) -> tuple[int, Product]:
    """Copies of a bfloat16 weight, and the product with one of them."""
    copies = [dense.clone() for _ in range(bench.device.copies_of(dense.nbytes))]
    return len(copies), lambda x, copy: x @ copies[copy].t()


def copies(bench: Bench, packed: PackedWeight) -> list[PackedWeight]:
    """Enough to be cold."""
    count = bench.device.copies_of(packed.blob.numel())
    return [dataclasses.replace(packed, blob=packed.blob.clone()) for _ in range(count)]


def int4_rows(bench: Bench, weight: QuantizedWeight, cublas: tuple[int, Product]) -> Iterator[Row]:
    """Weight-only and with 8-bit activations, by number of rows."""
    packed = linear.pack(weight, bench.device.name)
    ours, torch4 = copies(bench, packed), torch_int4(bench, weight)
    exact = weight.dequantize(torch.float64).to(bench.device.name)
    for m in bench.plan.rows:
        x = bench.random(m, weight.shape[1])
        for bits in (16, 8):
            config = tuning.tune_linear(packed, m, BRAIN, bits) if bench.tune else None
            peers = {CUBLAS: cublas}
            if torch4 and bits == 16:
                peers[TORCH4] = torch4

            def product(
                x: torch.Tensor, copy: int, bits: int = bits, config: Any = config
            ) -> torch.Tensor:
                return linear.int4_linear(x, ours[copy], bits, config=config)

            what = f"int4_linear g{GROUP}, M = {m}, {weight.shape[0]}×{weight.shape[1]}"
            right, tolerance = x.double() @ exact.t(), 1e-2 if bits == 16 else 3e-2
            require_close(what, product(x, 0), right, tolerance)
            if TORCH4 in peers:
                require_close(TORCH4, peers[TORCH4][1](x, 0), right, 3e-2)
            size = packed.blob.numel() if m <= 16 else None
            what += "" if bits == 16 else ", W4A8"
            yield from product_rows(
                bench, what, x, (len(ours), product), peers, size, target=bits == 16
            )


def product_rows(
    bench: Bench,
    what: str,
    x: torch.Tensor,
    ours: tuple[int, Product],
    peers: dict[str, tuple[int, Product]],
    size: int | None,
    target: bool = False,
) -> Iterator[Row]:
    """Our rate, of a weight of ``size`` bytes beside copying, and our time beside each peer's."""
    contenders = [
        Contender(name, lambda copy, call=call: call(x, copy), count)
        for name, (count, call) in {OURS: ours, **peers}.items()
    ]
    times = bench.times(contenders)
    (m, k), n = x.shape, peers[CUBLAS][1](x, 0).shape[1]
    if size is not None:
        yield of_copying(what, times, size + 2 * m * (n + k), target)
    else:
        yield Row(what, 2 * m * n * k / times[OURS] / 1e12, "TFLOP/s")
    for name in peers:
        yield against(what, times, name)


def torch_int4(bench: Bench, weight: QuantizedWeight) -> tuple[int, Product] | None:
    """Torch's own packed weight; None where there is none."""
    library: Any = torch
    name = bench.device.name
    codes = weight.integers().to(name).to(torch.uint8)
    pairs = (codes[:, ::2] << 4 | codes[:, 1::2]).contiguous()
    scales = weight.scales.t().to(name, BRAIN)
    both = torch.stack([scales, torch.zeros_like(scales)], dim=-1).contiguous()

    def product(x: torch.Tensor, copy: int) -> torch.Tensor:
        return library._weight_int4pack_mm(x, packed[copy], weight.group, both)

    try:
        first = library._convert_weight_to_int4pack(pairs, 8)
        packed = [first.clone() for _ in range(bench.device.copies_of(first.nbytes))]
        product(torch.zeros(1, weight.shape[1], dtype=BRAIN, device=name), 0)
    except (RuntimeError, NotImplementedError):
        return None
    return len(packed), product


def int8_rows(bench: Bench, weight: QuantizedWeight, cublas: tuple[int, Product]) -> Iterator[Row]:
    """8-bit weights, by number of rows."""
    packed = linear.pack(weight, bench.device.name)
    ours = copies(bench, packed)
    exact = weight.dequantize(torch.float64).to(bench.device.name)
    for m in bench.plan.rows:
        x = bench.random(m, weight.shape[1])
        what = f"int8_linear g{GROUP}, M = {m}, {weight.shape[0]}×{weight.shape[1]}"

        def product(x: torch.Tensor, copy: int) -> torch.Tensor:
            return linear.int8_linear(x, ours[copy])

        require_close(what, product(x, 0), x.double() @ exact.t(), 1e-2)
        size = packed.blob.numel() if m <= 16 else None
        yield from product_rows(bench, what, x, (len(ours), product), {CUBLAS: cublas}, size)


def atom_rows(bench: Bench, n: int, k: int, cublas: tuple[int, Product]) -> Iterator[Row]:
    """4-bit weights and activations with 8-bit outliers, by number of rows."""
    name, outliers = bench.device.name, 128 if k >= 1024 else 64
    low = linear.pack(random_weight(n, k - outliers, GROUP), name)
    high = linear.pack(random_weight(n, outliers, GROUP, 8), name)
    order = torch.randperm(k).int().to(name)
    ours = [PackedAtomWeight(one, high, order) for one in copies(bench, low)]

    def product(x: torch.Tensor, copy: int) -> torch.Tensor:
        return atom.w4a4_linear(x, ours[copy])

    for m in bench.plan.rows:
        what = f"w4a4_linear g{GROUP}, M = {m}, {n}×{k}"
        x = bench.random(m, k)
        yield from product_rows(bench, what, x, (len(ours), product), {CUBLAS: cublas}, None)
