"""Catching up: exactly once, whatever happens in between; a store that is away disturbs nothing."""

import fcntl
import json
import shutil
import socket
import time
from collections import Counter

import pytest

from pipeline.cli import run as specdrive
from pipeline.tracking import Tracker, connection, sync
from pipeline.tracking.connection import make_client
from pipeline.tracking.ledger import LEDGER_FILE
from pipeline.tracking.store import Store
from verifier.errors import InputError

NAME = "specdrive-controller"
STAGES = 9
WRITES = ("create_", "log_", "set_", "delete_", "update_", "finalize_")


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it."""


def snapshot(uri):
    """All that a store holds, without MLflow's random ids."""
    client = make_client(uri)
    experiment = client.get_experiment_by_name("specdrive").experiment_id
    runs = client.search_runs([experiment])
    models = client.search_logged_models([experiment])
    places = {run.info.run_id: run.data.tags["specdrive.place"] for run in runs}
    held = {
        run.data.tags["specdrive.place"]: {
            "status": run.info.status,
            "start": run.info.start_time,
            "below": places.get(run.data.tags.get("mlflow.parentRunId")),
            "params": run.data.params,
            "metrics": {
                key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
            "datasets": sorted(i.dataset.name for i in run.inputs.dataset_inputs),
            "files": sorted(artefacts(client, run.info.run_id)),
            "note": run.data.tags.get("mlflow.note.content"),
        }
        for run in runs
    }
    assert len(held) == len(runs), "two runs for one place"
    versions = client.search_model_versions(f"name = '{NAME}'")
    return {
        "runs": held,
        "models": sorted((model.name, places[model.source_run_id]) for model in models),
        "versions": [(v.version, places[v.run_id], v.tags["alias_given"]) for v in versions],
    }


def artefacts(client, run_id, path=None):
    found = []
    for item in client.list_artifacts(run_id, path):
        found += artefacts(client, run_id, item.path) if item.is_dir else [item.path]
    return found


def alias(uri, name="champion"):
    from mlflow.exceptions import MlflowException

    try:
        return make_client(uri).get_model_version_by_alias(NAME, name).tags["run"]
    except MlflowException:
        return None


def rewrite(file, **changes):
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | changes))


def keep_only(run, *places):
    """A run with few stages, for tests that log it often."""
    for manifest in list(run.rglob("manifest.json")):
        if manifest.parent.relative_to(run).as_posix() not in places:
            shutil.rmtree(manifest.parent)


def another(run, store, name, *, created="2026-11-26T00:00:00+00:00", passed=True, score=None):
    """Log another run of the same stages, whose selection says something else."""
    folder = shutil.copytree(run, run.parent / name)
    (folder / LEDGER_FILE).unlink(missing_ok=True)
    rewrite(folder / "run.json", name=name, created=created)
    selection = json.loads((folder / "select/selection.json").read_text())
    selection["gate"] = {"passed": passed, "reasons": [] if passed else ["phi_5 regressed"]}
    for one in selection["candidates"]:
        if score is not None and one["name"] == selection["champion"]:
            one["strict_success"] = {"value": score, "low": score, "high": score}
    (folder / "select/selection.json").write_text(json.dumps(selection))
    sync(folder, store)
    return folder


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# -- exactly once ------------------------------------------------------------------------------


def test_a_second_sync_adds_nothing(run, store):
    first = sync(run, store)
    assert (len(first.logged), first.already, first.failed) == (STAGES + 1, (), {})
    before = snapshot(store)
    again = sync(run, store)
    assert (again.logged, len(again.already)) == ((), STAGES + 1)
    (run / LEDGER_FILE).unlink()
    without_ledger = sync(run, store)
    assert (without_ledger.logged, without_ledger.run_id) == ((), first.run_id)
    (run / LEDGER_FILE).write_text("{ damaged")
    assert sync(run, store).logged == ()
    assert snapshot(store) == before


