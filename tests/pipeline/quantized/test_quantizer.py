"""The stage with the quantizer as it is: methods that are calibrated, and what is refused early."""

from __future__ import annotations

import json

import pytest
from small_run import small_config

from pipeline.quantized.size import size_of
from pipeline.runs.launch import carry_out
from pipeline.stages import quantize
from pipeline.stages.context import PARTIAL, StageContext
from verifier.errors import InputError

SETTINGS = {
    "enabled": True,
    "group": 16,
    "splits": ["validation"],
    "samples": 1,
    "limit": 1,
    "max_new_tokens": 4,
    "calibration_rows": 4,
    "calibration_tokens": 48,
}


def run_stage(work, select, config):
    (work / PARTIAL).mkdir(parents=True)
    told: list[str] = []
    report = lambda what, *_: told.append(what)  # noqa: E731
    quantize.run(StageContext(config, 2, {"select": select}, work, report))
    return json.loads((work / "summary.json").read_text()), told


@pytest.mark.parametrize("method", ["rtn", "awq"])
def test_methods(small_run, small_model, tmp_path, method):
    config = small_config(small_model, quantize=SETTINGS | {"method": method})
    summary, told = run_stage(tmp_path / method, small_run / "select", config)
    assert ("answers to calibrate with" in told) is (method == "awq")
    assert "quantizing" in told
    assert summary["method"] == method
    assert 4 < size_of(summary, "quantized")[1] < 16
    assert 0 < summary["compared"]["quantized"]["drift"]["per_token"] < 0.1
    again, _ = run_stage(tmp_path / "again", small_run / "select", config)
    assert again == summary


def test_a_group_that_does_not_divide_is_told_before_the_run_begins(small_model, tmp_path):
    config = small_config(small_model, quantize=SETTINGS | {"group": 24})
    with pytest.raises(InputError, match="groups of 24 do not divide the 16 columns of"):
        carry_out(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
