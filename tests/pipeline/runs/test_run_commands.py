"""``run``, ``stage`` and ``runs`` as a user meets them, on a small run of the real stages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import pipeline.run_report
import pipeline.tracking
from pipeline.cli import run as command
from pipeline.runs.folder import locked, open_run
from pipeline.runs.launch import carry_out
from pipeline.stages import select

ROOT = Path(__file__).parents[3]
Outcome = tuple[int, str, str]


@pytest.fixture
def specdrive(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command; exit code, stdout and stderr."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = command([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def _quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content is tested elsewhere; drawing takes seconds."""

    def write(run: Path) -> Path:
        page = run / "report" / "index.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text("report")
        return page

    monkeypatch.setattr(pipeline.run_report, "write_report", write)


@pytest.fixture
def run(small_run, tmp_path) -> Path:
    """A finished run that may be changed."""
    return shutil.copytree(small_run, tmp_path / "small")


def one_line(error: str) -> str:
    """The text of an error message, which must be a single line."""
    (line,) = [line for line in error.splitlines() if line.startswith("specdrive:")]
    assert "Traceback" not in error
    return line


def flat(text: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(text.split())


def test_a_finished_run_has_nothing_to_do(specdrive, run):
    code, out, err = specdrive("run", run, "--resume")
    assert code == 0
    assert f"{run} is complete: nothing had to be done" in flat(out)
    for text in ("held-out test tasks", "base", "round 1", "round 2", "plain", "strict success"):
        assert text in out
    assert str(run / "report" / "index.html") in out.replace("\n", "").replace(" ", "")
    assert err == f"small: 17 stages in {run}\n"


def test_what_is_printed_as_json(specdrive, run):
    code, out, _ = specdrive("run", run, "--resume", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["stages"], found["carried_out"]) == (17, 0)
    assert [one["name"] for one in found["models"]] == ["base", "round 1", "round 2", "plain"]
    assert found["report"] == str(run / "report" / "index.html")
    assert found["selection"]["champion"].startswith("round-0")


def test_a_second_start_is_refused(specdrive, run):
    code, out, err = specdrive("run", run, "--dir", run)
    assert (code, out) == (2, "")
    assert "there is a run in this folder already; continue it with --resume" in one_line(err)


def test_two_processes_in_one_run(specdrive, run):
    with locked(run):
        for arguments in (("run", run, "--resume"), ("stage", "select", "--run", run)):
            code, _, err = specdrive(*arguments)
            assert code == 2
            assert f"another process ({os.getpid()}) is working in this run" in one_line(err)


def test_a_change_of_the_configuration_repeats_what_depends_on_it(specdrive, run):
    code, _, err = specdrive("run", run, "--resume", "--set", "select.gate.min_gain=0.5")
    assert code == 0
    lines = err.splitlines()
    assert lines[:2] == [f"small: 17 stages in {run}", "16 stages kept from before"]
    assert lines[2].startswith("select ")
    assert len(lines) == 3
    assert open_run(run).config.select.gate.min_gain == 0.5
    assert specdrive("runs", "show", run, "--config")[1].count("min_gain: 0.5") == 1


def test_a_flipped_bit_is_found_named_and_mended(specdrive, run):
    file = run / "round-01" / "rank" / "pairs.jsonl"
    before = file.read_bytes()
    file.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    code, _, err = specdrive("run", run, "--resume")
    assert code == 2
    remedy = f"specdrive stage rank --run {run} --round 1 --force"
    assert one_line(err) == (
        f"specdrive: {file}: is damaged (it differs from what the stage wrote); "
        f"make it again with: {remedy}"
    )
    code, out, _ = specdrive(*remedy.split()[1:])
    assert code == 0
    assert out.startswith("round 1 · rank: done in 0:0")
    assert file.read_bytes() == before
    assert "nothing had to be done" in flat(specdrive("run", run, "--resume")[1])


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "owner"])
def test_a_model_that_is_not_there(specdrive, run, tmp_path, name):
    new = tmp_path / "new"
    code, _, err = specdrive("run", run, "--dir", new, "--set", f"model.name={name}")
    assert code == 2
    assert one_line(err).startswith(f"specdrive: no model {name!r}; use 'smollm2', a local folder")
    assert not new.exists()
    before = (run / "config.yaml").read_text()
    assert specdrive("run", run, "--resume", "--set", f"model.name={name}")[0] == 2
    assert (run / "config.yaml").read_text() == before


UNKNOWN = {
    "trian": "no stage 'trian'; did you mean 'train'?",
    "train --round 7": "no stage 'train' in round 7; there are: round 1 · train, round 2 · train",
    "train --variant x": "no stage 'train' in variant 'x'; there are: round 1 · train",
    "generate --variant plain": "no stage 'generate' in variant 'plain'; there are: round 1",
    "train --set train.beta=1": "--set needs --config",
}


@pytest.mark.parametrize("arguments", UNKNOWN)
def test_an_unknown_stage_or_round(specdrive, run, arguments):
    code, _, err = specdrive("stage", *arguments.split(), "--run", run)
    assert code == 2
    assert UNKNOWN[arguments] in one_line(err)


