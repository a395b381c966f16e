"""The quantized champion in MLflow: numbers, the logged checkpoint, its version and its alias."""

import json
import shutil
from pathlib import Path

import pytest
from fake_quantized import add_quantized

from pipeline.tracking import sync
from pipeline.tracking.connection import make_client
from pipeline.tracking.description import describe
from pipeline.tracking.flavour import _load_pyfunc
from pipeline.tracking.layout import finished, open_run
from pipeline.tracking.ledger import LEDGER_FILE
from pipeline.tracking.projection import project

NAME = "specdrive-controller"
PLACES = ("round-01/train", "select", "quantize")


def keep_only(run, *places):
    for manifest in list(run.rglob("manifest.json")):
        if manifest.parent.relative_to(run).as_posix() not in places:
            shutil.rmtree(manifest.parent)


def holder(store, alias):
    from mlflow.exceptions import MlflowException

    try:
        return make_client(store).get_model_version_by_alias(NAME, alias).tags["run"]
    except MlflowException:
        return None


def logged(run, store, name=None, *, gate=None, **how):
    """Log a run, or a copy of it under another name; its folder."""
    folder = run if name is None else shutil.copytree(run, run.parent / name)
    if name is not None:
        (folder / LEDGER_FILE).unlink(missing_ok=True)
        head = json.loads((folder / "run.json").read_text())
        head |= {"name": name, "created": f"2026-11-26T00:00:00+00:00 {name}"}
        (folder / "run.json").write_text(json.dumps(head))
        shutil.rmtree(folder / "quantize")
    add_quantized(folder, **how)
    if gate is not None:
        selection = json.loads((folder / "select/selection.json").read_text())
        selection["gate"] = {"passed": gate, "reasons": []}
        (folder / "select/selection.json").write_text(json.dumps(selection))
    keep_only(folder, *PLACES)
    result = sync(folder, store)
    assert result.failed == {}
    return folder


@pytest.fixture
def full(run):
    """The answers are copied from the champion's evaluation, which `keep_only` removes."""
    evaluation = run / "round-01/evaluate"
    kept = run.parent / "answers.jsonl"
    shutil.copy(evaluation / "answers.jsonl", kept)

    def restore():
        evaluation.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, evaluation / "answers.jsonl")

    return restore


def test_numbers_before_and_after(run):
    add_quantized(run, after=36)
    place = next(place for place in finished(run) if place.stage == "quantize")
    content = project(open_run(run), place)
    values = {point.key: point.value for point in content.metrics}
    assert values["bf16/strict_success"] == 0.95
    assert values["quantized/strict_success"] == 0.9
    assert values["quantized_test/strict_success"] == 0.9
    assert values["quantized/perplexity"] == 20.9
    assert values["quantized/change_of_strict_success"] == pytest.approx(-0.05)
    assert values["interval/quantized/change_of_strict_success_low"] < -0.05
    assert values["quantized/bits_per_weight"] == 4.64
    assert values["quantized/drift_per_token"] == 0.0123
    shown = {point.key for point in content.parent_metrics}
    assert {"bf16/strict_success", "quantized/perplexity", "seconds/quantize"} <= shown
    assert not [key for key in shown if key.startswith("interval/")]
    assert content.parent_tags["quantized_gate"] == "failed"
    table = content.tables["tables/models.json"]
    assert [row[table.columns.index("bits per weight")] for row in table.rows] == [16.0, 4.64]


def test_description(run):
    add_quantized(run)
    text = describe(finished(run))
    assert "Quantized (awq, 4.64 bits per weight): strict success 95.0 % [" in text


def test_the_checkpoint_is_a_model_and_a_version(run, store):
    logged(run, store, separate=True)
    client = make_client(store)
    version = client.get_model_version_by_alias(NAME, "champion-int4")
    tags = version.tags
    assert (tags["quantized"], tags["method"], tags["bits"]) == ("true", "awq", "4")
    assert tags["alias_reason"] == "the gate was passed"
    assert holder(store, "champion") == "reproduce"  # the adapter's version keeps its own
    experiment = client.get_experiment_by_name("specdrive").experiment_id
    (model,) = [m for m in client.search_logged_models([experiment]) if m.model_type == "quantized"]
    assert (model.source_run_id, model.artifact_location) == (version.run_id, version.source)
    place = Path(model.artifact_location.removeprefix("file://"))
    held = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert held == {
        "MLmodel",
        "config.json",
        "model.safetensors",
        "adapter/adapter_model.safetensors",
    }
    writer = _load_pyfunc(str(place))
    assert (writer.base_model, writer.adapter) == (str(place), place / "adapter")
    parent = client.get_run(sync(run, store).run_id)
    assert parent.data.tags["quantized_version"] == str(version.version)
    assert parent.info.status == "FINISHED"


def test_the_alias_moves_only_through_both_gates_and_never_down(run, store, full):
    logged(run, store)
    assert (holder(store, "champion-int4"), holder(store, "challenger-int4")) == ("reproduce", None)
    full()
    logged(run, store, "failing", after=33)
    version = make_client(store).get_model_version_by_alias(NAME, "challenger-int4")
    assert version.tags["run"] == "failing"
    assert version.tags["alias_reason"].startswith("strict success went from 95.0 % to 82.5 %")
    full()
    logged(run, store, "unproven", gate=False, after=40)
    assert holder(store, "challenger-int4") == "unproven"
    full()
    logged(run, store, "better", after=39)
    assert holder(store, "champion-int4") == "better"
    full()
    logged(run, store, "worse", after=38)
    assert (holder(store, "champion-int4"), holder(store, "challenger-int4")) == ("better", "worse")
    (run / LEDGER_FILE).unlink()
    sync(run, store)
    assert holder(store, "champion-int4") == "better"
    assert len(make_client(store).search_model_versions(f"name = '{NAME}'")) == 10


def test_a_run_that_is_to_be_quantized_is_not_over_before(run, store):
    stage = add_quantized(run)
    keep_only(run, "round-01/train", "select")
    assert not stage.exists()
    first = sync(run, store)
    assert make_client(store).get_run(first.run_id).info.status == "KILLED"
