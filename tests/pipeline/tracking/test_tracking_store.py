"""What MLflow holds of a finished run."""

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.tracking import sync
from pipeline.tracking.connection import make_client
from pipeline.tracking.layout import finished

NAME = "specdrive-controller"


@pytest.fixture(scope="module")
def logged(small_run, new_store, tmp_path_factory):
    """A whole run, logged once for all tests of this file."""
    root = tmp_path_factory.mktemp("logged")
    folder = shutil.copytree(small_run, root / "runs" / "small")
    uri = new_store(root / "store")
    result = sync(folder, uri)
    client = make_client(uri)
    experiment = client.get_experiment_by_name("specdrive")
    runs = client.search_runs([experiment.experiment_id])
    return SimpleNamespace(
        folder=folder,
        uri=uri,
        result=result,
        client=client,
        experiment=experiment,
        parent=client.get_run(result.run_id),
        children={
            run.data.tags["specdrive.place"]: run
            for run in runs
            if run.info.run_id != result.run_id
        },
    )


def artefacts(client, run_id, path=None):
    found = []
    for item in client.list_artifacts(run_id, path):
        found += artefacts(client, run_id, item.path) if item.is_dir else [item.path]
    return found


def read(logged, run, path):
    return Path(logged.client.download_artifacts(run.info.run_id, path))


def history(client, run, key):
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]


def summary(logged, round_folder):
    return json.loads((logged.folder / round_folder / "evaluate/summary.json").read_text())


def test_one_child_per_stage_and_round_below_one_parent(logged):
    assert logged.parent.info.run_name == "reproduce"
    assert logged.parent.info.status == "FINISHED"
    assert sorted(logged.children) == sorted(place.path for place in finished(logged.folder))
    for run in logged.children.values():
        assert run.data.tags["mlflow.parentRunId"] == logged.parent.info.run_id
        assert run.info.status == "FINISHED"
    train = logged.children["round-01/train"]
    assert (train.info.run_name, train.data.tags["stage"], train.data.tags["round"]) == (
        "round-01 train",
        "train",
        "1",
    )
    assert logged.children["variants/no_repair/train"].data.tags["variant"] == "no_repair"


def test_configuration_as_parameters(logged):
    assert logged.parent.data.params["train.beta"] == "0.1"
    assert logged.parent.data.params["evaluate.seeds"] == "[0, 1]"


def test_scores_round_by_round_on_the_parent(logged):
    expected = [
        (number, summary(logged, f"round-0{number}")["splits"]["test"]["strict_success"]["value"])
        for number in (0, 1)
    ]
    assert history(logged.client, logged.parent, "strict_success") == expected
    assert history(logged.client, logged.parent, "test/strict_success") == expected
    assert expected[0] != expected[1]


def test_per_specification_metrics(logged):
    counts = summary(logged, "round-01")["splits"]["test"]["rules"]["paper"]["phi_5"]
    applicable = sum(n for verdict, n in counts.items() if verdict != "inapplicable")
    child = logged.children["round-01/evaluate"]
    for verdict in ("satisfied", "violated", "vacuous"):
        key = f"spec/phi_5/{verdict}"
        assert history(logged.client, child, key) == [(1, counts.get(verdict, 0) / applicable)]
    assert [step for step, _ in history(logged.client, logged.parent, "spec/phi_5/satisfied")] == [
        0,
        1,
    ]


def test_intervals_stay_out_of_the_parent(logged):
    key = "interval/test/strict_success_low"
    low = summary(logged, "round-01")["splits"]["test"]["strict_success"]["low"]
    assert history(logged.client, logged.children["round-01/evaluate"], key) == [(1, low)]
    assert key not in logged.parent.data.metrics


def test_training_curves_have_a_step_per_update(logged):
    rows = [
        json.loads(line)
        for line in (logged.folder / "round-01/train/curves.jsonl").read_text().splitlines()
    ]
    found = history(logged.client, logged.children["round-01/train"], "training/loss")
    assert found == [(row["step"], pytest.approx(row["loss"])) for row in rows]
    assert len(found) > 10


def test_variants_do_not_touch_the_curves_of_the_rounds(logged):
    steps = Counter(step for step, _ in history(logged.client, logged.parent, "seconds/train"))
    assert steps == {1: 1}


def test_datasets(logged):
    def inputs(run):
        return {
            (i.dataset.name, next(t.value for t in i.tags if t.key == "mlflow.data.context"))
            for i in run.inputs.dataset_inputs
        }

    train = logged.children["round-01/train"]
    assert inputs(train) == {("pairs of round-01 rank", "training")}
    dataset = train.inputs.dataset_inputs[0].dataset
    pairs = (logged.folder / "round-01/rank/pairs.jsonl").read_text().splitlines()
    assert json.loads(dataset.profile) == {"num_rows": len(pairs)}
    assert ("pairs of round-01 rank", "training") in inputs(logged.parent)
    assert ("answers of round-00 evaluate", "evaluation") in inputs(logged.parent)


