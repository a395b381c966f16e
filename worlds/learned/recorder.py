"""Recording many episodes, in processes of their own if asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.learned.drivers import record
from worlds.learned.recordings import Recording
from worlds.simulation.registry import make_simulator


@dataclass(frozen=True)
class RecordingPlan:
    """What to record.

    Attributes:
        world: A simulated world by name.
        vocabulary: Name or path.
        steps: At most so many per episode.
        driver: One of `worlds.learned.drivers.DRIVERS`.
    """

    world: str
    vocabulary: str = "driving"
    steps: int = 120
    driver: str = "hold"


def record_episodes(
    plan: RecordingPlan,
    seeds: Sequence[int],
    jobs: int = 1,
    done: Callable[[int], object] | None = None,
) -> list[Recording]:
    """Record one episode per seed; the result does not depend on ``jobs``.

    Args:
        plan: What.
        seeds: Of the episodes.
        jobs: Processes; with 1 everything happens in this one.
        done: Is told the number of episodes done since it was told last.

    Raises:
        InputError: As `make_simulator` and `record`; a simulator ended its process.
    """
    found: list[Recording] = []
    if jobs == 1:
        for recording in _record_each(plan, seeds):
            found.append(recording)
            if done is not None:
                done(1)
        return found
    # Spawned: a forked copy of a simulator's library would share its state.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        size = max(1, min(8, len(seeds) // (2 * jobs)))
        chunks = [seeds[i : i + size] for i in range(0, len(seeds), size)]
        try:
            for part in pool.map(_record_chunk, [plan] * len(chunks), chunks):
                found += part
                if done is not None:
                    done(len(part))
        except BrokenProcessPool:
            raise InputError(
                f"a process that simulated {plan.world} ended by itself",
                remedy="record with --jobs 1 to see where",
            ) from None
    return found


def _record_chunk(plan: RecordingPlan, seeds: Sequence[int]) -> list[Recording]:
    return list(_record_each(plan, seeds))


def _record_each(plan: RecordingPlan, seeds: Sequence[int]) -> Iterator[Recording]:
    simulator = make_simulator(plan.world, load_vocabulary(plan.vocabulary))
    try:
        for seed in seeds:
            yield record(simulator, seed, plan.steps, plan.driver)
    finally:
        simulator.close()
