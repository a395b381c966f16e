"""Episodes in processes: the same ones however many processes, and none lost without a word."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import bad_simulators as bad
import pytest
from golden import AFTER, BEFORE

from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.simulation.crew import Crew, Driven, Job, Lost, MakeByName
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode

VOCABULARY = load_vocabulary()
COURSE = Course(load_semantics("paper"), max_seconds=30)
WORLD = "walk/paper_traffic_light"


def jobs(count: int, world: str = WORLD) -> list[Job]:
    return [Job(world, AFTER if n % 2 else BEFORE, "turn_right", n) for n in range(count)]


def hashes(driven: list[Driven]) -> list[str]:
    return [d.result.hash if isinstance(d.result, Episode) else d.result.reason for d in driven]


def drive_with(make: MakeByName, count: int, **options: float) -> list[Driven]:
    workers = int(options.pop("workers", 1))
    with Crew(COURSE, VOCABULARY, workers=workers, make=make, **options) as crew:  # type: ignore[arg-type]
        return crew.drive(jobs(count))


def test_equal_episodes_however_many_processes() -> None:
    mixed = jobs(12) + jobs(4, "walk/roundabout") + jobs(3)
    told: list[int] = []
    results = []
    for workers in (0, 1, 2):
        with Crew(COURSE, VOCABULARY, workers=workers) as crew:
            results.append(hashes(crew.drive(mixed, told.append)))
            assert hashes(crew.drive(mixed[::-1])) == results[-1][::-1]  # the same crew again
            assert crew.drive([]) == []
    assert results[0] == results[1] == results[2]
    assert len(set(results[0])) > 10
    assert sum(told) == 3 * len(mixed)


def test_a_process_that_leaves_is_replaced_and_its_episode_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bad.MARKS, str(tmp_path))
    with Crew(COURSE, VOCABULARY, workers=0) as crew:
        undisturbed = hashes(crew.drive(jobs(6)))
    driven = drive_with(bad.Exiting, 6, workers=2)
    assert hashes(driven) == undisturbed
    assert [d.attempts for d in driven] == [1, 1, 1, 2, 1, 1]


def test_what_always_crashes_is_lost_and_nothing_else() -> None:
    driven = drive_with(bad.Crashing, 5, attempts=2)
    assert [isinstance(d.result, Lost) for d in driven] == [False, False, True, False, False]
    assert driven[2] == Driven(Lost(2, 2, "the simulator's process died of signal 11"), 2)


def test_what_hangs_is_lost_and_nothing_else() -> None:
    started = time.monotonic()
    driven = drive_with(bad.Hanging, 4, wall_seconds=1.0, attempts=2)
    assert [isinstance(d.result, Lost) for d in driven] == [False, True, False, False]
    assert isinstance(driven[1].result, Lost)
    assert driven[1].result.reason == "the simulator hung: no answer for 1 s of wall-clock time"
    assert time.monotonic() - started < 30


def test_an_episode_that_never_ends_is_unfinished() -> None:
    for done in drive_with(bad.Endless, 2):
        assert isinstance(done.result, Episode)
        assert (done.result.outcome, done.result.status.seconds) == ("unfinished", 30)


def test_nothing_but_crashes_is_an_error() -> None:
    with pytest.raises(
        InputError,
        match=r"^no episode in walk/paper_traffic_light could be driven "
        r"to its end: the simulator raised ZeroDivisionError: no wheels; run: "
        r"specdrive simulate --check walk/paper_traffic_light$",
    ):
        drive_with(bad.Raising, 9, attempts=1)


def test_bad_input_comes_back_from_the_processes_as_it_is() -> None:
    with pytest.raises(InputError, match="observes 'cow', which is not among its propositions"):
        drive_with(bad.Strange, 3)
    with Crew(COURSE, VOCABULARY, workers=1) as crew:
        with pytest.raises(InputError, match="no world named 'nowhere'"):
            crew.drive(jobs(2, "walk/nowhere"))
        assert len(crew.drive(jobs(2))) == 2  # and the crew goes on
    with pytest.raises(ValueError, match="attempts >= 1"):
        Crew(COURSE, VOCABULARY, attempts=0)


def test_nobody_outlives_the_process_that_started_them(tmp_path: Path) -> None:
    """Killed while a simulator hangs: the process that drives it ends, too."""
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
import bad_simulators, os
from test_crew import COURSE, VOCABULARY, jobs
from worlds.simulation.crew import Crew
if __name__ == "__main__":
    Crew(COURSE, VOCABULARY, workers=1, make=bad_simulators.Hanging).drive(jobs(2))
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    marks = tmp_path / "hanging"
    environment = os.environ | {bad.HUNG: str(marks)}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        deadline = time.monotonic() + 30
        while not marks.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(marks.read_text())
        parent.kill()
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(child)


def runs(process: int) -> bool:
    """Whether it is there and no mere entry that nobody has collected yet."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
