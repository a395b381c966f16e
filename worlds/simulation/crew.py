"""Episodes in processes that may crash or hang: no episode is lost without being counted.

Every process has one simulator at a time and gets one job at a time through a pipe of its own, so
that it is known which episode a process was driving when it died or did not answer. It is then
killed and replaced, and the episode is repeated.

What comes out depends neither on the number of processes nor on their timing: an episode is fixed
by its job, and results are in the order of the jobs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

from verifier.controller import Controller
from verifier.errors import InputError
from verifier.vocabulary import Vocabulary
from worlds.simulation.driver import Course, drive
from worlds.simulation.episode import Episode
from worlds.simulation.interface import Simulator
from worlds.simulation.registry import make_simulator

MakeByName = Callable[[str, Vocabulary], Simulator]
"""Makes a simulator by name, as `make_simulator`; importable, as processes import it."""

Progress = Callable[[int], None]
"""Called with the number of episodes that have come to an end since the last call."""

START_SECONDS = 60.0
"""Wall-clock seconds that a new process has for its imports."""

HOPELESS = 4
"""So many episodes lost, and none driven to its end: nothing more is tried."""


@dataclass(frozen=True)
class Job:
    """An episode to be driven.

    Attributes:
        world: ``KIND/SCENARIO``.
        controller: Who drives.
        task_action: The manoeuvre asked for; None if any will do.
        seed: Fixes the episode.
    """

    world: str
    controller: Controller
    task_action: str | None
    seed: int


@dataclass(frozen=True)
class Lost:
    """An episode that could not be driven to its end.

    Attributes:
        seed: Of the episode.
        attempts: How often it was tried.
        reason: What became of the last attempt.
    """

    seed: int
    attempts: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return vars(self).copy()


@dataclass(frozen=True)
class Driven:
    """What became of a job.

    Attributes:
        result: The episode, or why there is none.
        attempts: How often it was tried.
    """

    result: Episode | Lost
    attempts: int


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: int | None = None
    deadline: float = 0.0
    ready: bool = False


class Crew:
    """Processes that drive episodes. To be used in a ``with`` statement, or closed.

    Args:
        course: How episodes are driven; ``perceive`` and ``watch`` must be picklable.
        vocabulary: The domain.
        workers: Number of processes, started when they are needed. 0 drives in this process:
            without the cost of starting any, and without protection from crashes and hangs.
        wall_seconds: Wall-clock time that an episode may take.
        attempts: How often an episode is tried.
        make: Makes simulators.
    """

    def __init__(
        self,
        course: Course,
        vocabulary: Vocabulary,
        *,
        workers: int = 2,
        wall_seconds: float = 120.0,
        attempts: int = 3,
        make: MakeByName = make_simulator,
    ) -> None:
        if workers < 0 or attempts < 1 or wall_seconds <= 0:
            raise ValueError("workers >= 0, attempts >= 1 and wall_seconds > 0 are needed")
        self.course, self.vocabulary = course, vocabulary
        self.wall_seconds, self.attempts = wall_seconds, attempts
        self._make, self._size = make, workers
        self._workers: list[_Worker] = []
        self._driver = _Driver(course, vocabulary, make)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. May be called twice."""
        for worker in self._workers:
            with suppress(OSError):
                worker.pipe.send(None)
        ends = time.monotonic() + 2
        for worker in self._workers:
            worker.process.join(max(0.0, ends - time.monotonic()))
            _end(worker)
        self._workers = []
        self._driver.close()

    def drive(self, jobs: Sequence[Job], progress: Progress | None = None) -> list[Driven]:
        """Drive every job to its end or lose it after so many attempts.

        Returns:
            One result per job, in order.

        Raises:
            InputError: A world that cannot be made, a simulator that breaks its contract, or
                nothing but lost episodes (`HOPELESS` of them).
        """
        tell = progress or (lambda _: None)
        if not jobs:
            return []
        if self._size == 0:
            done = []
            for job in jobs:
                done.append(Driven(self._driver.drive(job), 1))
                tell(1)
            return done
        try:
            return _Round(self, jobs, tell).run()
        except BaseException:
            # Somebody may still be driving: what he will say must not be taken for a later answer.
            for worker in self._workers:
                _end(worker)
            self._workers = []
            raise

    def _staff(self, needed: int) -> Sequence[_Worker]:
        """So many processes, at most as many as the crew has; started if they are missing."""
        while len(self._workers) < min(self._size, needed):
            self._workers.append(self._start())
        return tuple(self._workers)

    def _start(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work, args=(theirs, self.course, self.vocabulary, self._make), daemon=True
        )
        process.start()
        theirs.close()  # the end of the file then tells that the process is gone
        return _Worker(process, ours)

    def _dismiss(self, worker: _Worker) -> None:
        _end(worker)
        self._workers.remove(worker)


