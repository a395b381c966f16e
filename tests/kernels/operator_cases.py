"""Random arguments of every operation, with what they must give: for the tests of any back-end.

A case holds plain CPU tensors. ``expected`` is the definition's result in float64, ``check`` holds
a result against it. ``precision`` is the relative error of one product that a back-end may make,
on top of rounding its result: 2^-16 for float32 arithmetic (the CPU), more where it multiplies in
fewer bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from attention_cases import (
    AttentionCase,
    attention_cases,
    check_written,
    poisoned_cache,
    write_cases,
)
from case_tools import FINE, FLOATS, LAYOUTS, Layout, close, dtypes, layouts, placed, seeds
from hypothesis import strategies as st
from product_cases import (
    LinearCase,
    activations,
    atom_cases,
    clear_of_ties,
    dense_cases,
    grid_weight,
    linear_cases,
)

from kernels import reference

__all__ = [
    "FINE",
    "FLOATS",
    "LAYOUTS",
    "AttentionCase",
    "Layout",
    "LinearCase",
    "LoraCase",
    "SampleCase",
    "activations",
    "atom_cases",
    "attention_cases",
    "check_written",
    "clear_of_ties",
    "close",
    "dense_cases",
    "dtypes",
    "grid_weight",
    "layouts",
    "linear_cases",
    "lora_cases",
    "placed",
    "poisoned_cache",
    "sample_cases",
    "seeds",
    "write_cases",
]

Tables = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LoraCase:
    """Arguments of ``lora_sgmv``; ``y`` is what it starts from."""

    y: torch.Tensor
    x: torch.Tensor
    pool: torch.Tensor
    indptr: torch.Tensor
    a_pages: torch.Tensor
    b_pages: torch.Tensor
    rank_indptr: torch.Tensor
    scales: torch.Tensor

    @property
    def tables(self) -> Tables:
        """All arguments after ``y`` and ``x``."""
        return (
            self.pool,
            self.indptr,
            self.a_pages,
            self.b_pages,
            self.rank_indptr,
            self.scales,
        )

    def adapted(self) -> torch.Tensor:
        """Which rows have an adapter: bool [M]."""
        found = torch.zeros(self.y.shape[0], dtype=torch.bool)
        ranks = self.rank_indptr.diff().tolist()
        for begin, end, rank in zip(self.indptr[:-1], self.indptr[1:], ranks, strict=True):
            found[int(begin) : int(end)] = rank > 0
        return found

    def check(self, actual: torch.Tensor, precision: float = FINE) -> None:
        """Compare all rows, and those without adapter bit by bit."""
        assert actual.dtype == self.y.dtype
        others = ~self.adapted()
        # As integers, so that NaN equals NaN.
        kind = torch.int32 if self.y.dtype == torch.float32 else torch.int16
        same = actual[others].contiguous().view(kind) == self.y[others].contiguous().view(kind)
        assert same.all(), "rows without adapter have changed"
        expected = reference.lora_sgmv(self.y.double(), self.x.double(), *self.tables)
        absolute = reference.lora_sgmv(
            self.y.double().abs(),
            self.x.double().abs(),
            self.pool.abs(),
            self.indptr,
            self.a_pages,
            self.b_pages,
            self.rank_indptr,
            self.scales.abs(),
        )
        rows = self.adapted()
        close(actual[rows], expected[rows], absolute[rows] * precision)


@st.composite
def lora_cases(
    draw: st.DrawFn, most_segments: int = 6, most_rank: int = 40, most_rows: int = 12
) -> LoraCase:
    """Segments of any number of rows (none, too), ranks from 0, pages anywhere; NaN in the pool.

    Rows of ``y`` outside every segment are NaN, and so is all of the pool that no adapter uses.
    """
    generator = torch.Generator().manual_seed(draw(seeds))
    k, n = draw(st.integers(1, 130)), draw(st.integers(1, 130))
    page = draw(st.sampled_from((16, 32, 48, 128)))
    sizes = draw(st.lists(st.integers(0, most_rows), max_size=most_segments))
    ranks = draw(st.lists(st.integers(0, most_rank), min_size=len(sizes), max_size=len(sizes)))
    before, after = draw(st.integers(0, 2)), draw(st.integers(0, 3))
    dtype, pool_dtype = draw(dtypes), draw(dtypes)
    count = sum(ranks)
    of_a, of_b = -(-k // page), -(-n // page)
    spare = draw(st.integers(0, 2))  # columns of the tables that are not needed
    pages = count * (of_a + of_b) + 3
    order = torch.randperm(pages, generator=generator).to(torch.int32)
    pool = torch.full((pages, page), float("nan"), dtype=pool_dtype)
    tables = []
    for width, needed, first in ((k, of_a, 0), (n, of_b, count * of_a)):
        own = order[first : first + count * needed].view(count, needed)
        rows = torch.full((count, needed * page), float("nan"))
        rows[:, :width] = torch.randn(count, width, generator=generator)
        pool[own.long()] = rows.view(count, needed, page).to(pool_dtype)
        tables.append(torch.nn.functional.pad(own, (0, spare), value=2**30))
    bounds = torch.tensor([0, *sizes]).cumsum(0) + before
    m = int(bounds[-1]) + after
    y = torch.randn(m, n, generator=generator)
    y[:before] = y[m - after :] = float("nan")
    x = torch.randn(m, k, generator=generator)
    return LoraCase(
        y.to(dtype),
        x.to(dtype),
        pool,
        bounds.to(torch.int32),
        tables[0],
        tables[1],
        torch.tensor([0, *ranks]).cumsum(0).to(torch.int32),
        torch.randn(len(sizes), generator=generator),
    )


@dataclass(frozen=True)
class SampleCase:
    """Arguments of ``sample``."""

    logits: torch.Tensor
    draws: torch.Tensor
    temperature: torch.Tensor
    top_p: torch.Tensor

    @property
    def arguments(self) -> tuple[torch.Tensor, ...]:
        """All of them."""
        return self.logits, self.draws, self.temperature, self.top_p

    def check(self, actual: torch.Tensor, precision: float = 2.0**-18) -> None:
        """Every token's share of the distribution must hold the draw, give or take ``precision``."""
        assert actual.dtype == torch.int64
        assert actual.shape == self.draws.shape
        numbers = (one.tolist() for one in (actual, self.draws, self.temperature, self.top_p))
        for row, (token, draw, temperature, top_p) in enumerate(zip(*numbers, strict=True)):
            logits = self.logits[row].double()
            assert logits[token] > float("-inf"), "a forbidden token"
            if temperature == 0:
                assert token == int((logits == logits.max()).nonzero()[0]), f"row {row}"
            else:
                logs = (logits / temperature).log_softmax(dim=-1)
                assert _holds(logs, token, draw, top_p, precision), f"row {row}"