def test_verdicts_as_a_table(logged):
    verify = logged.children["round-01/verify"]
    table = json.loads(read(logged, verify, "tables/verdicts.json").read_text())
    answers = (logged.folder / "round-01/generate/answers.jsonl").read_text().splitlines()
    assert len(table["data"]) == len(answers)
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert first["answer"] == json.loads(answers[0])["text"]
    assert isinstance(first["strict success"], bool)
    # The viewer shows those artefacts as tables that this tag names.
    shown = json.loads(verify.data.tags["mlflow.loggedArtifacts"])
    assert {"path": "tables/verdicts.json", "type": "table"} in shown


def test_specifications_as_a_table_with_held_out_answers_first(logged):
    child = logged.children["round-01/evaluate"]
    table = json.loads(read(logged, child, "tables/specifications.json").read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert rows[0]["answers to"] == "test"
    (phi_5,) = (r for r in rows if r["rule"] == "phi_5" and r["answers to"] == "test")
    counts = summary(logged, "round-01")["splits"]["test"]["rules"]["paper"]["phi_5"]
    assert phi_5["violated"] == counts.get("violated", 0)
    assert phi_5["says"]


def test_counterexamples_with_pictures(logged):
    base = logged.children["round-00/evaluate"]
    table = json.loads(read(logged, base, "tables/counterexamples.json").read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert rows
    for row in rows:
        assert row["what happens"]
        assert row["film"]["type"] == "image"
        assert read(logged, base, row["film"]["filepath"]).read_bytes().startswith(b"\x89PNG")
    assert "pictures/worst_1.png" in artefacts(logged.client, base.info.run_id)


def test_the_run_holds_its_configuration_and_report(logged):
    found = artefacts(logged.client, logged.parent.info.run_id)
    assert {"config.yaml", "run.json", "report/index.html"} <= set(found)
    assert "pictures/round-00_worst_counterexample.png" in found
    assert "pictures/round-01_best_controller.png" in found
    note = logged.parent.data.tags["mlflow.note.content"]
    assert "| round 1 |" in note
    assert "Gate **passed**" in note


def test_artefacts_lie_beside_the_database(logged):
    place = Path(logged.uri.removeprefix("sqlite:///")).parent / "mlruns" / "specdrive"
    assert logged.experiment.artifact_location == place.as_uri()
    assert (place / logged.parent.info.run_id / "artifacts" / "config.yaml").is_file()


def test_adapter_is_a_logged_and_a_registered_model(logged, tiny_adapter):
    version = logged.client.get_model_version_by_alias(NAME, "champion")
    assert version.tags["selected"] == "round-01"
    assert version.tags["gate"] == "passed"
    assert version.run_id == logged.children["round-01/train"].info.run_id
    (model,) = logged.client.search_logged_models(
        [logged.experiment.experiment_id], f"source_run_id = '{version.run_id}'"
    )
    assert version.source == model.artifact_location
    assert model.name == "adapter-round-01"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": 1}]
    scores = {metric.key: metric.value for metric in model.metrics}
    assert scores["test/strict_success"] == logged.parent.data.metrics["strict_success"]
    outputs = logged.client.get_run(version.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]
    files = {file.name for file in Path(model.artifact_location.removeprefix("file://")).iterdir()}
    assert files == {"MLmodel"} | {file.name for file in tiny_adapter.iterdir()}
    assert len(logged.client.search_model_versions(f"name = '{NAME}'")) == 1


def test_champion_is_loaded_and_answers(logged, tiny, tiny_adapter, monkeypatch):
    import mlflow

    from pipeline.generation import Sampling, generate
    from pipeline.models import load_model
    from pipeline.prompts import Scene, load_template, render
    from pipeline.tasks import allowed_actions
    from verifier.vocabulary import load_vocabulary
    from worlds.load import load_world

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # set by set_tracking_uri
    mlflow.set_tracking_uri(logged.uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    finally:
        mlflow.set_tracking_uri(None)
    row = {"prompt": "turn right at the light", "world": "paper_traffic_light"}
    words = load_vocabulary("driving")
    scene = Scene(
        row["prompt"],
        None,
        load_world(row["world"], words).propositions,
        allowed_actions(row["world"], words),
    )
    prompt = render(load_template("observed"), task="0", scene=scene, vocabulary=words)
    with_adapter = load_model(tiny.folder, device="cpu", adapter=tiny_adapter)
    few = {"max_new_tokens": 8}
    expected = generate(with_adapter, [prompt], 1, Sampling(temperature=0.0, **few))
    assert model.predict([row], params=few) == [answer.text for answer in expected]
