"""``specdrive film``."""

import json
from pathlib import Path

import pytest
from toy_junction import KINDS, SCENARIO

from pipeline.cli import run
from worlds.simulation import registry


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_KINDS", {**registry._KINDS, **KINDS})
    Path("toy.yaml").write_text(SCENARIO)
    Path("rash.txt").write_text("1. Stop.\n2. Turn right.\n")


def film(*arguments: str) -> int:
    return run(["film", "rash.txt", "--world", "toy/toy.yaml", *arguments])


def test_the_worst_of_several_episodes(capsys):
    assert film("-o", "worst.png", "-o", "worst.gif", "--worst", "-n", "12", "--speed", "5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("worst.png: toy/toy.yaml, seed ")
    assert lines[2].startswith("Collision with a car after")
    assert any("✗ after 1 s: Do not enter while a car comes from the left" in x for x in lines)
    assert Path("worst.png").read_bytes().startswith(b"\x89PNG")
    assert Path("worst.gif").read_bytes().startswith(b"GIF89a")


def test_json(capsys):
    assert film("-o", "one.png", "--seed", "3", "--goal", "turn_right", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["seed"], facts["files"]) == (3, ["one.png"])
    assert facts["hash"].startswith("sha256:")
    for row in facts["violations"]:
        assert row["seconds"] is None or row["seconds"] >= 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "film.avi"], "cannot tell what to make of 'film.avi'"),
        (["-o", "f.gif", "--goal", "fly"], "unknown action 'fly'"),
        (["-o", "f.gif", "--rules", "none"], "no rule book named 'none'"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert film(*arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_text_that_cannot_be_read(capsys):
    Path("rash.txt").write_text("1. Dance.\n")
    assert film("-o", "f.gif") == 2
    assert "rash.txt" in capsys.readouterr().err