def _holds(logs: torch.Tensor, token: int, draw: float, top_p: float, precision: float) -> bool:
    order = torch.arange(len(logs))
    if top_p < 1:
        order = logs.sort(descending=True, stable=True).indices
    upto = logs[order].exp().cumsum(dim=0)
    before = upto - logs[order].exp()
    first = last = int((order == token).nonzero())
    if top_p < 1:
        # Of tokens that are nearly equally probable, either may come first.
        alike = ((logs[order] - logs[token]).abs() < precision).nonzero()
        first, last = int(alike[0]), int(alike[-1])
    for share in (top_p - precision, top_p, top_p + precision):
        kept = before < share if top_p < 1 else before >= 0
        total = logs[order].exp()[kept].sum()
        inside = before[first] - precision <= draw * total <= upto[last] + precision
        if kept[first] and inside:
            return True
    return False


@st.composite
def sample_cases(draw: st.DrawFn, most_tokens: int = 3000) -> SampleCase:
    """Vocabularies of any size; forbidden tokens, ties, mixed temperatures and shares."""
    generator = torch.Generator().manual_seed(draw(seeds))
    m, v = draw(st.integers(0, 5)), draw(st.integers(1, most_tokens))
    logits = torch.randn(m, v, generator=generator) * draw(st.sampled_from((0.0, 1.0, 5.0, 30.0)))
    if draw(st.booleans()):
        logits = logits.round()
    forbidden = torch.rand(m, v, generator=generator) < draw(st.sampled_from((0.0, 0.5, 0.99)))
    forbidden[:, draw(st.integers(0, v - 1))] = False
    logits = logits.masked_fill(forbidden, float("-inf")).to(draw(dtypes))
    temperature = torch.tensor([0.0, 0.3, 1.0, 2.5])[torch.randint(4, (m,), generator=generator)]
    shares = torch.tensor([1.0, 0.9, 0.5, 1e-6, 1.5])
    top_p = shares[torch.randint(5, (m,), generator=generator)]
    draws = torch.rand(m, generator=generator, dtype=torch.float64)
    draws[::4] = draw(st.sampled_from((0.0, 0.5, 1 - 2.0**-53)))
    beside = draw(st.sampled_from((0.0, 2e-5, -2e-5)))
    for row in range(m if beside else 0):
        draws[row], top_p[row] = _near_boundary(
            generator, logits[row], float(temperature[row]), float(top_p[row]), beside
        )
    return SampleCase(logits, draws, temperature, top_p)


def _near_boundary(
    generator: torch.Generator,
    logits: torch.Tensor,
    temperature: float,
    top_p: float,
    beside: float,
) -> tuple[float, float]:
    """A draw and a share that lie just beside where the choice changes."""
    weights = (logits.double() / (temperature or 1.0)).softmax(dim=-1)
    if top_p < 1:
        weights = weights.sort(descending=True).values
        upto = weights.cumsum(dim=0)
        kept = int((upto - weights < top_p).sum())
        top_p = min(max(float(upto[kept - 1]) + beside, 1e-6), 0.9999)
        weights = weights * (upto - weights < top_p)
    chosen = int(torch.multinomial(weights, 1, generator=generator))
    boundary = float(weights[: chosen + 1].sum() / weights.sum())
    return min(max(boundary + beside, 0.0), 1 - 2.0**-53), top_p
