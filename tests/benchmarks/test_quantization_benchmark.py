import math
from types import SimpleNamespace

import pytest

from benchmarks import quantization, quantization_text, quantization_work
from benchmarks.quantization import chosen
from benchmarks.quantization_cells import NARROW, Cell, all_cells
from benchmarks.quantization_tables import about, ordered, quality_rows, quality_tables
from benchmarks.quantization_text import evaluation_text, increase_spread
from benchmarks.quantization_work import Plan, Work

SIZES = [511] * 9 + [100]
PREDICTED = sum(SIZES)


def cell_of(name):
    return next(cell for cell in all_cells() if cell.name == name)


def found(nll, successes=None, drift=None):
    """What a cell with this mean loss has."""
    content = {
        "checkpoint": {"bits": 4.25, "bits_all": 5.4, "seconds": 60.0},
        "text": {"hash": "sha256:" + "0" * 64, "predicted": PREDICTED},
        "losses": [nll * size for size in SIZES],
        "perplexity": math.exp(nll),
    }
    if successes is not None:
        content["answers"] = [[f"t{i % 5}", i < successes] for i in range(200)]
    return content | ({"drift": drift} if drift else {})


def test_cells_have_names_and_settings_of_their_own():
    cells = all_cells()
    assert len({cell.name for cell in cells}) == len(cells) == len(set(cells))
    keys = {
        (cell.weights, settings.key(), cell.adapter)
        for cell in cells
        if (settings := cell.settings("base")) is not None
    }
    assert len(keys) == sum(cell.method != "bf16" for cell in cells)
    wide = cell_of("original/awq-g128-asym").settings("")
    assert wide.grid(1536).group == 128
    assert wide.grid(576).group == NARROW


def test_most_important_cells_come_first():
    cells = all_cells()
    core = [cell for cell in cells if cell.core]
    assert cells[: len(core)] == core
    assert chosen([], True) == core
    assert {cell.weights for cell in chosen(["tuned/awq"], False)} == {"tuned"}


def test_half_of_what_rounding_adds_is_the_target():
    results = {
        cell_of("original/bf16"): found(2.0),
        cell_of("original/rtn-g64-asym"): found(2.2),
        cell_of("original/awq-g64-asym"): found(2.05),
        cell_of("original/rtn-g64-sym"): found(2.2),
        cell_of("original/awq-g64-sym"): found(2.15),
    }
    rows = quality_rows(ordered(results, all_cells()))
    assert [row.met for row in rows] == [True, False]
    added = math.exp(2.05) - math.exp(2.0)
    assert rows[0].value == pytest.approx(added)
    assert rows[0].ratio == pytest.approx((math.exp(2.2) - math.exp(2.0)) / added)
    assert rows[0].spread == (pytest.approx(rows[0].ratio), pytest.approx(rows[0].ratio))


@pytest.mark.parametrize(("successes", "met"), [(181, True), (178, True), (177, False)])
def test_one_point_of_strict_success_may_be_lost(successes, met):
    results = {
        cell_of("tuned/bf16"): found(2.0, 180),
        cell_of("tuned/awq-g64-asym"): found(2.1, successes),
    }
    (row,) = [row for row in quality_rows(results) if row.unit == "%"]
    assert row.met is met
    assert row.peer_value == pytest.approx(90)
    assert f"{(successes - 180) / 2:+.1f} points" in row.note


def test_adapters_beside_are_compared_with_themselves():
    drift = {"per_token": 0.03, "same_choice": 0.97, "answers": 45}
    results = {
        cell_of("tuned/bf16"): found(2.0, 10),
        cell_of("original/bf16+adapter"): found(2.0, 180),
        cell_of("original/awq-g64-asym+adapter"): found(2.0, 180, drift),
    }
    rows = quality_rows(results)
    assert [row.unit for row in rows] == ["%", "nats / token"]
    assert rows[0].peer_value == pytest.approx(90)
    assert rows[0].met


def test_tables_have_a_line_per_cell():
    results = {
        cell_of("original/bf16"): found(2.0),
        cell_of("original/exact"): found(2.0),
        cell_of("original/rtn-g64-asym"): found(2.2),
        cell_of("original/awq-g64-asym"): found(2.1),
        cell_of("tuned/bf16"): found(2.0, 180),
    }
    original, tuned = quality_tables(results)
    assert [line["method"] for line in original.rows][1] == "exact import (Q4_1)"
    share = (math.exp(2.1) - math.exp(2.0)) / (math.exp(2.2) - math.exp(2.0))
    assert original.rows[3]["of rounding's"] == pytest.approx(share)
    assert original.rows[1]["added"] == "+0.000"
    assert tuned.rows[0]["strict success"]["value"] == pytest.approx(0.9)
    assert list(original.to_markdown())
    assert f"{PREDICTED:,} predicted tokens" in about(results, Plan())[0]


def test_spread_is_over_windows():
    before = [2.0 * size for size in SIZES]
    one = [loss + (5 if i % 2 else 1) for i, loss in enumerate(before)]
    two = [loss + 10 for loss in before]
    low, high = increase_spread(SIZES, before, one, two)
    assert low < 30 / 9 < high
    assert increase_spread(SIZES, before, before, two) == (math.inf, math.inf)


def test_text_is_not_that_of_the_calibration(monkeypatch):
    text = evaluation_text()
    assert len(text.split()) > 50_000
    monkeypatch.setattr(quantization_text, "prose", lambda: "before " + text[5000:6000])
    with pytest.raises(ValueError, match="calibrated with"):
        evaluation_text()


def test_what_is_measured_beside_an_adapter_follows_from_the_adapter(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_text(name)
    identities = {}
    for cell in (Cell("original", "rtn"), Cell("original", "rtn", adapter=True)):
        for champion in ("one", "two"):
            monkeypatch.setattr(quantization_work, "CHAMPION", tmp_path / champion)
            work = Work(tmp_path, Plan(windows=1), lambda _: None)
            work.__dict__["text"] = SimpleNamespace(hash="of the text")
            work.__dict__["_base"] = SimpleNamespace(folder=tmp_path / "one")
            identities.setdefault(cell.adapter, set()).add(work._cell_key(cell))
    assert len(identities[False]) == 1
    assert len(identities[True]) == 2


def test_a_part_that_no_cell_has_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["quantization", "--only", "nowhere"])
    with pytest.raises(SystemExit) as ended:
        quantization.main()
    assert ended.value.code == 2
    assert "no cell has 'nowhere' in its name" in capsys.readouterr().err


def test_cells_are_equal_whatever_is_measured_of_them():
    assert Cell("tuned", "rtn", answers=True, core=True) == Cell("tuned", "rtn")
