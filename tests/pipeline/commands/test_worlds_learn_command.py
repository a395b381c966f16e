"""``specdrive worlds record``, ``learn`` and ``conform``."""

import json
from pathlib import Path

import pytest
from toy_junction import GREEN, KINDS, LEFT, SCENARIO

from pipeline.cli import run
from worlds.simulation import crew, registry
from worlds.simulation.crew import Driven, Lost

CONTROLLER = f"""
{{"initial": 0, "final": 2, "steps": ["Wait until no car came from the left.", "Turn right."],
 "transitions": [
  {{"from": 0, "guard": "!{LEFT}", "action": "stop", "to": 1, "step": 1}},
  {{"from": 0, "guard": "{LEFT}", "action": "stop", "to": 0, "step": 1}},
  {{"from": 1, "guard": "{GREEN}", "action": "turn_right", "to": 2, "step": 2}},
  {{"from": 1, "guard": "!{GREEN} & !{LEFT}", "action": "stop", "to": 1, "step": 2}},
  {{"from": 1, "guard": "!{GREEN} & {LEFT}", "action": "stop", "to": 0, "step": 2}}]}}
"""


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch) -> None:
    """A folder with the toy's scenario, and the toy among the kinds of simulators."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_KINDS", {**registry._KINDS, **KINDS})
    Path("toy.yaml").write_text(SCENARIO)
    Path("turn.json").write_text(CONTROLLER)


def record(kind: str, file: str, *more: str) -> None:
    arguments = ["worlds", "record", f"{kind}/toy.yaml", "-o", file, "-n", "20", "--steps", "80"]
    assert run([*arguments, "--workers", "0", *more]) == 0


def test_record_says_what_was_recorded(capsys):
    record("toy", "r.jsonl")
    assert capsys.readouterr().out == "r.jsonl: 20 episodes, 1,600 steps, 4 distinct labels\n"
    rows = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == list(range(20))
    assert {row["world"] for row in rows} == {"toy/toy.yaml"}


def test_explorers_leave(capsys):
    record("toy", "r.jsonl", "--driver", "explore", "--json", "--seed", "7")
    facts = json.loads(capsys.readouterr().out)
    assert facts["steps"] < 1600
    assert (facts["episodes"], facts["driver"]) == (20, "explore")


def test_processes_record_the_same():
    """Spawned processes know only the kinds that ship."""
    for workers in ("0", "2"):
        arguments = ["worlds", "record", "walk/pedestrian_crossing", "-n", "6", "--steps", "9"]
        assert run([*arguments, "--workers", workers, "-o", f"{workers}.jsonl"]) == 0
    assert Path("0.jsonl").read_bytes() == Path("2.jsonl").read_bytes()


def test_lost_episodes_are_told(capsys, monkeypatch):

    drive = crew.Crew.drive

    def losing(self, jobs, progress=None):
        driven = drive(self, jobs, progress)
        return [Driven(Lost(jobs[0].seed, 3, "the simulator hung"), 3), *driven[1:]]

    monkeypatch.setattr(crew.Crew, "drive", losing)
    record("toy", "r.jsonl")
    assert capsys.readouterr().out.splitlines() == [
        "r.jsonl: 19 episodes, 1,520 steps, 4 distinct labels",
        "lost: seed 0, tried 3 times: the simulator hung",
    ]


def test_learn_writes_a_world_that_verify_takes(capsys):
    record("toy", "r.jsonl")
    assert run(["worlds", "learn", "r.jsonl", "-o", "learned.yaml", "--initial", "all"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "recorded 1,600 steps in 20 episodes" in out
    assert f"✓ assumes GF({GREEN} & !{LEFT})" in out
    assert "wrote learned.yaml" in out
    assert run(["worlds", "check", "learned.yaml"]) == 0
    capsys.readouterr()
    code = run(["verify", "turn.json", "-w", "learned.yaml", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["world"] == "learned"
    assert (code, report["score"]["violated"]) == (0, 0)


def test_learn_json_has_everything(capsys):
    record("toy", "r.jsonl")
    capsys.readouterr()
    assert run(["worlds", "learn", "r.jsonl", "--json", "--history", "2", "--name", "n"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["file"]) == ("n", None)
    assert facts["coverage"]["steps"] == 1600
    assert facts["coverage"]["history"] == 2
    assert facts["assumptions"][0]["taken"]
    assert len(facts["coverage"]["per_state"]) == facts["coverage"]["states"]


def test_assumptions_of_the_written_world_or_none(capsys):
    record("toy", "r.jsonl", "--steps", "12")
    capsys.readouterr()
    for source, taken in (("data", [False]), ("written", [True]), ("none", [])):
        assert run(["worlds", "learn", "r.jsonl", "--json", "--assume", source]) == 0
        facts = json.loads(capsys.readouterr().out)
        # No episode is long enough for the data to speak.
        assert [row["taken"] for row in facts["assumptions"]] == taken


def test_compare_explains_what_the_written_world_excludes(capsys):
    record("late", "late.jsonl")
    arguments = ["worlds", "learn", "late.jsonl", "--name", "late", "--initial", "all"]
    assert run([*arguments, "--compare", "turn.json", "--goal", "turn_right"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    row = out[out.index("yield_to_left") :]
    assert row.startswith("yield_to_left ✓ satisfied ✗ violated")
    assert "has no such step" in row
    assert "applicable rules are judged alike" in out


def test_conform(capsys):
    record("toy", "r.jsonl")
    assert run(["worlds", "conform", "r.jsonl"]) == 0
    assert "20 of 20 episodes are possible" in " ".join(capsys.readouterr().out.split())
    record("late", "late.jsonl")
    capsys.readouterr()
    assert run(["worlds", "conform", "late.jsonl"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "✗ a step that is not possible" in out
    assert f"step 1: X({GREEN} & {LEFT}) -> {LEFT}" in out
    assert run(["worlds", "conform", "late.jsonl", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["exclusions"][0]["kind"] == "step"


def test_the_learning_curve_is_drawn():
    record("toy", "r.jsonl")
    assert run(["worlds", "learn", "r.jsonl", "--plot", "curve.png"]) == 0
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["record", "nowhere/toy", "-o", "x"], "no simulated world 'nowhere/toy'"),
        (["learn", "missing.jsonl"], "missing.jsonl: no such file"),
        (["learn", "toy.yaml"], "toy.yaml: line 2: not JSON"),
        (["conform", "r.jsonl", "--scenario", "nowhere"], "no world named 'nowhere'"),
        (["conform", "r.jsonl", "--scenario", "traffic_light"], "do not say whether"),
        (["learn", "r.jsonl", "--compare", "toy.yaml"], "cannot tell what a .yaml is"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    record("toy", "r.jsonl")
    capsys.readouterr()
    assert run(["worlds", *arguments]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