def test_a_stage_is_kept_forced_and_needs_what_comes_before(specdrive, run):
    code, out, err = specdrive("stage", "verify", "--run", run)
    assert (code, err) == (0, "")
    assert out.startswith("round 2 · verify: up to date; ")
    shutil.rmtree(run / "round-02" / "rank")
    code, out, _ = specdrive("stage", "rank", "--run", run, "--json")
    assert (json.loads(out)["round"], json.loads(out)["carried_out"]) == (2, True)
    shutil.rmtree(run / "round-02" / "generate")
    code, _, err = specdrive("stage", "verify", "--run", run)
    assert code == 2
    assert "round 2 · verify needs round-02/generate, which is not there yet" in one_line(err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_loses_nothing(specdrive, run, monkeypatch, number):
    shutil.rmtree(run / "select")
    real, calls = select.run, []

    def interrupted(context):
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), number)
        real(context)

    monkeypatch.setattr(select, "run", interrupted)
    code, _, err = specdrive("run", run, "--resume")
    assert code == 130
    assert one_line(err) == (
        "specdrive: interrupted; what is finished is kept; continue with: "
        f"specdrive run {run} --resume"
    )
    code, _, err = specdrive("run", run, "--resume")
    assert code == 0
    assert "16 stages kept from before" in err
    assert (run / "select" / "selection.json").exists()


def test_a_report_that_cannot_be_written_costs_one_line(specdrive, run, monkeypatch):
    def fail(_run):
        raise RuntimeError("no ink\nat all")

    monkeypatch.setattr(pipeline.run_report, "write_report", fail)
    code, out, err = specdrive("run", run, "--resume")
    assert code == 0
    assert one_line(err) == (
        "specdrive: the report could not be written (no ink); "
        f"once that is mended: specdrive run {run} --resume"
    )
    assert "index.html" not in out
    assert "results" in out


class Broken:
    """A record of a run that fails at every stage."""

    ended: ClassVar[list[bool]] = []

    def start(self, folder, config):
        pass

    def stage_done(self, *_stage):
        raise ConnectionError("no route to the server")

    def finish(self, *, failed=False):
        self.ended.append(failed)


def test_tracking_that_fails_costs_one_line(specdrive, run, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.tracking, "Tracker", Broken)
    Broken.ended.clear()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = ("--set", "tracking.enabled=true", "--tracking-uri", uri)
    code, out, err = specdrive("run", run, "--resume", *tracked)
    assert code == 0
    assert one_line(err) == (
        f"specdrive: tracking failed (no route to the server); later: specdrive runs sync {run}"
    )
    assert Broken.ended == [False]
    assert "mlflow ui --backend-store-uri sqlite:///" in flat(out)


def test_an_interrupted_run_does_not_stay_running_in_the_record(run, monkeypatch):
    def interrupted(_context):
        raise KeyboardInterrupt

    shutil.rmtree(run / "select")
    monkeypatch.setattr(pipeline.tracking, "Tracker", Broken)
    monkeypatch.setattr(select, "run", interrupted)
    Broken.ended.clear()
    config = open_run(run).config
    tracking = config.tracking.model_copy(update={"enabled": True})
    with pytest.raises(KeyboardInterrupt):
        carry_out(config.model_copy(update={"tracking": tracking}), run, resume=True)
    assert Broken.ended == [True]


FULL = """
import resource, signal, sys
from pipeline.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
main()
"""


def test_a_disk_that_is_full_while_an_adapter_is_saved(specdrive, run):
    """A real failing write of weights, in a process of its own: a limit cannot be raised again."""
    before = (run / "round-02" / "train" / "manifest.json").read_bytes()
    shutil.rmtree(run / "round-02" / "train")
    full = subprocess.run(
        [sys.executable, "-c", FULL, "run", str(run), "--resume"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert full.returncode == 2, full.stderr
    assert one_line(full.stderr) == (
        f"specdrive: {run}: no space left on the disk; everything finished so far is kept; free "
        f"some space and continue with: specdrive run {run} --resume"
    )
    assert not (run / "round-02" / "train").exists()
    code, _, err = specdrive("run", run, "--resume")
    assert code == 0
    assert "round 2 · train" in err
    assert "round 2 · evaluate" not in err  # the adapter came out the same
    after = json.loads((run / "round-02" / "train" / "manifest.json").read_text())
    assert after["outputs"] == json.loads(before)["outputs"]


def test_runs_are_listed_shown_and_compared(specdrive, run, tmp_path):
    code, out, _ = specdrive("runs", "list", "--dir", tmp_path)
    assert code == 0
    assert "17/17" in out
    code, out, _ = specdrive("runs", "show", run)
    assert code == 0
    assert out.count("✓") == 17
    assert "variants.plain.train.sft_weight" in out
    code, out, _ = specdrive("runs", "show", run, "--pair", "plain/p01-00000")
    assert code == 0
    assert "p01-00000" in out
    assert "chosen" in out
    code, _, err = specdrive("runs", "show", run, "--pair", "p01-0000")
    assert code == 2
    assert "did you mean 'p01-0000" in one_line(err)
    other = shutil.copytree(run, tmp_path / "other")
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("sft_weight: 0.5", "sft_weight: 0.25"))
    code, out, _ = specdrive("runs", "diff", run, other)
    assert code == 0
    assert "train.sft_weight" in out
    assert "+0.0" in out
    code, out, _ = specdrive("runs", "diff", run, other, "--json")
    assert json.loads(out)["config"]["train.sft_weight"] == {"first": 0.5, "second": 0.25}


def test_a_damaged_run_does_not_hide_the_others(specdrive, run, tmp_path):
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "config.yaml").write_text("rounds: many\n")
    code, out, _ = specdrive("runs", "list", "--dir", tmp_path)
    assert code == 0
    assert "17/17" in out
    assert "config.yaml: rounds: " in flat(out)
    assert specdrive("runs", "list", "--dir", tmp_path / "none")[1].startswith("no runs in ")