def test_killed_anywhere_the_next_sync_completes_it_once(run, new_store, tmp_path, monkeypatch):
    keep_only(run, "round-01/rank", "round-01/train", "select")
    undisturbed = new_store(tmp_path / "undisturbed")
    sync(run, undisturbed)
    expected = snapshot(undisturbed)
    left = [0]
    connect = Store.__init__

    def fragile(self, uri, experiment):
        connect(self, uri, experiment)
        for name in dir(type(self.client)):
            if name.startswith(WRITES):
                monkeypatch.setattr(self.client, name, counted(getattr(self.client, name)))

    def counted(method):
        def call(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return method(*args, **kwargs)

        return call

    monkeypatch.setattr(Store, "__init__", fragile)
    moment = kills = 0
    while True:
        (run / LEDGER_FILE).unlink()
        uri = new_store(tmp_path / f"killed-{moment}")
        left[0] = moment
        try:
            sync(run, uri)
            break
        except Killed:
            kills += 1
        if not (run / LEDGER_FILE).exists():
            (run / LEDGER_FILE).write_text("")
        left[0] = -1
        sync(run, uri)
        assert snapshot(uri) == expected, f"killed before write {moment}"
        moment += 3
    assert kills > 8


def test_a_stage_done_again_replaces_what_was_logged(run, store):
    keep_only(run, "round-01/rank", "round-01/train")
    sync(run, store)
    before = snapshot(store)
    rewrite(run / "round-01/train/manifest.json", config_hash="sha256:" + "ee" * 32)
    assert sync(run, store).logged == ("round-01/train",)
    assert snapshot(store) == before


def test_a_registered_adapter_outlives_the_training_that_replaces_it(run, store):
    keep_only(run, "round-01/train", "select")
    sync(run, store)
    client = make_client(store)
    trained = client.get_model_version_by_alias(NAME, "champion").run_id
    rewrite(run / "round-01/train/manifest.json", config_hash="sha256:" + "ee" * 32)
    rewrite(run / "select/manifest.json", config_hash="sha256:" + "ee" * 32)
    sync(run, store)
    experiment = client.get_experiment_by_name("specdrive").experiment_id
    models = client.search_logged_models([experiment])
    assert len(models) == 2
    assert trained in {model.source_run_id for model in models}
    assert [v.tags["alias_given"] for v in client.search_model_versions(f"name = '{NAME}'")] == [
        "champion"
    ] * 2


def test_a_damaged_stage_is_named_and_the_others_are_logged(run, store):
    (run / "round-01/rank/pairs.jsonl").write_text("{\n")
    result = sync(run, store)
    assert list(result.failed) >= ["round-01/rank"]
    assert "pairs.jsonl" in result.failed["round-01/rank"]
    assert "round-01/evaluate" in result.logged


# -- the alias ---------------------------------------------------------------------------------


def test_champion_moves_only_through_the_gate(run, store):
    keep_only(run, "round-01/train", "select")
    sync(run, store)
    assert (alias(store), alias(store, "challenger")) == ("reproduce", None)
    another(run, store, "failing", passed=False, score=1.0)
    assert (alias(store), alias(store, "challenger")) == ("reproduce", "failing")
    version = make_client(store).get_model_version_by_alias(NAME, "challenger")
    assert version.tags["alias_reason"] == "phi_5 regressed"
    another(run, store, "better", score=1.0)
    assert alias(store) == "better"
    another(run, store, "worse", score=0.5)
    assert (alias(store), alias(store, "challenger")) == ("better", "worse")


def test_a_later_sync_does_not_take_the_alias_back(run, store):
    keep_only(run, "round-01/train", "select")
    sync(run, store)
    another(run, store, "better", score=1.0)
    (run / LEDGER_FILE).unlink()
    sync(run, store)
    assert alias(store) == "better"


def test_without_a_trained_champion_nothing_is_registered(run, store):
    keep_only(run, "round-01/train", "select")
    rewrite(run / "select/selection.json", champion="round-00")
    sync(run, store)
    assert snapshot(store)["versions"] == []


# -- stores that are away ----------------------------------------------------------------------


def test_server_down_the_run_goes_on_and_syncs_later(run, store, free_port):
    lines: list[str] = []
    tracker = Tracker(lines.append)
    began = time.monotonic()
    section = type(
        "Section", (), {"enabled": True, "uri": f"http://me:secret@127.0.0.1:{free_port}"}
    )
    tracker.start(run, type("Config", (), {"tracking": section}))
    for stage in ("generate", "verify", "train"):
        tracker.stage_done(1, stage, run / "round-01" / stage)
    tracker.finish()
    assert time.monotonic() - began < 5
    (line,) = lines
    assert "\n" not in line
    assert f"http://127.0.0.1:{free_port} cannot be used (connection refused)" in line
    assert f"specdrive runs sync {run}" in line
    assert "secret" not in line
    assert not (run / LEDGER_FILE).exists()
    assert len(sync(run, store).logged) == STAGES + 1


def test_a_server_that_never_answers_is_not_waited_for(run, monkeypatch):
    monkeypatch.setattr(connection, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match="no answer in time"):
            sync(run, uri)
        assert time.monotonic() - began < 5


def test_a_store_that_comes_back_gets_everything_with_the_next_stage(
    run, new_store, tmp_path, monkeypatch
):
    keep_only(run, "round-01/rank", "round-01/train")
    lines: list[str] = []
    tracker = Tracker(lines.append)
    uri = f"sqlite:///{tmp_path / 'away' / 'mlflow.db'}"
    section = type("Section", (), {"enabled": True, "uri": uri})
    tracker.start(run, type("Config", (), {"tracking": section}))
    assert len(lines) == 1
    new_store(tmp_path / "away")
    tracker.stage_done(1, "rank", run / "round-01/rank")
    assert not (run / LEDGER_FILE).exists()  # it failed a moment ago and is left in peace
    monkeypatch.setattr("pipeline.tracking.tracker._PAUSE", 0.0)
    tracker.stage_done(1, "train", run / "round-01/train")
    held = snapshot(uri)["runs"]
    assert Counter(run["status"] for run in held.values()) == {"FINISHED": 2, "RUNNING": 1}
    tracker.finish(failed=True)
    assert snapshot(uri)["runs"]["pipeline"]["status"] == "FAILED"
    sync(run, uri)
    assert snapshot(uri)["runs"]["pipeline"]["status"] == "FAILED"
    assert len(lines) == 1


def test_disabled_tracking_touches_nothing(run, store):
    tracker = Tracker(pytest.fail)
    section = type("Section", (), {"enabled": False, "uri": store})
    tracker.start(run, type("Config", (), {"tracking": section}))
    tracker.stage_done(1, "train", run / "round-01/train")
    tracker.finish()
    assert not (run / LEDGER_FILE).exists()


# -- the command -------------------------------------------------------------------------------


def test_a_run_in_progress_is_left_to_itself(run, store):
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="in progress"):
            sync(run, store)


def test_not_a_run(tmp_path, store):
    with pytest.raises(InputError, match="not the folder of a run"):
        sync(tmp_path, store)


def test_the_default_is_a_database_where_one_works(run, new_store, tmp_path, monkeypatch):
    keep_only(run, "round-01/train")
    new_store(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    result = sync(run)
    assert result.store == f"sqlite:///{tmp_path / 'here' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "there"))
    assert sync(run).store == f"sqlite:///{tmp_path / 'there' / 'mlflow.db'}"


def test_several_stores_each_have_their_own_place_in_the_ledger(run, new_store, tmp_path):
    keep_only(run, "round-01/train")
    one, two = (new_store(tmp_path / name) for name in ("one", "two"))
    assert sync(run, one).logged == sync(run, two).logged == ("round-01/train",)
    assert sync(run, one).logged == ()
    assert set(json.loads((run / LEDGER_FILE).read_text())["stores"]) == {one, two}


def test_command_says_what_went_wrong(run, free_port, capsys):
    uri = f"http://127.0.0.1:{free_port}"
    assert specdrive(["runs", "sync", str(run), "--tracking-uri", uri]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{uri}: cannot be used (connection refused)" in line
