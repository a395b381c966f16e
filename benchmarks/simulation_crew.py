"""Episodes per minute by number of processes, and whether they come out equal in all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from benchmarks.paired import Comparison
from benchmarks.results import Row, at_most
from benchmarks.simulation_controllers import SIMULATORS, Entrant
from benchmarks.simulation_speed import DRIVES
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary
from worlds.simulation.crew import Crew, Driven, Job
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode

WORKERS = (2, 1, 0)
"""Sizes of the crews; 0 is this process itself."""

_NAMES = {1: "1 process", 0: "in this process"}
_RATE_NOTE = (
    "Wall-clock time, processes started and simulators made before; the same episodes by every "
    "crew in turns. 2 processes can be at most twice as fast, on two cores that are free."
)
_EQUAL_NOTE = (
    "Labels, actions and times of every decision, of {worlds} worlds with the champion's first "
    "controller for each, {seeds} seeds; compared in this process, a pool of one and a pool of two."
)


def crew_rows(
    vocabulary: Vocabulary, field: Sequence[Entrant], rounds: int, episodes: int, seeds: int
) -> Iterator[Row]:
    """How many episodes crews drive in a minute, and whether they come out equal.

    Args:
        vocabulary: The domain.
        field: Of whom the first of each scenario drives where equality is asked for.
        rounds: In which the crews take turns.
        episodes: In each of them.
        seeds: Of every world, where equality is asked for.
    """
    course = Course(load_semantics("default"))
    with ExitStack() as stack:
        crews = {
            workers: stack.enter_context(Crew(course, vocabulary, workers=workers))
            for workers in WORKERS
        }
        for kind in SIMULATORS:
            yield from _rate_rows(f"{kind}/{DRIVES[0].scenario}", crews, rounds, episodes)
        yield _equal_row(field, crews, seeds)


def _rate_rows(world: str, crews: Mapping[int, Crew], rounds: int, episodes: int) -> Iterator[Row]:
    drive = DRIVES[0]
    jobs = [Job(world, drive.controller, drive.action, seed) for seed in range(episodes)]
    for crew in crews.values():
        crew.drive(jobs[: max(WORKERS)])  # starts processes and makes simulators
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for number in range(rounds):
        start = number % len(WORKERS)
        for workers in WORKERS[start:] + WORKERS[:start]:
            began = time.monotonic()
            crews[workers].drive(jobs)
            seconds[workers].append(time.monotonic() - began)
    for workers, name in _NAMES.items():
        spent = Comparison()
        for ours, theirs in zip(seconds[2], seconds[workers], strict=True):
            spent.add(episodes, ours, theirs)
        ours, theirs = spent.rates(60)
        what, unit = f"{world}, 2 processes", "episodes / min"
        yield Row(what, ours, unit, name, theirs, spent.ratio, spent.spread, note=_RATE_NOTE)


def _equal_row(field: Sequence[Entrant], crews: Mapping[int, Crew], seeds: int) -> Row:
    """How many episodes do not come out equal in every process, over all simulated worlds."""
    first = {one.scenario: one for one in reversed(field)}
    jobs = [
        Job(f"{kind}/{scenario}", one.controller, one.action, seed)
        for kind in SIMULATORS
        for scenario, one in sorted(first.items())
        for seed in range(seeds)
    ]
    found = [[outcome(driven) for driven in crew.drive(jobs)] for crew in crews.values()]
    note = _EQUAL_NOTE.format(worlds=len(SIMULATORS) * len(first), seeds=seeds)
    what = "episodes that differ between processes"
    return at_most(Row(what, different(found), f"of {len(jobs)}", note=note), 0)


def different(found: Sequence[Sequence[str]]) -> int:
    """Places in which the sequences are not all equal."""
    return sum(len(set(column)) > 1 for column in zip(*found, strict=True))


def outcome(driven: Driven) -> str:
    """The hash of an episode's trace; an episode that was lost equals no other."""
    result = driven.result
    return result.hash if isinstance(result, Episode) else f"lost {id(driven)}"
