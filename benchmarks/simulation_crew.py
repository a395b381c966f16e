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


def rate_rows(vocabulary: Vocabulary, episodes: int, rounds: int) -> Iterator[Row]:
    """Both simulators at a junction with lights.

    Args:
        vocabulary: The domain.
        episodes: In a round.
        rounds: How often every crew drives them.
    """
    drive = DRIVES[0]
    for kind in SIMULATORS:
        world = f"{kind}/{drive.scenario}"
        jobs = [Job(world, drive.controller, drive.action, seed) for seed in range(episodes)]
        seconds = _wall_seconds(vocabulary, jobs, rounds)
        for workers, name in _NAMES.items():
            spent = Comparison()
            for ours, theirs in zip(seconds[2], seconds[workers], strict=True):
                spent.add(episodes, ours, theirs)
            ours, theirs = spent.rates(60)
            yield Row(
                f"{world}, 2 processes",
                ours,
                "episodes / min",
                name,
                theirs,
                spent.ratio,
                spent.spread,
                note=_RATE_NOTE,
            )


def _wall_seconds(
    vocabulary: Vocabulary, jobs: Sequence[Job], rounds: int
) -> Mapping[int, list[float]]:
    """Of every round, by size of the crew; each begins a round in turn."""
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    with ExitStack() as stack:
        crews = {workers: stack.enter_context(_crew(vocabulary, workers)) for workers in WORKERS}
        for crew in crews.values():
            crew.drive(jobs[: max(WORKERS)])  # starts processes and makes simulators
        for number in range(rounds):
            start = number % len(WORKERS)
            for workers in WORKERS[start:] + WORKERS[:start]:
                began = time.monotonic()
                crews[workers].drive(jobs)
                seconds[workers].append(time.monotonic() - began)
    return seconds


def determinism_row(vocabulary: Vocabulary, field: Sequence[Entrant], seeds: int) -> Row:
    """How many episodes do not come out equal in every process, over all simulated worlds.

    Args:
        vocabulary: The domain.
        field: Of whom the first of each scenario drives.
        seeds: Episodes per world.
    """
    first = {one.scenario: one for one in reversed(field)}
    jobs = [
        Job(f"{kind}/{scenario}", one.controller, one.action, seed)
        for kind in SIMULATORS
        for scenario, one in sorted(first.items())
        for seed in range(seeds)
    ]
    found: list[list[str]] = []
    for workers in WORKERS:
        with _crew(vocabulary, workers) as crew:
            found.append([outcome(driven) for driven in crew.drive(jobs)])
    row = Row(
        "episodes that differ between processes",
        different(found),
        f"of {len(jobs)}",
        note=_EQUAL_NOTE.format(worlds=len(SIMULATORS) * len(first), seeds=seeds),
    )
    return at_most(row, 0)


def different(found: Sequence[Sequence[str]]) -> int:
    """Places in which the sequences are not all equal."""
    return sum(len(set(column)) > 1 for column in zip(*found, strict=True))


def outcome(driven: Driven) -> str:
    """The hash of an episode's trace; an episode that was lost equals no other."""
    result = driven.result
    return result.hash if isinstance(result, Episode) else f"lost {id(driven)}"


def _crew(vocabulary: Vocabulary, workers: int) -> Crew:
    return Crew(Course(load_semantics("default")), vocabulary, workers=workers)
