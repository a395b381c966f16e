"""Recording many episodes, in processes that may crash or hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verifier.vocabulary import Vocabulary
from worlds.learned.drivers import course_of, driver_of, recording_of
from worlds.learned.recordings import Recording
from worlds.simulation.crew import Crew, Job, Lost, Progress
from worlds.simulation.registry import make_simulator


@dataclass(frozen=True)
class RecordingPlan:
    """What to record.

    Attributes:
        world: A simulated world by name.
        steps: At most so many per episode.
        driver: One of `worlds.learned.drivers.DRIVERS`.
        workers: Processes; 0 records in this one, without protection from crashes and hangs.
    """

    world: str
    steps: int = 120
    driver: str = "hold"
    workers: int = 1


@dataclass(frozen=True)
class Recorded:
    """What was recorded.

    Attributes:
        recordings: In the order of the seeds; they depend on nothing but plan and seeds.
        lost: Episodes that came to nothing, however often they were tried.
    """

    recordings: tuple[Recording, ...]
    lost: tuple[Lost, ...]


def record_episodes(
    plan: RecordingPlan,
    seeds: Sequence[int],
    vocabulary: Vocabulary,
    progress: Progress | None = None,
) -> Recorded:
    """Record one episode per seed.

    Raises:
        InputError: As `make_simulator`, `driver_of` and `Crew.drive`.
    """
    simulator = make_simulator(plan.world, vocabulary)
    try:
        controller = driver_of(plan.driver, simulator.actions)
        jobs = [Job(plan.world, controller, None, seed) for seed in seeds]
        course = course_of(simulator, plan.steps)
        with Crew(course, vocabulary, workers=plan.workers) as crew:
            results = [driven.result for driven in crew.drive(jobs, progress)]
    finally:
        simulator.close()
    return Recorded(
        recordings=tuple(
            recording_of(r, simulator, plan.driver) for r in results if not isinstance(r, Lost)
        ),
        lost=tuple(r for r in results if isinstance(r, Lost)),
    )
