"""``specdrive worlds check``: findings, all of them, and exit codes."""

import json
from pathlib import Path

import pytest

from pipeline.cli import run

WRONG = """
states: {a: [car_from_left], b: [], c: []}
transitions: {a: [a, b]}
initial: [a]
assumptions: [GF car_from_left, GF stop_sing]
"""


@pytest.fixture
def wrong(tmp_path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG, encoding="utf-8")
    return path


def test_a_sound_world(capsys):
    assert run(["worlds", "check", "roundabout", "traffic_light"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "roundabout: nothing to report",
        "traffic_light: nothing to report",
    ]


def test_every_finding_is_listed(wrong, capsys):
    assert run(["worlds", "check", str(wrong)]) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines() == [
        f"{wrong}: error: states b {{}}, c {{}}: deadlocks: no way out; "
        "allow a transition (to itself, if the world can stay as it is)",
        f"{wrong}: error: assumption 2: unknown proposition 'stop_sing'; did you mean 'stop_sign'?",
        f"{wrong}: warning: state c {{}}: cannot be reached from any initial state; "
        "remove it or add transitions",
    ]


def test_json(wrong, capsys):
    assert run(["worlds", "check", "roundabout", str(wrong), "--json"]) == 1
    sound, bad = json.loads(capsys.readouterr().out)
    assert sound == {"name": "roundabout", "findings": []}
    assert bad["name"] == str(wrong)
    assert [f["severity"] for f in bad["findings"]] == ["error", "error", "warning"]
    assert bad["findings"][1] == {
        "severity": "error",
        "problem": "unknown proposition 'stop_sing'",
        "place": "assumption 2",
        "remedy": "did you mean 'stop_sign'?",
    }


def test_warnings_and_notes_are_no_failure(tmp_path, capsys):
    path = tmp_path / "w.yaml"
    path.write_text("propositions: [stop_sign]\ninvariants: [stop_sign]\n", encoding="utf-8")
    assert run(["worlds", "check", str(path)]) == 0
    assert "note: propositions: 'stop_sign' holds in every state" in capsys.readouterr().out


def test_members_of_a_union_are_named(wrong, tmp_path, capsys):
    path = tmp_path / "u.yaml"
    path.write_text(f"union: [roundabout, {wrong.name}]\n", encoding="utf-8")
    assert run(["worlds", "check", str(path)]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}: error: wrong.yaml: states b {{}}, c {{}}: deadlocks")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of names to values, found an empty file"),
        ("propositions: [stop_sign]\ninvariants: [stop_sign ->]\n", "invariant 1: syntax error"),
    ],
)
def test_what_is_no_world_is_bad_input(tmp_path, capsys, text, message):
    path = tmp_path / "w.yaml"
    path.write_text(text, encoding="utf-8")
    assert run(["worlds", "check", "roundabout", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith(f"specdrive: {path}: {message}")


def test_other_commands_refuse_a_world_with_errors(wrong, tmp_path, capsys):
    steps = tmp_path / "steps.txt"
    steps.write_text("1. Turn right.\n", encoding="utf-8")
    assert run(["verify", str(steps), "--world", str(wrong)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"specdrive: {wrong}: states b {{}}, c {{}}: deadlocks: no way out; "
        "allow a transition (to itself, if the world can stay as it is)\n"
    )
