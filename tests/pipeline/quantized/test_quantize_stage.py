"""Stage quantize: both models asked the same, the gate, recovery, kills, its place in a run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from grid_model import on_grid
from safetensors.torch import load_file
from small_run import small_config

from pipeline.cli import run as specdrive
from pipeline.files import read_rows
from pipeline.quantized import making
from pipeline.quantized.measuring import compare
from pipeline.quantized.size import size_of
from pipeline.runs.folder import open_run
from pipeline.runs.launch import carry_out
from pipeline.runs.manifest import artefacts
from pipeline.stages import quantize
from pipeline.stages.context import PARTIAL, StageContext
from verifier.errors import InputError

SETTINGS = {
    "enabled": True,
    "method": "rtn",
    "group": 16,
    "splits": ["validation"],
    "samples": 2,
    "limit": 2,
    "max_new_tokens": 6,
}


@pytest.fixture(autouse=True)
def rounded(monkeypatch):
    """Rounding to nearest in place of the quantizer; ``calls`` counts."""
    calls: list[Path] = []

    def quantized(dense, folder, settings, calibration, base, report):
        assert settings.method == "rtn" or calibration()
        if not folder.is_dir():
            report("quantizing", 0, 1)
            calls.append(on_grid(dense, folder, settings.group, base))
        return folder

    monkeypatch.setattr(making, "quantized", quantized)
    return calls


def config_of(small_model, **settings):
    return small_config(small_model, quantize=SETTINGS | settings)


@pytest.fixture
def context(small_run, small_model, tmp_path):
    def make(name="work", report=lambda *_: None, **settings):
        work = tmp_path / name
        (work / PARTIAL).mkdir(parents=True, exist_ok=True)
        inputs = {"select": small_run / "select"}
        inputs |= {f"round-0{n}/generate": small_run / f"round-0{n}" / "generate" for n in (1, 2)}
        return StageContext(config_of(small_model, **settings), 2, inputs, work, report)

    return make


def carried_out(context: StageContext) -> dict:
    quantize.run(context)
    return json.loads((context.work / "summary.json").read_text())


def test_both_models_are_asked_the_same(context):
    found = context()
    summary = carried_out(found)
    rows = read_rows(found.work / "answers.jsonl")
    assert [row["weights"] for row in rows] == ["bf16"] * 4 + ["quantized"] * 4
    for before, after in zip(rows[:4], rows[4:], strict=True):
        for key in ("task", "seed", "sample", "sampling"):
            assert before[key] == after[key]
        assert before["model"] != after["model"]
    assert {row["split"] for row in rows} == {"validation"}
    assert [row["model"] for row in rows[::4]] == [
        summary["models"][name]["model"] for name in ("bf16", "quantized")
    ]
    change = summary["compared"]["quantized"]
    assert change["strict_success"]["neither"] == 4
    assert change["drift"]["per_token"] > 0
    assert change["drift"]["answers"] == 2
    perplexities = [one["perplexity"]["neutral"] for one in summary["models"].values()]
    assert perplexities[0] != perplexities[1]
    assert change["perplexity"] == pytest.approx(perplexities[1] - perplexities[0])
    assert summary["gate"] == {"passed": True, "reasons": [], "drop": 0.0, "max_drop": 0.01}
    assert summary["kept"] == "quantized"
    assert summary["training"] is summary["adapter"] is None
    assert 4 < size_of(summary, "quantized")[1] < 16
    assert size_of(summary, "bf16")[1] == 16
    assert not (found.work / "adapter").exists()
    assert not list(found.work.rglob("*-of-*"))


def test_the_adapter_is_merged_before(context, small_run, small_model):
    from pipeline.models import load_model

    found = context()
    summary = carried_out(found)
    champion = json.loads((small_run / "select" / "selection.json").read_text())["champion"]
    merged = load_model(small_model, "cpu", adapter=small_run / "select" / "adapter").model
    dense = load_model(found.partial / "dense", "cpu").model.state_dict()
    for name, weight in merged.state_dict().items():
        assert (weight == dense[name]).all()
    header = json.loads((found.work / "quantized" / "config.json").read_text())
    assert header["quantization_config"]["quant_method"] == "specdrive"
    assert summary["name"] == f"model-small-{champion}"
    assert "partial" not in (found.work / "quantized" / "config.json").read_text()


def test_the_adapter_can_stay_beside_the_quantized_base(context, small_run):
    found = context(base="separate")
    summary = carried_out(found)
    assert summary["name"] == "model"
    assert artefacts(found.work / "adapter", without="-") == artefacts(
        small_run / "select" / "adapter", without="-"
    )
    assert not (found.partial / "dense").exists()
    assert summary["compared"]["quantized"]["drift"]["per_token"] > 0


@pytest.mark.parametrize("base", ["merged", "separate"])
def test_recovery_trains_on_the_quantized_weights(context, base):
    found = context(base=base, recover_steps=2, recover="always", recover_rate=0.05)
    summary = carried_out(found)
    assert summary["training"]["steps"] == 2
    assert list(summary["models"]) == ["bf16", "quantized", "recovered"]
    drifts = [one["drift"]["per_token"] for one in summary["compared"].values()]
    assert drifts[0] != drifts[1]
    trained = json.loads((found.partial / "recovered/adapter/adapter_config.json").read_text())
    assert trained["base_model_name_or_path"] == summary["name"]
    tensors = load_file(found.partial / "recovered/adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    assert summary["size"]["adapter_bytes"] == 2 * numbers
    # Nothing was gained, so nothing more has to run beside the weights.
    assert summary["kept"] == "quantized"
    assert (found.work / "adapter").exists() is (base == "separate")


def test_recovery_waits_for_a_gate_that_stays_shut(context):
    summary = carried_out(context(recover_steps=2))
    assert list(summary["models"]) == ["bf16", "quantized"]


@pytest.fixture
def succeeds(monkeypatch):
    """Decide by name which model's answers are right: only those in the list."""
    from pipeline.evaluation import Judged
    from pipeline.quantized import measuring

    names: list[str] = []
    real = measuring.measure

    def measure(questions, model, name):
        found = real(questions, model, name)
        for row in found.rows:
            row.judged.__dict__["right"] = name in names
        return found

    monkeypatch.setattr(measuring, "measure", measure)
    right = property(lambda judged: judged.__dict__.get("right", False))
    monkeypatch.setattr(Judged, "strict_success", right)
    return names


