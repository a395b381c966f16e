"""Adapters on the CPU at every level: against the definition, cut up in other ways, wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import cpu, reference
from kernels.cpu.lora import lora_sgmv

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}
DTYPES = st.sampled_from(list(TOLERANCES))


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    before, level = cpu.num_threads(), cpu.isa()
    yield
    cpu.set_num_threads(before)
    cpu.select_isa(level)


@dataclass(frozen=True)
class Problem:
    """Arguments of `lora_sgmv`; ``y`` lies inside ``around``."""

    around: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    tables: tuple[torch.Tensor, ...]

    def solved(self) -> torch.Tensor:
        """``around`` after a call on a copy."""
        around = self.around.clone()
        lora_sgmv(around[:, 3 : 3 + self.y.shape[1]], self.x, *self.tables)
        return around

    def wanted(self) -> torch.Tensor:
        """``y`` by definition in float64."""
        return reference.lora_sgmv(self.y.double(), self.x.double(), *self.tables)


def problem(
    segments: list[int],
    ranks: list[int],
    k: int,
    n: int,
    page: int,
    seed: int,
    pool_dtype: torch.dtype = torch.float16,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """Rows before, between and after the segments' own; NaN in the unused tails of pages."""
    draw = torch.Generator().manual_seed(seed)
    total, widths = sum(ranks), (-(-k // page), -(-n // page))
    pages = total * sum(widths) + 3
    pool = (torch.randn(pages, page, generator=draw) / k**0.5).to(pool_dtype)
    order = torch.randperm(pages, generator=draw).to(torch.int32)
    a = order[: total * widths[0]].reshape(total, widths[0])
    b = order[total * widths[0] :][: total * widths[1]].reshape(total, widths[1])
    for table, size in ((a, k), (b, n)):
        if size % page:
            pool[table[:, -1].long(), size % page :] = float("nan")
    bounds = torch.tensor([1, *segments]).cumsum(0).to(torch.int32)
    rows = int(bounds[-1]) + 2
    around = torch.randn(rows, n + 7, generator=draw).to(dtype)
    x = torch.randn(rows, k, generator=draw).to(dtype)
    scales = torch.rand(len(segments), generator=draw) + 0.5
    rank_bounds = torch.tensor([0, *ranks]).cumsum(0).to(torch.int32)
    return Problem(around, around[:, 3 : 3 + n], x, (pool, bounds, a, b, rank_bounds, scales))


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from([0, 1, 1, 2, 5, 33, 70]), st.sampled_from([0, 1, 3, 4, 8, 13])),
        max_size=5,
    ),
    k=st.integers(1, 200),
    n=st.integers(1, 600),
    page=st.sampled_from([16, 32, 48, 64, 192]),
    seed=st.integers(0, 2**31),
    pool_dtype=DTYPES,
    dtype=DTYPES,
)
def test_every_level_and_number_of_threads(
    parts: list[tuple[int, int]],
    k: int,
    n: int,
    page: int,
    seed: int,
    pool_dtype: torch.dtype,
    dtype: torch.dtype,
) -> None:
    segments, ranks = [rows for rows, _ in parts], [rank for _, rank in parts]
    made = problem(segments, ranks, k, n, page, seed, pool_dtype, dtype)
    wanted = made.wanted()
    bound = TOLERANCES[dtype] * (wanted.abs() + 1)
    for level in cpu.available_isas():
        cpu.select_isa(level)
        cpu.set_num_threads(1)
        got = made.solved()
        assert ((got[:, 3 : 3 + n].double() - wanted).abs() <= bound).all()
        assert torch.equal(got[:, :3], made.around[:, :3])
        assert torch.equal(got[:, 3 + n :], made.around[:, 3 + n :])
        for threads in (2, 3):
            cpu.set_num_threads(threads)
            assert torch.equal(made.solved(), got)


