"""The quantized champion on the page: a row for each kind of weights, the difference, the gate."""

from __future__ import annotations

import json
import shutil

import pytest
from fake_quantized import add_quantized
from html_page import read

from pipeline.run_report import run_page
from verifier.errors import InputError


@pytest.fixture
def run(full, tmp_path):
    return shutil.copytree(full, tmp_path / "run")


def section(run):
    return read(run_page(run)).one("section", id="quantized")


def rows(section):
    return {tr.one("th").text: [td.text for td in tr.all("td")] for tr in section.all("tr") if tr.all("td")}  # fmt: skip


def test_both_kinds_of_weights_side_by_side(run):
    add_quantized(run)
    found = section(run)
    table = rows(found)
    assert list(table) == ["16 bits", "4 bits kept"]
    assert table["16 bits"][0].startswith("95.0 %")
    assert table["16 bits"][3:] == ["20.50", "2.0", "16.00"]
    assert table["4 bits kept"][3:] == ["20.90", "0.6", "4.64"]
    assert "Gate passed." in found.text
    assert "AWQ, 4 bits, asymmetric, groups of 64" in found.text
    assert "strict success 0.0 points" in found.text
    assert "0 answers lost" in found.text
    assert "the same in 97.0 % of the places" in found.text


def test_a_gate_that_stays_shut_says_why(run):
    add_quantized(run, after=33)
    found = section(run)
    assert "Gate not passed." in found.text
    assert "strict success went from 95.0 % to 82.5 %" in found.text
    assert "strict success −12.5 points" in found.text
    assert "5 answers lost, 0 gained" in found.text


def test_recovery_is_a_row_of_its_own(run):
    add_quantized(run, after=33, recovered=38, separate=True)
    found = section(run)
    assert list(rows(found)) == ["16 bits", "4 bits", "with an adapter trained on it kept"]
    assert "Gate passed." in found.text
    assert "Its adapter stays beside the quantized base." in found.text
    assert [row[4:] for row in rows(found).values()] == [
        ["2.0", "16.24"], ["0.6", "4.88"], ["0.6", "4.88"],
    ]  # fmt: skip


def test_what_is_trained_beside_merged_weights_counts(run):
    add_quantized(run, after=33, recovered=38)
    assert [row[5] for row in rows(section(run)).values()] == ["16.00", "4.64", "4.88"]


def test_costs_name_the_stage(run):
    assert "quantize" not in read(run_page(run)).one("section", id="making").one("table").text
    add_quantized(run)
    table = read(run_page(run)).one("section", id="making").one("table")
    assert "select and quantize" in table.text


def test_without_the_stage_there_is_no_section(run):
    page = read(run_page(run))
    assert not page.all("section", id="quantized")


def test_a_summary_that_lacks_something_is_named(run):
    stage = add_quantized(run)
    summary = json.loads((stage / "summary.json").read_text())
    del summary["size"]
    (stage / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"quantize/summary\.json: cannot be read: KeyError"):
        run_page(run)