class _Round:
    """The jobs of one call of `Crew.drive`."""

    def __init__(self, crew: Crew, jobs: Sequence[Job], tell: Progress) -> None:
        self._crew, self._jobs, self._tell = crew, jobs, tell
        self._waiting = deque(range(len(jobs)))
        self._tried = [0] * len(jobs)
        self._done: dict[int, Driven] = {}

    def run(self) -> list[Driven]:
        while len(self._done) < len(self._jobs):
            staff = self._crew._staff(len(self._jobs) - len(self._done))
            for worker in staff:
                if worker.job is None and self._waiting:
                    self._hand_out(worker)
            self._listen([worker for worker in staff if worker.job is not None])
        return [self._done[index] for index in range(len(self._jobs))]

    def _hand_out(self, worker: _Worker) -> None:
        worker.job = self._waiting.popleft()
        patience = self._crew.wall_seconds if worker.ready else START_SECONDS
        worker.deadline = time.monotonic() + patience
        # A process that is gone is noticed when its answer is waited for.
        with suppress(OSError):
            worker.pipe.send(self._jobs[worker.job])

    def _listen(self, busy: Sequence[_Worker]) -> None:
        patience = min(worker.deadline for worker in busy) - time.monotonic()
        wait([worker.pipe for worker in busy], max(0.0, patience))
        for worker in busy:
            if worker.pipe.poll():
                self._take(worker)
            elif time.monotonic() >= worker.deadline:
                seconds = self._crew.wall_seconds if worker.ready else START_SECONDS
                what = "the simulator hung" if worker.ready else "its process did not start"
                self._lose(worker, f"{what}: no answer for {seconds:g} s of wall-clock time")

    def _take(self, worker: _Worker) -> None:
        assert worker.job is not None
        try:
            answer: Episode | InputError | str | None = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            code = worker.process.exitcode
            self._lose(worker, f"the simulator's process died{_code(code)}")
            return
        if answer is None:
            worker.ready = True
            worker.deadline = time.monotonic() + self._crew.wall_seconds
            return
        if isinstance(answer, InputError):
            raise answer
        if isinstance(answer, str):
            self._lose(worker, answer)
            return
        index, worker.job = worker.job, None
        self._finish(index, Driven(answer, self._tried[index] + 1))

    def _lose(self, worker: _Worker, reason: str) -> None:
        index = worker.job
        assert index is not None
        self._crew._dismiss(worker)
        self._tried[index] += 1
        attempts = self._tried[index]
        if attempts < self._crew.attempts:
            self._waiting.appendleft(index)
            return
        job = self._jobs[index]
        self._finish(index, Driven(Lost(job.seed, attempts, reason), attempts))
        if len(self._done) >= HOPELESS and all(
            isinstance(done.result, Lost) for done in self._done.values()
        ):
            raise InputError(
                f"no episode in {job.world} could be driven to its end: {reason}",
                remedy=f"run: specdrive simulate --check {job.world}",
            )

    def _finish(self, index: int, driven: Driven) -> None:
        self._done[index] = driven
        self._tell(1)


class _Driver:
    """Drives jobs with one simulator at a time, which is kept for the next job."""

    def __init__(self, course: Course, vocabulary: Vocabulary, make: MakeByName) -> None:
        self._course, self._vocabulary, self._make = course, vocabulary, make
        self._world: str | None = None
        self._simulator: Simulator | None = None

    def drive(self, job: Job) -> Episode:
        if self._simulator is None or self._world != job.world:
            self.close()
            self._simulator = self._make(job.world, self._vocabulary)
            self._world = job.world
        return drive(self._simulator, job.controller, job.task_action, job.seed, self._course)

    def close(self) -> None:
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None


def _work(pipe: Connection, course: Course, vocabulary: Vocabulary, make: MakeByName) -> None:
    """What a process does: say that it is there, and drive until there is no more to be driven."""
    os.dup2(2, 1)  # what libraries print must not get between the lines of a command
    threading.Thread(target=_follow_parent, daemon=True).start()
    driver = _Driver(course, vocabulary, make)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        pipe.send(None)
        while (job := pipe.recv()) is not None:
            try:
                answer: Episode | InputError | str = driver.drive(job)
            except InputError as error:
                answer = error
            except Exception as error:
                answer = f"the simulator raised {type(error).__name__}: {error}"
            pipe.send(answer)
        driver.close()


def _follow_parent() -> None:
    """End this process with the one that started it, even while a simulator hangs."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _code(code: int | None) -> str:
    if code is None:
        return ""
    return f" of signal {-code}" if code < 0 else f" with exit code {code}"