def test_the_gate():
    before, after = SimpleNamespace(strict_success=0.9), SimpleNamespace(strict_success=0.88)
    assert quantize.gate(before, after, 0.02)["passed"]
    found = quantize.gate(before, after, 0.01)
    assert found["reasons"] == [
        "strict success went from 90.0 % to 88.0 %, a drop of more than 1 points"
    ]
    assert found["drop"] == pytest.approx(0.02)
    assert quantize.gate(after, before, 0.0)["passed"]


def test_a_gate_that_stays_shut_stops_nothing(context, succeeds):
    succeeds.append("bf16")
    found = context()
    summary = carried_out(found)
    assert not summary["gate"]["passed"]
    assert summary["gate"]["drop"] == 1.0
    assert summary["compared"]["quantized"]["strict_success"]["lost"] == 4
    assert (found.work / "quantized" / "model.safetensors").is_file()


def test_what_is_better_after_recovery_is_kept(context, succeeds):
    succeeds += ["bf16", "recovered"]
    found = context(recover_steps=1)
    summary = carried_out(found)
    assert summary["kept"] == "recovered"
    assert summary["gate"]["passed"]
    assert summary["compared"]["quantized"]["strict_success"]["lost"] == 4
    assert (found.work / "adapter" / "adapter_model.safetensors").is_file()
    assert summary["adapter"].startswith("sha256:")


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it."""


def test_killed_at_any_moment_it_ends_with_the_same_files(context, rounded):
    calm = context("calm", method="awq", calibration_rows=4, recover_steps=2, recover="always")
    quantize.run(calm)
    expected = artefacts(calm.work, without=PARTIAL)
    rounded.clear()
    survived = [0]

    def report(_what, _done, _total):
        survived[0] -= 1
        if survived[0] == 0:
            raise Killed

    struck = context("struck", report, method="awq", calibration_rows=4, recover_steps=2, recover="always")  # fmt: skip
    kills = 0
    for moment in range(1, 200):
        for path in struck.work.iterdir():
            if path.name != PARTIAL:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        survived[0] = moment
        try:
            quantize.run(struck)
            break
        except Killed:
            kills += 1
    assert artefacts(struck.work, without=PARTIAL) == expected
    assert kills >= 8
    assert len(rounded) == 1  # what was finished was not done again


def test_in_a_run(small_run, small_model, tmp_path, capsys):
    run = shutil.copytree(small_run, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.glob("*/*/manifest.json")}
    outcome = carry_out(config_of(small_model), run, resume=True)
    assert outcome.carried_out == 1
    assert [str(step.folder) for step in outcome.steps[-2:]] == ["select", "quantize"]
    assert {path: path.read_bytes() for path in run.glob("*/*/manifest.json")} == before
    manifest = json.loads((run / "quantize" / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"select", "model", "tasks"}
    assert "train" not in manifest["config"]
    assert "quantized/model.safetensors" in manifest["outputs"]
    assert carry_out(config_of(small_model), run, resume=True).carried_out == 0
    again = config_of(small_model, recover_steps=1)
    assert carry_out(again, run, resume=True).carried_out == 1
    manifest = json.loads((run / "quantize" / "manifest.json").read_text())
    assert {"round-01/generate", "round-02/generate"} <= set(manifest["inputs"])
    assert "train" in manifest["config"]
    assert "Quantized" in (run / "report" / "index.html").read_text()
    capsys.readouterr()
    assert specdrive(["runs", "show", str(run)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "bits per weight, 0.0 % → 0.0 % correct, gate passed" in shown


def test_the_command(small_run, tmp_path, capsys):
    run = shutil.copytree(small_run, tmp_path / "run")
    assert specdrive(["stage", "quantize", "--run", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the run has no stage 'quantize'; give it one: specdrive run" in line
    assert line.endswith("--resume --set quantize.enabled=true")
    text = (run / "config.yaml").read_text()
    assert "quantize:\n  enabled: false" in text
    import yaml

    config = yaml.safe_load(text) | {"quantize": SETTINGS}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert open_run(run).config.quantize.enabled
    assert specdrive(["stage", "quantize", "--run", str(run)]) == 0
    out = capsys.readouterr().out
    assert "bits per weight, 0.0 % → 0.0 % correct, gate passed" in out
    assert specdrive(["stage", "quantize", "--run", str(run)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert specdrive(["evaluate", str(run / "quantize" / "quantized"), "--split", "validation", "-n", "1", "--max-new-tokens", "4"]) == 0  # fmt: skip


def test_the_base_can_be_quantized_but_not_twice(small_model, tmp_path):
    select = tmp_path / "select"
    select.mkdir()
    (select / "selection.json").write_text(json.dumps({"champion": "round-00"}))
    work = tmp_path / "work"
    (work / PARTIAL).mkdir(parents=True)
    inputs = {"select": select}
    config = config_of(small_model)
    summary = carried_out(StageContext(config, 0, inputs, work, lambda *_: None))
    assert summary["name"] == "model"
    config = config_of(work / "quantized")
    again = StageContext(config, 0, inputs, tmp_path / "again", lambda *_: None)
    with pytest.raises(InputError, match=r"is quantized already; set quantize\.enabled=false"):
        quantize.run(again)


def test_no_tasks(context, small_model, tmp_path):
    bank = tmp_path / "bank.yaml"
    task = "{id: a, prompt: turn right, world: traffic_light, action: turn_right, split: train}"
    bank.write_text(f"tasks:\n  - {task}\n")
    found = context()
    config = small_config(small_model, quantize=SETTINGS, tasks={"bank": str(bank)})
    with pytest.raises(InputError, match=r"no tasks in validation; choose others with quantize\.s"):
        quantize.run(replace(found, config=config))


def test_comparisons_want_the_same_questions():
    rows = [SimpleNamespace(rows=(1, 2)), SimpleNamespace(rows=(1,))]
    with pytest.raises(ValueError, match="zip"):
        compare(SimpleNamespace(), *rows, ("a", "b"))  # type: ignore[arg-type]
