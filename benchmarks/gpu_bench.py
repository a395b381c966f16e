"""What the benchmarks of GPU kernels share: the plan, the device, and how rows are made."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.gpu_timing import Device, alternate
from benchmarks.kernels_timing import Contender, Times
from benchmarks.results import Row, at_least
from kernels.weights import QuantizedWeight, pack_nibbles

BRAIN = torch.bfloat16
OURS, CUBLAS, TORCH, TORCH4 = "ours", "cuBLAS bf16", "torch", "torch INT4"
COPY = "copying memory"
GROUP = 64


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        shapes: Of linear layers, (outputs, inputs).
        rows: Of their activations.
        lora: (outputs, inputs) of an adapted layer.
        ranks: Of its adapters.
        batches: Rows, each with an adapter of its own.
        contexts: (sequences, tokens of each) of decoding attention.
        heads: Query heads, key heads, width.
        batch: Rows of norms and sampling.
        vocabulary: Of sampling.
        square: Side of the matrices that give the matrix rate.
    """

    shapes: tuple[tuple[int, int], ...] = ((4096, 4096), (22016, 4096), (4096, 11008))
    rows: tuple[int, ...] = (1, 8, 16, 32, 64, 128, 1024, 4096)
    lora: tuple[int, int] = (4096, 4096)
    ranks: tuple[int, ...] = (16, 64)
    batches: tuple[int, ...] = (32, 64)
    contexts: tuple[tuple[int, int], ...] = ((1, 8192), (32, 2048))
    heads: tuple[int, int, int] = (32, 8, 128)
    batch: int = 32
    vocabulary: int = 49152
    square: int = 8192


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    device: Device
    plan: Plan
    copy_rate: Callable[[], float]
    tune: bool = False

    def times(self, contenders: Sequence[Contender]) -> Times:
        """All of them, in turns."""
        return alternate(contenders, self.device, self.copy_rate)

    def random(self, *shape: int, dtype: torch.dtype = BRAIN) -> torch.Tensor:
        """Numbers on the device."""
        return torch.randn(*shape, dtype=torch.float32, device=self.device.name).to(dtype)


def of_copying(what: str, times: Times, size: float, target: bool, note: str = "") -> Row:
    """Our rate of moving ``size`` bytes beside the copy rate; the target is 80 % of it."""
    share, rate = times.share(OURS, size), times.rate(OURS, size)
    row = Row(what, rate, "GB/s", COPY, statistics.median(times.read), share.ratio, share.spread)
    row = dataclasses.replace(row, note=note)
    return at_least(row, 0.8) if target else row


def against(what: str, times: Times, peer: str) -> Row:
    """Our time beside a peer's."""
    comparison = times.against(OURS, peer)
    return Row(
        what, times[OURS] * 1e6, "µs", peer, times[peer] * 1e6, comparison.ratio, comparison.spread
    )


def random_weight(n: int, k: int, group: int, bits: int = 4) -> QuantizedWeight:
    """A symmetric weight on the CPU."""
    scales = (torch.rand(n, k // group) * 0.01 + 0.005).half()
    if bits == 8:
        codes = torch.randint(-127, 128, (n, k), dtype=torch.int8)
        return QuantizedWeight(codes, (scales / 16).half(), None, 8, group)
    codes = torch.randint(0, 16, (n, k), dtype=torch.uint8)
    return QuantizedWeight(pack_nibbles(codes), scales, None, 4, group)
