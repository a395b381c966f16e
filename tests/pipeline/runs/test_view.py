"""What a run shows while it goes on: on terminals of several sizes, and in a log."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fakes import World
from rich.console import Console

from pipeline.cli import run as command
from pipeline.config import RunConfig
from pipeline.runs import view
from pipeline.runs.facts import duration, fact
from pipeline.runs.folder import open_run
from pipeline.runs.plan import plan, shipped_stages
from pipeline.runs.view import LiveView, PlainView
from pipeline.stages.context import StageContext

ABLATED = RunConfig.model_validate(
    {"rounds": 2, "variants": [{"name": "no_sft", "set": {"train.sft_weight": 0}}]}
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "run")


def drawn(live: LiveView, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    with console.capture() as capture:
        console.print(live)
    plain = Console(file=io.StringIO(), width=width, height=height, no_color=True)
    with plain.capture() as lines:
        plain.print(live)
    assert capture.get()
    return [line.rstrip() for line in lines.get().splitlines() if line.strip()]


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 12), (30, 8)])
def test_every_moment_fits_the_terminal(world, width, height):
    steps = world.steps(ABLATED)
    live = LiveView("name", steps)
    frames: list[list[str]] = [drawn(live, width, height)]

    def work(_context: StageContext) -> None:
        frames.append(drawn(live, width, height))
        step = steps[(len(frames) - 2) // 4]
        for done in range(3):
            live.progress(step, "working", done, 2)
            frames.append(drawn(live, width, height))

    world.acts = dict.fromkeys(world.stages(), work)
    world.engine(ABLATED, live).execute(steps)
    frames.append(drawn(live, width, height))
    assert len(frames) == 2 + 4 * len(steps)
    assert max(len(frame) for frame in frames) <= height
    assert max(len(line) for frame in frames for line in frame) <= width
    for number, frame in enumerate(frames[1:-1]):
        assert f"{number // 4} of {len(steps)}" in frame[0]
        assert sum(line[0] in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" for line in frame[1:]) == 1  # what is being done
    assert f"{len(steps)} of {len(steps)}" in frames[-1][0]
    assert all(line[0] == "✓" for line in frames[-1][1:])


def test_a_tall_terminal_shows_every_stage(world):
    steps = world.steps(ABLATED)
    lines = drawn(LiveView("name", steps), 100, 40)
    assert len(lines) == 1 + len(steps)
    assert lines[1].split() == ["·", "base", "evaluate"]
    assert lines[-1].split() == ["·", "select"]


def test_a_log_has_a_line_per_stage_and_signs_of_life(world, capsys, monkeypatch):
    def work(context: StageContext) -> None:
        context.report("sampling", 3, 8)

    world.acts["generate"] = work
    one = RunConfig(rounds=1)
    steps = world.steps(one)
    monkeypatch.setattr(view, "_SIGN_OF_LIFE", 0)
    world.engine(one, PlainView("name", world.path, steps)).execute(steps)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"name: 8 stages in {world.path}"
    assert lines[2] == "round 1 · generate  sampling 3/8"
    assert [line.split("  ")[0].rstrip() for line in lines[1:] if "/8" not in line] == [
        step.title for step in steps
    ]
    (world.path / "select" / "out.txt").unlink()
    (world.path / "select" / "manifest.json").unlink()
    (world.path / "select").rmdir()
    world.engine(one, PlainView("name", world.path, steps)).execute(steps)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "7 stages kept from before"
    assert len(lines) == 3


def test_a_run_on_a_terminal(small_run, monkeypatch, capsys):
    """The command itself with the live view, as every interactive user has it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert command(["stage", "verify", "--run", str(small_run)]) == 0
    monkeypatch.setattr("pipeline.runs.launch._report", lambda _run: None)
    assert command(["run", str(small_run), "--resume"]) == 0
    captured = capsys.readouterr()
    assert "17 of 17 stages" in captured.err
    assert "Traceback" not in captured.err + captured.out


def test_every_stage_says_what_it_has_yielded(small_run):
    run = open_run(small_run)
    facts = {
        step.title: fact(step, run.path / step.folder)
        for step in plan(run.config, shipped_stages())
    }
    assert all(facts.values())
    assert facts["round 2 · generate"].endswith(" answers to 1 task, 4 within the grammar")
    assert " readable, " in facts["round 1 · verify"]
    assert facts["round 1 · verify"].endswith(" of 3 tasks solved")
    assert "by edits and " in facts["round 1 · repair"]
    summary = json.loads((small_run / "round-01" / "rank" / "summary.json").read_text())
    share = round(100 * summary["successful"] / summary["pairs"])
    assert facts["round 1 · rank"] == (
        f"{summary['pairs']} pairs of {summary['tasks']} tasks, {share} % chosen succeed"
    )
    assert facts["select"] in {
        f"round {number} is the champion, gate {passed}"
        for number in (1, 2)
        for passed in ("passed", "not passed")
    }


def test_what_cannot_be_read_has_no_fact(tmp_path, world):
    for step in world.steps(ABLATED):
        assert fact(step, tmp_path) == ""
        (tmp_path / "summary.json").write_text("[]")
        (tmp_path / "verdicts.jsonl").write_text("?")


def test_durations():
    shown = {0.4: "0:00", 59.6: "1:00", 765: "12:45", 3753: "1:02:33"}
    assert {seconds: duration(seconds) for seconds in shown} == shown
