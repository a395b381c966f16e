"""Adapters of a batch: ours over pages, against a loop over adapters and a padded batch product."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, islice

import torch

from benchmarks.kernels_linear import (
    OURS_8,
    SEVEN,
    SMOLLM2,
    Shape,
    our_call,
    random_weight,
)
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
from kernels.cpu.library import DTYPES, check, native
from kernels.cpu.lora import c_segments, c_target

ROWS = 32
ADAPTERS = (1, 8, 32)
SAME, MIXED = (16,), (8, 16, 32, 64)
"""Ranks, taken in turns by the adapters."""
SHAPES = (
    Shape(SMOLLM2, "gate", 1536, 576),
    Shape(SEVEN, "q", 4096, 4096),
)
BASE = OURS_8
"""The layer itself, whose output adapters add to."""

OURS, LOOP, PADDED = "ours", "loop of torch products", "padded torch bmm"
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
LOOPS = tuple(f"{LOOP}, {kind}" for kind in _TYPES)
PADDEDS = tuple(f"{PADDED}, {kind}" for kind in _TYPES)
_TOLERANCES = {torch.float32: 2e-3, torch.bfloat16: 2e-2}
"""Of relative root mean square errors; our pages and the peers' hold rounded adapters."""
_PAGE = {576: 192, 4096: 256}
"""Elements per page by input width, as `serving.adapters.usual_page_size` finds them; else 64."""


@dataclass(frozen=True)
class LoraCase:
    """What batches with few and with many adapters took, timed together.

    Attributes:
        shape: The adapted layer's weight.
        ranks: Taken in turns by the adapters; a single one has their mean, in whole eights.
        cold: Whether adapters came from memory or from a cache.
        sizes: Bytes of all adapters, ours, by their number.
        times: Of all contenders, by `named`.
    """

    shape: Shape
    ranks: tuple[int, ...]
    cold: bool
    sizes: Mapping[int, int]
    times: Times


def named(contender: str, adapters: int) -> str:
    """What a contender with so many adapters is called in `LoraCase.times`."""
    return f"{contender}, {adapters} adapters"


def measure_adapters(
    shape: Shape,
    ranks: tuple[int, ...],
    effort: Effort,
    read: Callable[[], float],
    *,
    adapters: Sequence[int] = ADAPTERS,
    cold: int = COLD,
    rows: int = ROWS,
) -> LoraCase:
    """All contenders with all numbers of adapters; each answer is checked before it is timed.

    Args:
        shape: The adapted layer's weight.
        ranks: Of the adapters, in turns.
        effort: How long.
        read: One pass through memory, in GB/s.
        adapters: How many share the rows, evenly.
        cold: Bytes of the copies of all adapters; 0 for one copy, which stays in a cache.
        rows: Of the batch.

    Raises:
        MismatchError: Somebody's answer is wrong.
    """
    contenders, sizes = [_base(shape, rows, cold)], {}
    for count in adapters:
        batch = _Batch.make(shape, _ranks(count, ranks), rows, cold)
        sizes[count] = batch.size
        contenders += batch.contenders()
    return LoraCase(shape, ranks, cold > 0, sizes, alternate(contenders, effort, read))


def _ranks(adapters: int, ranks: Sequence[int]) -> tuple[int, ...]:
    if adapters > 1:
        return tuple(islice(cycle(ranks), adapters))
    return (8 * round(sum(ranks) / len(ranks) / 8),)


