"""Steps side by side: a crew of processes, each with its share of the processor's threads.

The evaluation of a round is not needed by the next one, and ablations are needed by nobody; on
several cores they are done beside the chain of rounds. Steps exchange nothing but folders, so
what comes out is what comes out one after another with as many threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.runs.engine import Engine
from pipeline.runs.failures import as_input_error
from pipeline.runs.folder import RunFolder
from pipeline.runs.plan import ROUND, Step, locate
from pipeline.stages.context import Stage
from verifier.errors import InputError

LoadStages = Callable[[], Mapping[str, Stage]]
"""Importable function: every process loads the stages itself."""

_THREADS = "OMP_NUM_THREADS"
_PR_SET_PDEATHSIG = 1
_LOOK = 0.5
_PATIENCE = 5.0


def next_step(
    steps: Sequence[Step], finished: Set[PurePosixPath], running: Set[PurePosixPath]
) -> Step | None:
    """The most urgent step that nothing stands in the way of; None if all have to wait.

    What later rounds wait for goes before evaluations, and these before variants.

    Args:
        steps: All of a run's, in order.
        finished: Folders of those that are done.
        running: Folders of those that are being done.
    """
    own = {step.folder for step in steps}
    waiting = [step for step in steps if step.folder not in finished | running]
    ready = [step for step in waiting if not (_sources(step) & own) - finished]
    return min(ready, key=_urgency, default=None)


def _sources(step: Step) -> set[PurePosixPath]:
    here = Path()
    return {PurePosixPath(locate(here, place)[0]) for place in step.inputs.values()}


def _urgency(step: Step) -> int:
    if step.variant is not None:
        return 2
    return 1 if step.stage == ROUND[-1] else 0


@dataclass
class _Worker:
    """A process and what it is doing."""

    process: BaseProcess
    connection: Connection
    step: Step | None = None


@dataclass
class Crew:
    """Carries out the steps of a run with several processes; hold the run's lock meanwhile.

    Attributes:
        engine: Of this process: knows what is finished, observes and tracks.
        load_stages: As in the engine.
        size: Processes at once.
    """

    engine: Engine
    load_stages: LoadStages
    size: int
    _workers: list[_Worker] = field(default_factory=list)

    def execute(self, steps: Sequence[Step], after: Callable[[Step], None]) -> int:
        """Carry out all steps; the number of those that had to be.

        Args:
            steps: All of a run's, in order.
            after: Called with each that had to be carried out, when it is done.

        Raises:
            InputError: As `Engine.execute`; or a process has died. What is finished stays
                finished, and what was going on beside it is continued by the next attempt.
        """
        finished: set[PurePosixPath] = set()
        done = 0
        try:
            while len(finished) < len(steps):
                running = {worker.step.folder for worker in self._workers if worker.step}
                free = len(running) < self.size
                step = next_step(steps, finished, running) if free else None
                if step is None:
                    for ended in self._listen():
                        self.engine.record(ended)
                        finished.add(ended.folder)
                        done += 1
                        after(ended)
                elif self.engine.state(step) == "finished":
                    done += self.engine.execute([step])
                    finished.add(step.folder)
                else:
                    self._give(step)
        finally:
            self.dismiss()
        return done

    def dismiss(self) -> None:
        """End all processes, those that work at once: what they have saved is kept."""
        for worker in self._workers:
            if worker.step is not None:
                worker.process.kill()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_PATIENCE)  # one that waits ends by itself, and tidies up
            worker.process.kill()
            worker.process.join()
        self._workers.clear()

    def _give(self, step: Step) -> None:
        worker = next((w for w in self._workers if w.step is None), None) or self._hire()
        worker.step = step
        with suppress(BrokenPipeError):  # its end is noticed when it is listened to
            worker.connection.send(step)

    def _hire(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), self.engine.run, dict(self.engine.outside))
        # Not a daemon: stages may have processes of their own. It ends with this one all the same.
        process = context.Process(target=_work, args=(*arguments, self.load_stages), daemon=False)
        before = os.environ.get(_THREADS)
        threads = int(before) if before and before.isdigit() else len(os.sched_getaffinity(0))
        os.environ[_THREADS] = str(max(1, threads // self.size))
        try:
            process.start()
        finally:
            if before is None:
                del os.environ[_THREADS]
            else:
                os.environ[_THREADS] = before
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _listen(self) -> list[Step]:
        """Pass on what the processes say; the steps that have ended meanwhile."""
        ended: list[Step] = []
        ready = wait([worker.connection for worker in self._workers])
        for worker in [w for w in self._workers if w.connection in ready]:
            step = worker.step
            if step is None:
                raise InputError("a process of the run has died while it had nothing to do")
            try:
                kind, *said = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                raise InputError(
                    f"the process has died (exit code {worker.process.exitcode})",
                    file=step.title,
                    remedy="it may have run out of memory; continue with: specdrive run "
                    f"{self.engine.run.path} --resume",
                ) from None
            if kind == "started":
                self.engine.observer.started(step, *said)
            elif kind == "progress":
                self.engine.observer.progress(step, *said)
            elif kind == "finished":
                self.engine.observer.finished(step, self.engine.target(step), *said)
                ended.append(step)
                worker.step = None
            else:
                raise _failure(*said)
        return ended


def _failure(fields: dict[str, Any] | None, text: str) -> Exception:
    if fields is None:
        return RuntimeError(f"a process of the run failed:\n{text}")
    problem = fields.pop("problem")
    return InputError(problem, **fields)


class _Reporter:
    """An observer at the other end of a pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._told = connection, 0.0

    def started(self, step: Step, resumed: bool) -> None:
        """Pass it on."""
        del step
        self._connection.send(("started", resumed))

    def progress(self, step: Step, what: str, done: int, total: int) -> None:
        """Pass it on, a few times a second."""
        del step
        now = time.monotonic()
        if now - self._told > _LOOK / 2 or done == total:
            self._told = now
            self._connection.send(("progress", what, done, total))

    def finished(self, step: Step, folder: Path, seconds: float, skipped: bool) -> None:
        """Pass it on."""
        del step, folder
        self._connection.send(("finished", seconds, skipped))


def _work(
    connection: Connection,
    parent: int,
    run: RunFolder,
    outside: dict[str, str],
    load_stages: LoadStages,
) -> None:
    """Carry out steps as they come, until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
    _end_with(parent)
    engine = Engine(run, load_stages(), outside, _Reporter(connection))
    while True:
        try:
            step = connection.recv()
        except EOFError:
            return
        try:
            engine.execute([step])
        except Exception as error:
            known = error if isinstance(error, InputError) else as_input_error(error, run.path)
            fields = None
            if known is not None:
                fields = {key: getattr(known, key) for key in ("problem", "place", "remedy")}
                fields["file"] = None if known.file is None else str(known.file)
            connection.send(("failed", fields, traceback.format_exc()))
            return


def _end_with(parent: int) -> None:
    """Nobody may go on working in a run whose lock has gone with the process that held it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