@pytest.mark.parametrize("level", cpu.available_isas())
def test_rows_do_not_depend_on_their_company(level: str) -> None:
    """A row alone gives bit for bit what it gives within a segment of 70."""
    cpu.select_isa(level)
    made = problem([70], [13], 150, 300, 48, seed=1)
    whole = made.solved()
    pool, _, a, b, ranks, scales = made.tables
    for row in (1, 2, 33, 70):
        bounds = torch.tensor([row, row + 1], dtype=torch.int32)
        alone = Problem(made.around, made.y, made.x, (pool, bounds, a, b, ranks, scales)).solved()
        assert torch.equal(alone[row], whole[row])
        assert torch.equal(alone[:row], made.around[:row])


def test_strided_tables_and_rows() -> None:
    made = problem([4, 3], [3, 8], 100, 90, 32, seed=2)
    pool, bounds, a, b, ranks, scales = made.tables
    wide = torch.cat([a, b], dim=1)
    tables = (pool, bounds, wide[:, : a.shape[1]], wide[:, a.shape[1] :], ranks, scales)
    x = torch.cat([made.x, made.x], dim=1)[:, 100:]
    assert torch.equal(Problem(made.around, made.y, x, tables).solved(), made.solved())
    across = made.x.T.contiguous().T
    assert torch.equal(Problem(made.around, made.y, across, made.tables).solved(), made.solved())


def test_not_a_number_stays_in_its_row() -> None:
    made = problem([5, 6], [4, 9], 40, 50, 16, seed=3)
    made.x[4, 7] = float("nan")
    got = made.solved()[:, 3:53]
    assert got[4].isnan().all()
    assert got[:4].isfinite().all()
    assert got[5:].isfinite().all()


def test_wrong_numbers() -> None:
    made = problem([4, 3], [3, 8], 100, 90, 32, seed=4)
    pool, bounds, a, b, ranks, scales = made.tables

    def bounds_of(*numbers: int) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32)

    far, negative = a.clone(), b.clone()
    far[10, 3] = pool.shape[0]
    negative[0, 0] = -1
    for change, message in (
        ((pool, bounds, far, b, ranks, scales), "a page that the pool does not have"),
        ((pool, bounds, a, negative, ranks, scales), "a page that the pool does not have"),
        ((pool, bounds_of(1, 5, 11), a, b, ranks, scales), "beyond the rows"),
        ((pool, bounds_of(-1, 5, 8), a, b, ranks, scales), "beyond the rows"),
        ((pool, bounds_of(1, 9, 8), a, b, ranks, scales), "must not fall"),
        ((pool, bounds, a, b, bounds_of(0, 3, 10), scales), "rank_indptr must go"),
        ((pool, bounds, a, b, bounds_of(0, 12, 11), scales), "rank_indptr must not fall"),
        ((pool, bounds[:2], a, b, ranks, scales), "need indptr and rank_indptr of 3"),
        ((pool, bounds, a[:, :3], b, ranks, scales), "a_pages must be"),
        ((pool, bounds, a, b[:9], ranks, scales), "b_pages must be"),
        ((pool[:, :24].contiguous(), bounds, a, b, ranks, scales), "a multiple of 16"),
        ((pool[:, :16], bounds, a, b, ranks, scales), "contiguous"),
    ):
        with pytest.raises(ValueError, match=message):
            Problem(made.around, made.y, made.x, change).solved()
    with pytest.raises(ValueError, match="does not fit"):
        lora_sgmv(made.y.clone(), made.x[:4], *made.tables)
    with pytest.raises(ValueError, match="consecutive"):
        lora_sgmv(made.y.T.contiguous().T, made.x, *made.tables)


def test_wrong_types() -> None:
    made = problem([4, 3], [3, 8], 100, 90, 32, seed=5)
    pool, bounds, a, b, ranks, scales = made.tables
    for change, message in (
        ((pool, bounds.long(), a, b, ranks, scales), "indptr must be int32"),
        ((pool, bounds, a.long(), b, ranks, scales), "a_pages must be int32"),
        ((pool, bounds, a, b, ranks, scales.double()), "scales must be float32"),
        ((pool.to(torch.int16), bounds, a, b, ranks, scales), "pool of"),
    ):
        with pytest.raises(TypeError, match=message):
            Problem(made.around, made.y, made.x, change).solved()
    with pytest.raises(TypeError, match="one float type"):
        lora_sgmv(made.y.half(), made.x, *made.tables)
