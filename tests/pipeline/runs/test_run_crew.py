"""Steps side by side give what steps one by one give, and end together."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import pytest
from fakes import World, content
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RunConfig, VariantConfig
from pipeline.runs.crew import Crew, next_step
from pipeline.runs.plan import plan
from pipeline.stages.context import Stage, StageContext
from verifier.errors import InputError

CONFIG = RunConfig(
    rounds=2,
    workers=2,
    variants=(VariantConfig(name="other", set={"rank.pairs_per_task": 1}),),
)
STEPS = plan(CONFIG, World(Path()).stages())


def quiet_stages() -> Mapping[str, Stage]:
    return World(Path()).stages()


def meeting_stages() -> Mapping[str, Stage]:
    """Round 1's evaluation ends only after round 2 has begun."""
    world = World(Path())

    def meet(context: StageContext) -> None:
        later = context.work.parent.parent / "round-02" / "generate"
        ends = time.monotonic() + 60
        while context.round == 1 and "variants" not in context.work.parts and not later.exists():
            assert time.monotonic() < ends
            time.sleep(0.02)

    world.acts["evaluate"] = meet
    return world.stages()


def dying_stages() -> Mapping[str, Stage]:
    world = World(Path())
    world.acts["train"] = lambda _context: os._exit(3)
    return world.stages()


def refusing_stages() -> Mapping[str, Stage]:
    def refuse(_context: StageContext) -> None:
        raise InputError("no pairs", remedy="draw more samples")

    world = World(Path())
    world.acts["train"] = refuse
    return world.stages()


def failing_stages() -> Mapping[str, Stage]:
    def fail(_context: StageContext) -> None:
        raise RuntimeError("a mistake of ours")

    world = World(Path())
    world.acts["rank"] = fail
    return world.stages()


def sleeping_stages() -> Mapping[str, Stage]:
    def sleep(context: StageContext) -> None:
        (context.work / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    world = World(Path())
    world.acts |= {"evaluate": sleep, "generate": sleep}
    return world.stages()


def tidying_stages() -> Mapping[str, Stage]:
    """The process that selects has something left to do when it ends."""

    def leave(context: StageContext) -> None:
        atexit.register((context.work.parent / "tidied").write_text, "")

    world = World(Path())
    world.acts["select"] = leave
    return world.stages()


def carry_out(folder: Path, load, after=lambda _step: None) -> int:
    return Crew(World(folder).engine(CONFIG), load, 2).execute(STEPS, after)


def test_results_are_those_of_one_after_another(tmp_path):
    World(tmp_path / "one").go(CONFIG)
    seen = []
    done = carry_out(tmp_path / "two", meeting_stages, lambda step: seen.append(step.folder))
    assert done == len(STEPS)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert sorted(seen) == sorted(step.folder for step in STEPS)
    assert seen.index(PurePosixPath("round-01/evaluate")) > seen.index(
        PurePosixPath("round-02/generate")
    )
    assert carry_out(tmp_path / "two", dying_stages) == 0  # nothing is left to be done


@pytest.mark.parametrize(
    ("load", "error", "message"),
    [
        (dying_stages, InputError, r"train: the process has died \(exit code 3\).*--resume"),
        (refusing_stages, InputError, r"train: no pairs; draw more samples"),
        (failing_stages, RuntimeError, "a mistake of ours"),
    ],
)
def test_a_failure_ends_all_and_the_rest_is_resumed(tmp_path, load, error, message):
    with pytest.raises(error, match=message):
        carry_out(tmp_path / "run", load)
    carry_out(tmp_path / "run", quiet_stages)
    World(tmp_path / "whole").go(CONFIG)
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_processes_end_by_themselves_when_all_is_done(tmp_path):
    carry_out(tmp_path, tidying_stages)
    assert list(tmp_path.rglob("tidied"))


def test_nobody_goes_on_when_the_run_is_killed(tmp_path):
    process = get_context("spawn").Process(target=carry_out, args=(tmp_path, sleeping_stages))
    process.start()
    ends = time.monotonic() + 60
    while len(pids := [p for p in tmp_path.rglob("pid") if p.read_text()]) < 2:
        assert time.monotonic() < ends
        time.sleep(0.02)
    process.kill()
    process.join()
    numbers = [int(path.read_text()) for path in pids]
    while any(alive(number) for number in numbers):
        assert time.monotonic() < ends
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_every_order_is_possible_and_rounds_go_first(random, size):
    finished: set[PurePosixPath] = set()
    running: list[PurePosixPath] = []
    done_before: dict[PurePosixPath, set[PurePosixPath]] = {}
    while len(finished) < len(STEPS):
        step = next_step(STEPS, finished, set(running)) if len(running) < size else None
        if step is None:
            finished.add(running.pop(random.randrange(len(running))))
            continue
        done_before[step.folder] = set(finished)
        running.append(step.folder)
    for step in STEPS:
        needed = {p for p in done_before for q in step.inputs.values() if q.is_relative_to(p)}
        assert needed <= done_before[step.folder]
    first = next_step(STEPS, set(), set())
    assert first is not None
    assert first.title == "round 1 · generate"