@dataclass(frozen=True)
class _Batch:
    """Rows, and several sets of adapters for them in everybody's format."""

    ranks: tuple[int, ...]
    x: torch.Tensor
    a: torch.Tensor  # [sets, ranks, K]
    b: torch.Tensor  # [sets, ranks, N]
    scales: torch.Tensor

    @staticmethod
    def make(shape: Shape, ranks: tuple[int, ...], rows: int, cold: int) -> _Batch:
        if rows % len(ranks):
            raise ValueError(f"{rows} rows cannot be shared by {len(ranks)} adapters evenly")
        total, k, n = sum(ranks), shape.inputs, shape.outputs
        sets = copies_of(2 * total * (k + n), cold) if cold else 1
        return _Batch(
            ranks,
            torch.randn(rows, k),
            torch.randn(sets, total, k) / k**0.5,
            torch.randn(sets, total, n) / 4,
            torch.rand(len(ranks)) + 0.5,
        )

    @property
    def size(self) -> int:
        """Bytes of one set in 16 bits."""
        return 2 * sum(self.ranks) * (self.x.shape[1] + self.b.shape[2])

    @property
    def bounds(self) -> list[int]:
        """Where each adapter's ranks begin, and their end."""
        return [0, *accumulate(self.ranks)]

    def contenders(self) -> list[Contender]:
        """Everybody, with answers that were found right."""
        made = [(OURS, *self._ours())]
        for name, dtype in _TYPES.items():
            made.append((f"{LOOP}, {name}", *self._loop(dtype)))
            made.append((f"{PADDED}, {name}", *self._padded(dtype)))
        count, last = len(self.ranks), len(self.a) - 1
        expected = self._expected(last)
        for name, call, y in made:
            y.zero_()
            call(last)
            require_close(name, y, expected, _TOLERANCES[y.dtype])
        return [Contender(named(name, count), call, last + 1) for name, call, _ in made]

    def _expected(self, number: int) -> torch.Tensor:
        """By definition, in float64."""
        y = torch.zeros(len(self.x), self.b.shape[2], dtype=torch.float64)
        each = len(self.x) // len(self.ranks)
        for s, (low, high) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
            rows = slice(s * each, (s + 1) * each)
            a, b = self.a[number, low:high].double(), self.b[number, low:high].double()
            y[rows] = float(self.scales[s]) * (self.x[rows].double() @ a.T @ b)
        return y

    def _ours(self) -> tuple[Callable[[int], object], torch.Tensor]:
        """Pages in float16 anywhere in a pool, as adapters are served; through the C interface."""
        sets, total, k = self.a.shape
        n, rows = self.b.shape[2], len(self.x)
        page = _PAGE.get(k, 64)
        a, a_pages = _paged(self.a.flatten(0, 1), page)
        b, b_pages = _paged(self.b.flatten(0, 1), page)
        order = torch.randperm(len(a) + len(b))
        pool = torch.empty(len(order), page, dtype=torch.float16)
        pool[order] = torch.cat([a, b])
        a_tables = order[a_pages].to(torch.int32).reshape(sets, total, -1)
        b_tables = order[b_pages + len(a)].to(torch.int32).reshape(sets, total, -1)
        each = rows // len(self.ranks)
        indptr = torch.arange(0, rows + 1, each, dtype=torch.int32)
        rank_indptr = torch.tensor(self.bounds, dtype=torch.int32)
        segments = c_segments(indptr, rank_indptr, self.scales, pool)
        targets = [c_target(a_tables[i], b_tables[i], k, n, 0, page) for i in range(sets)]
        y = torch.zeros(rows, n)
        places = [ctypes.byref(target) for target in targets]
        rest = (
            ctypes.c_int64(total), ctypes.c_int64(len(pool)), ctypes.c_void_p(self.x.data_ptr()),
            ctypes.c_int64(k), ctypes.c_void_p(y.data_ptr()), ctypes.c_int64(n),
            ctypes.c_int64(rows), DTYPES[y.dtype],
        )  # fmt: skip
        function, first = native().sd_lora_sgmv, ctypes.byref(segments)
        check(function(first, places[0], *rest))
        held = (indptr, rank_indptr, pool, a_tables, b_tables, targets, y, self)

        def call(number: int) -> object:
            return function(first, places[number], *rest), held

        return call, y

    def _loop(self, dtype: torch.dtype) -> tuple[Callable[[int], object], torch.Tensor]:
        """Two products per adapter, the second in place."""
        x, y = self.x.to(dtype), torch.zeros(len(self.x), self.b.shape[2], dtype=dtype)
        a, b = self.a.to(dtype), self.b.to(dtype)
        each = len(x) // len(self.ranks)
        parts = list(zip(x.split(each), y.split(each), self.scales.tolist(), strict=True))
        spans = list(zip(self.bounds, self.bounds[1:], strict=False))
        sets = [[(a[i, low:high].T, b[i, low:high]) for low, high in spans] for i in range(len(a))]

        def call(number: int) -> object:
            for (x_part, y_part, scale), (a_t, b_part) in zip(parts, sets[number], strict=True):
                y_part.addmm_(torch.mm(x_part, a_t), b_part, alpha=scale)

        return call, y

    def _padded(self, dtype: torch.dtype) -> tuple[Callable[[int], object], torch.Tensor]:
        """All adapters filled with zeros to the largest rank; two batched products."""
        count, most = len(self.ranks), max(self.ranks)
        x = self.x.to(dtype).reshape(count, -1, self.x.shape[1])
        y = torch.zeros(len(self.x), self.b.shape[2], dtype=dtype)
        y_batch = y.view(count, -1, y.shape[1])
        a, b = (
            torch.zeros(len(self.a), count, most, part.shape[2], dtype=dtype)
            for part in (self.a, self.b)
        )
        for s, (low, high) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
            a[:, s, : high - low] = self.a[:, low:high].to(dtype)
            b[:, s, : high - low] = (self.b[:, low:high] * self.scales[s]).to(dtype)
        turned = a.transpose(2, 3)

        def call(number: int) -> object:
            return y_batch.baddbmm_(torch.bmm(x, turned[number]), b[number])

        return call, y


def _base(shape: Shape, rows: int, cold: int) -> Contender:
    """The layer itself."""
    n, k = shape.outputs, shape.inputs
    own = pack(random_weight(n, k))
    copies = copies_of(own.blob.numel(), cold) if cold else 1
    weights = [replace(own, blob=own.blob.clone()) for _ in range(copies)]
    return Contender(BASE, our_call(weights, torch.randn(rows, k), torch.zeros(rows, n), 8), copies)


def _paged(rows: torch.Tensor, page: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [R, width] as pages [R * pages of a row, page] and their numbers [R, pages of a row]."""
    width = rows.shape[1]
    per_row = -(-width // page)
    padded = torch.nn.functional.pad(rows, (0, per_row * page - width)).half()
    numbers = torch.arange(len(rows) * per_row).reshape(len(rows), per_row)
    return padded.reshape(-1, page), numbers
