"""``specdrive simulate`` as a user meets it, in the random walk of the paper's world."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import bad_simulators as bad
import numpy as np
import pytest
from golden import AFTER, AFTER_TEXT, BEFORE
from PIL import Image

from pipeline.cli import run
from verifier.controller import controller_to_json
from worlds.simulation import campaign

WORLD = ["--world", "walk/paper_traffic_light", "--task-action", "turn_right", "-s", "paper"]
QUICK = [*WORLD, "-n", "40", "--workers", "1"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, with before.json, after.json and after.txt."""
    for name, controller in (("before", BEFORE), ("after", AFTER)):
        (tmp_path / f"{name}.json").write_text(json.dumps(controller_to_json(controller)))
    (tmp_path / "steps.txt").write_text(AFTER_TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text: str) -> dict[str, str]:
    """First word of a line -> the line."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


@pytest.mark.usefixtures("files")
def test_one_controller(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "before.json", *QUICK, "--rules", "paper"]) == 1
    out = capsys.readouterr().out
    assert "before  in walk/paper_traffic_light, to turn right: 40 episodes (seeds 0 to 39" in out
    lines = rows(out)
    assert "✗ violated" in lines["phi_5"]
    assert "agrees" in lines["phi_5"]
    assert "100.0 % [91.2, 100.0]" in lines["phi_3"]
    assert "0/40" in lines["phi_3"]
    assert "mean time to finish" in out


@pytest.mark.usefixtures("files")
def test_steps_are_read_as_verify_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "steps.txt", "after.json", *QUICK, "--json"]) == 0
    steps, controller, comparison = map(json.loads, capsys.readouterr().out.splitlines())
    assert steps["controller"]["hash"] == controller["controller"]["hash"]
    assert steps["rules"] == controller["rules"]
    assert comparison["comparison"] == ["steps", "after"]
    assert (comparison["both"], comparison["better"]) == (40, None)


@pytest.mark.usefixtures("files")
def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "before.json", *QUICK, "--json", "--traces"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["world"] == "walk/paper_traffic_light"
    assert (data["episodes"], data["seed"], data["lost"], data["repeated"]) == (40, 0, [], 0)
    assert data["semantics"]["name"] == "paper"
    assert {rule["book"] for rule in data["rules"]} == {"road", "paper"}
    phi_5 = next(rule for rule in data["rules"] if rule["id"] == "phi_5")
    assert (phi_5["formal"], phi_5["agreement"]) == ("violated", "agrees")
    assert phi_5["violated"] == 40 - phi_5["satisfied"] - phi_5["vacuous"] > 0
    assert phi_5["p"]["low"] < phi_5["p"]["value"] < phi_5["p"]["high"] < 1
    assert data["driving"]["finished"] == {
        "value": 1.0,
        "low": pytest.approx(0.912, abs=1e-3),
        "high": 1.0,
    }
    first = phi_5["first_violation"]
    decision = data["traces"][first["seed"]]["decisions"][first["decision"]]
    assert decision["action"] == "turn_right"
    assert "car_from_left" in decision["label"]


@pytest.mark.usefixtures("files")
def test_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    """Side by side, and drawn."""
    arguments = ["before.json", "after.json", *QUICK, "--rules", "paper", "--plot", "p/fig.png"]
    assert run(["simulate", *arguments]) == 1
    out = capsys.readouterr().out
    lines = rows(out)
    assert "✗" in lines["phi_5"]
    assert "✓" in lines["phi_5"]
    assert "+" in lines["phi_5"]
    assert "after is better, with at most 5% risk of error: after alone finished lawfully" in out
    assert max(map(len, out.splitlines())) <= 100
    picture = np.asarray(Image.open("p/fig.png").convert("RGB"))
    for colour in ((0xD9, 0x8A, 0x3D), (0x1F, 0x5F, 0xBF)):
        assert (picture == colour).all(axis=2).sum() > 1000


@pytest.mark.usefixtures("files")
def test_ranking_stops_early(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["before.json", "after.json", *WORLD, "-n", "500", "--workers", "1", "--rank"]
    assert run(["simulate", *arguments, "--json"]) == 1
    before, after, comparison = map(json.loads, capsys.readouterr().out.splitlines())
    assert comparison["better"] == "second"
    assert comparison["pairs"] == before["episodes"] == after["episodes"] < 100


def test_what_cannot_be_read_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "mumble.txt").write_text("1. Consult the oracle.\n")
    assert run(["simulate", "mumble.txt", "after.json", *QUICK]) == 1
    assert "mumble.txt: not understood: " in capsys.readouterr().out
    assert run(["simulate", "mumble.txt", *QUICK, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


@pytest.mark.usefixtures("files")
def test_lost_episodes_and_impossible_labels_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = campaign.Settings
    monkeypatch.setattr(campaign, "Settings", partial(settings, make=bad.Crashing, attempts=1))
    assert run(["simulate", "after.json", *WORLD, "-n", "4", "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "lost seed 2 after 1 attempts: the simulator's process died of signal 11" in out
    assert "after  in walk/paper_traffic_light, to turn right: 3 episodes (seeds 0 to 3" in out
    monkeypatch.setattr(campaign, "Settings", partial(settings, make=bad.Impossible))
    run(["simulate", "after.json", "-w", "walk/two_way_stop", "-n", "9", "--workers", "1"])
    assert "impossible label {" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("files")
def test_episodes_that_do_not_end_are_unfinished(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "after.json", *QUICK, "--max-seconds", "1", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["driving"]["unfinished"]["value"] == 1
    progress = next(rule for rule in data["rules"] if rule["id"] == "progress_turn_right")
    assert progress["agreement"] == "disagrees"
    assert {e["reason"] for e in progress["explanations"]} <= {"unfair", "cut_off"}


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--list"]) == 0
    lines = rows(capsys.readouterr().out)
    assert lines["scenario"].split()[1:4] == ["highway", "sumo", "walk"]
    assert lines["traffic_light"].split()[1:4] == ["✓", "✓", "✓"]
    assert lines["free"].split()[1:4] == ["–", "–", "✓"]
    assert run(["simulate", "--list", "--json"]) == 0
    listed = {row["scenario"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["universal"]["worlds"] == ["walk/universal"]


def test_check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["simulate", "--check", "walk/roundabout"]) == 0
    assert capsys.readouterr().out == "✓ walk/roundabout keeps its contract (3 seeds)\n"
    monkeypatch.setattr("worlds.simulation.registry.make_simulator", bad.Rolling)
    assert run(["simulate", "--check", "walk/roundabout"]) == 1
    assert "error: stop, seed 0: after 6 s the car still moves" in capsys.readouterr().out
    assert run(["simulate", "--check", "walk/roundabout", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["severity"] == "error"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["after.json", "-w", "moon/x"], "no simulated world 'moon/x'; name one as KIND/SCENARIO"),
        (["after.json", "-w", "walk/trafic_light"], "did you mean 'traffic_light'?"),
        (["after.json", "-w", "sumo/free"], "the world 'free' is not simulated; see: specdrive"),
        (["nobody.json", "-w", "walk/free"], "nobody.json"),
        (["after.json", *WORLD, "--rank"], "--rank compares two controllers, not 1"),
        (["after.json", "-w", "walk/free", "--task-action", "fly"], "unknown action 'fly'"),
        (["after.json"], "name a controller and --world"),
        (["--check", "walk/nowhere"], "no world named 'nowhere'"),
    ],
)
def test_bad_input(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert line in captured.err
    assert captured.err.count("\n") == 1
