"""A run's folder: one process at a time, nothing lost when the disk is full or a signal comes."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import World

from pipeline.config import RunConfig
from pipeline.files import write_text
from pipeline.runs.failures import Terminated, as_input_error, orderly_termination
from pipeline.runs.folder import (
    find_runs,
    forget,
    is_empty,
    is_locked,
    is_run,
    locked,
    make_run,
    open_run,
    reconfigure,
)
from verifier.errors import InputError

ONE = RunConfig(rounds=1)

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.runs.folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    run = tmp_path / "run"
    root = str(Path(__file__).parents[3])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(run)
        with pytest.raises(InputError) as error, locked(run):
            pass
        assert str(error.value) == (
            f"{run}: another process ({holder.pid}) is working in this run; wait until it has "
            "finished, or choose another folder with --dir"
        )
    finally:
        holder.kill()
        holder.wait()
    with locked(run):
        assert is_locked(run)
    assert not is_locked(run)


def test_a_run_is_made_opened_and_reconfigured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("runs/first")
    made = make_run(path, ONE)
    assert open_run(path) == open_run("first") == made
    assert find_runs(Path("runs")) == [path]
    other = reconfigure(made, RunConfig(rounds=2))
    assert open_run(path).config.rounds == 2
    assert other.info["created"] == made.info["created"]
    assert other.info["config_hash"] != made.info["config_hash"]
    with pytest.raises(InputError, match=r"no run 'frist'.*in runs/: first"):
        open_run("frist")


def test_what_a_kill_leaves_before_a_run_exists_is_no_obstacle(tmp_path):
    run = tmp_path / "run"
    with locked(run):
        assert is_empty(run)
        write_text(run / "config.yaml", "name: x\n")
        (run / ".run.json.abc").write_text("{")
        assert is_empty(run)
        assert not is_run(run)
        write_text(run / "mine.txt", "mine")
        assert not is_empty(run)
        forget(run)
        assert run.exists()
        (run / "mine.txt").unlink()
        forget(run)
    assert not run.exists()


def test_half_written_files_of_a_run_do_not_stay(tmp_path):
    with locked(tmp_path / "run"):
        for name in (".run.json.abc", ".config.yaml.x1"):
            (tmp_path / "run" / name).write_text("{")
        made = make_run(tmp_path / "run", ONE)
    assert sorted(p.name for p in made.path.iterdir()) == [".lock", "config.yaml", "run.json"]


def test_sigterm_is_an_interrupt():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), orderly_termination():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "failure",
    [
        FULL,
        OSError(errno.EDQUOT, "quota"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        InputError("cannot be written: No space left on device", file="x"),
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, failure):
    world = World(tmp_path / "run")

    def fail(context):
        if not list(context.partial.glob("chunk")):
            (context.partial / "chunk").write_text("answers")
            raise failure

    world.acts["train"] = fail
    with pytest.raises(InputError) as error:
        world.go(ONE)
    assert str(error.value) == (
        f"{world.path}: no space left on the disk; everything finished so far is kept; free some "
        f"space and continue with: specdrive run {world.path} --resume"
    )
    assert world.calls[-1] == "1/train"
    assert (world.path / "round-01" / ".train.partial" / "partial" / "chunk").exists()
    assert world.go(ONE) == ["1/train", "1/evaluate", "1/select"]


def test_a_limit_on_file_size_is_found_out_as_a_full_disk(tmp_path):
    """A real failing write, in a process of its own: the limit cannot be raised again."""
    world = World(tmp_path / "run")

    def fill(context):
        write_text(context.work / "big.txt", "x" * 200_000)

    world.acts["repair"] = fill
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            world.go(ONE)
        except InputError as error:
            code = 2 if "no space left on the disk" in str(error) else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert (world.path / "round-01" / "verify" / "manifest.json").exists()
    assert world.go(ONE)[0] == "1/repair"


def test_too_little_memory_is_one_line(tmp_path):
    error = as_input_error(MemoryError(), tmp_path)
    assert error is not None
    assert "out of memory" in str(error)
    assert as_input_error(RuntimeError("a mistake of ours"), tmp_path) is None
    assert as_input_error(InputError("no pairs"), tmp_path) is None
