import json
from dataclasses import replace

import pytest
import torch

from benchmarks import kernels_linear, kernels_lora, report
from benchmarks.kernel_bandwidth import Memory, bandwidth_rows
from benchmarks.kernels import Plan, measure
from benchmarks.kernels_attention import Contexts, Heads
from benchmarks.kernels_linear import SEVEN, SMOLLM2, Shape
from benchmarks.kernels_timing import (
    Contender,
    Effort,
    Times,
    alternate,
    copies_of,
    require_close,
)
from benchmarks.paired import MismatchError
from benchmarks.results import write_results
from kernels.cpu import bandwidth

TINY = Plan(
    Effort(blocks=2, seconds=1e-4),
    memory=2**16,
    cold=2**15,
    shapes=(Shape(SMOLLM2, "o", 48, 64, 30), Shape(SEVEN, "o", 32, 128)),
    rows=(1, 32),
    lora=(Shape(SMOLLM2, "q", 80, 64),),
    adapters=(1, 4),
    batch=8,
    heads=(Heads("tiny", 4, 2, 32),),
    contexts=(Contexts(3, 21),),
)


def test_memory_is_read_and_copied_whole():
    words = torch.randint(-(2**62), 2**62, (8 * 37,))
    for streams in (1, 3, 8, 16):
        assert bandwidth.read(words, streams) == int(words.sum()) % 2**64
    target = torch.zeros(3, 7, dtype=torch.uint8)
    source = torch.randint(1, 256, (21,), dtype=torch.uint8)
    bandwidth.copy(target, source)
    assert torch.equal(target.flatten(), source)


@pytest.mark.parametrize("data", [torch.zeros(9, dtype=torch.int64), torch.zeros(8, 16).T])
def test_other_memory_is_refused(data):
    with pytest.raises(ValueError, match=r"must be contiguous|multiples of 64"):
        bandwidth.read(data)


def test_bandwidth_that_reads_something_else_stops(monkeypatch):
    monkeypatch.setattr(bandwidth, "read", lambda _data, _streams=1: 1)
    with pytest.raises(MismatchError):
        Memory(2**12)


def test_bandwidth_rows_are_of_one_and_of_more_threads():
    what = [row.what for row in bandwidth_rows(2, passes=3, size=2**16)]
    assert [text.rpartition(", ")[2] for text in what] == ["1 thread"] * 2 + ["2 threads"] * 2


def test_contenders_take_their_copies_in_turns():
    seen = {"a": [], "b": []}
    times = alternate(
        [Contender("a", seen["a"].append, 3), Contender("b", seen["b"].append)],
        Effort(blocks=3, seconds=1e-5),
        lambda: 2.0,
    )
    assert set(times.seconds) == {"a", "b"}
    assert times.read == (2.0, 2.0, 2.0)
    assert set(seen["a"]) == {0, 1, 2}
    assert set(seen["b"]) == {0}


def test_ratios_are_of_blocks_side_by_side():
    times = Times({"a": (1.0, 2.0, 3.0), "b": (4.0, 4.0, 3.0)}, (10.0, 20.0, 10.0))
    assert times.against("a", "b").ratio == 2.0
    assert times.best(["a", "b", "missing"]) == "a"
    assert times.rate("a", 4e9) == 2.0
    # 10 GB at 10 GB/s would take a second each in the first and last block, half in the second.
    assert times.share("a", 10e9).ratio == pytest.approx(1 / 3)


def test_copies_are_more_than_what_is_to_be_left():
    assert copies_of(40, 100) == 3
    assert copies_of(400, 100) == 1


@pytest.mark.parametrize("answer", [[1.0, 2.1], [1.0, float("nan")]])
def test_wrong_answers_stop_a_benchmark(answer):
    right = torch.tensor([1.0, 2.0])
    require_close("right", right, right, 0.0)
    with pytest.raises(MismatchError, match="somebody"):
        require_close("somebody", torch.tensor(answer), right, 0.01)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    return measure(TINY, lambda _what: None)


def test_kernels_have_headlines_with_targets(found):
    rows = found.rows()
    targets = [row for row in rows if row.target is not None]
    # Weights read: two models, 16 and 8 bits, and the slowest shape. Leads: 16 and 8 bits, M of 1
    # and 32, and _int_mm. Adapters: from memory and from a cache, alone and with the layer; mixed.
    assert len(targets) == 5 + 5 + 5
    assert all(row.met is not None for row in targets)
    assert all(row.ratio > 0 for row in rows if row.ratio is not None)


def test_kernels_have_a_table_each(found):
    tables = found.tables()
    assert [table["title"] for table in tables] == ["int4_linear", "lora_sgmv", "paged_attention"]
    # Two shapes with two numbers of rows; three ways to hold one and four adapters; one batch.
    assert [len(table["rows"]) for table in tables] == [4, 6, 1]
    for table in tables:
        assert all(set(row) == set(table["columns"]) for row in table["rows"])


def test_results_page_shows_them(found, tmp_path):
    more = {"about": ["Measured in turns."], "tables": found.tables()}
    write_results("kernels", found.rows(), ("torch",), tmp_path / "kernels.json", more)
    page = report.page(tmp_path)
    assert "## kernels" in page
    assert "Measured in turns." in page
    assert "### lora_sgmv" in page
    assert json.loads((tmp_path / "kernels.json").read_text())["benchmark"] == "kernels"


def test_peers_that_compute_something_else_are_named(monkeypatch):
    monkeypatch.setattr(
        kernels_linear, "_product_call", lambda weights, x: lambda number: x @ weights[number].T + 1
    )
    with pytest.raises(MismatchError, match="torch bf16"):
        kernels_linear.measure_shape(TINY.shapes[0], (1,), TINY.effort, lambda: 1.0, TINY.cold)


def test_our_own_wrong_answers_are_found(monkeypatch):
    right = kernels_linear.c_linear
    monkeypatch.setattr(
        kernels_linear, "c_linear", lambda one, bits: right(replace(one, zero_kind=0), bits)
    )
    with pytest.raises((MismatchError, ValueError)):
        kernels_linear.measure_shape(TINY.shapes[0], (1,), TINY.effort, lambda: 1.0, TINY.cold)


def test_adapters_share_rows_evenly():
    with pytest.raises(ValueError, match="evenly"):
        kernels_lora.measure_adapters(
            TINY.lora[0], (16,), TINY.effort, lambda: 1.0, adapters=(3,), rows=8
        )
