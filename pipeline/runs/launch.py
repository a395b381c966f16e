"""Starting and continuing runs: the folder, its lock, the engine, the record and the report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.config_files import load_config
from pipeline.runs.crew import Crew
from pipeline.runs.engine import Engine, Tracker
from pipeline.runs.failures import as_input_error, orderly_termination
from pipeline.runs.folder import (
    RUNS,
    RunFolder,
    forget,
    is_empty,
    is_run,
    locked,
    make_run,
    open_run,
    reconfigure,
)
from pipeline.runs.plan import ROUND, Step, plan, shipped_stages
from pipeline.runs.surroundings import outside_inputs
from pipeline.runs.view import run_view, stage_view
from pipeline.stages import quantize
from verifier.errors import InputError


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: Its folder.
        steps: All of its steps.
        carried_out: How many of them had to be carried out this time.
        report: The report's page; None if it could not be written.
        store: Address of the MLflow store; None if nothing is tracked.
    """

    run: RunFolder
    steps: tuple[Step, ...]
    carried_out: int
    report: Path | None
    store: str | None


def carry_out(
    config: RunConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    tracking_uri: str | None = None,
) -> Outcome:
    """Make a run, or continue one, until it is complete; show it on the terminal meanwhile.

    Args:
        config: What it consists of. When a run continues with another configuration, only what
            depends on the sections that differ is done again.
        folder: The run's folder; by default one in `RUNS` called as the configuration.
        resume: Continue the run that is there; without one, start.
        tracking_uri: In place of the configuration's.

    The report is written anew after every round. Neither it nor the record in the tracking store
    can make a run fail: what goes wrong there is one line on stderr.

    Raises:
        InputError: The folder is taken; the model or a file cannot be loaded; a stage fails for
            a reason that the user can mend.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what is finished is kept.
    """
    path = folder if folder is not None else RUNS / config.name
    stages = shipped_stages()
    steps = plan(config, stages)
    with orderly_termination(), locked(path):
        try:
            _admit(path, resume)
            outside = outside_inputs(config)
            if config.quantize.enabled:
                quantize.check(config)
            run = reconfigure(open_run(path), config) if is_run(path) else make_run(path, config)
        except InputError as error:
            raise as_input_error(error, path) or error from None
        finally:
            forget(path)
        with (
            _tracked(run, tracking_uri) as tracker,
            run_view(config.name, path, steps) as observer,
        ):
            engine = Engine(run, stages, outside, observer, tracker)
            if config.workers > 1:
                carried_out = _side_by_side(engine, steps)
            else:
                carried_out = _one_by_one(engine, steps)
            page = _report(path)
    return Outcome(run, steps, carried_out, page, _store(run, tracking_uri))


def _one_by_one(engine: Engine, steps: Sequence[Step]) -> int:
    groups = [tuple(group) for _, group in groupby(steps, key=lambda step: step.folder.parent)]
    carried_out = 0
    for number, group in enumerate(groups):
        changed = engine.execute(group)
        carried_out += changed
        if changed and number < len(groups) - 2:  # the last round and select end together
            _report(engine.run.path)
    return carried_out


def _side_by_side(engine: Engine, steps: Sequence[Step]) -> int:
    def after(step: Step) -> None:
        if step.stage == ROUND[-1]:
            _report(engine.run.path)

    return Crew(engine, shipped_stages, engine.run.config.workers).execute(steps, after)


def prepare(config: str | Path, overrides: Sequence[str], folder: Path) -> RunFolder:
    """Make a run's folder without carrying anything out, or open the one that is there.

    Raises:
        InputError: The configuration is wrong, or another one than that of the run there.
    """
    settings = load_config(config, overrides)
    with locked(folder):
        try:
            _admit(folder, resume=True)
            run = open_run(folder) if is_run(folder) else make_run(folder, settings)
        finally:
            forget(folder)
    if run.config != settings:
        raise InputError(
            "the run has another configuration",
            file=folder,
            remedy=f"leave --config out, or change it with: specdrive run {config} --dir {folder} "
            "--resume",
        )
    return run


def carry_out_stage(
    run: RunFolder, step: Step, *, force: bool = False, tracking_uri: str | None = None
) -> bool:
    """Carry out one step of a run; False if its results were there already.

    Raises:
        InputError: As `carry_out`, or what the step needs is not there.
    """
    stages = shipped_stages()
    with orderly_termination(), locked(run.path):
        outside = outside_inputs(run.config)
        with _tracked(run, tracking_uri) as tracker, stage_view(run.config.name, step) as observer:
            engine = Engine(run, stages, outside, observer, tracker)
            engine.check_inputs(step)
            return bool(engine.execute([step], force=force))


def _admit(path: Path, resume: bool) -> None:
    """Check that a run may be made or continued in a folder."""
    if not is_run(path) and not is_empty(path):
        raise InputError(
            "is not empty and holds no run", file=path, remedy="choose another folder with --dir"
        )
    if is_run(path) and not resume:
        raise InputError(
            "there is a run in this folder already",
            file=path,
            remedy="continue it with --resume, or choose another --name or --dir",
        )


def _report(run: Path) -> Path | None:
    """Write the report's page; None, with a line on stderr, if that cannot be done."""
    try:
        from pipeline.run_report import write_report

        return write_report(run)
    except Exception as error:  # a picture must not cost a night of training
        again = f"once that is mended: specdrive run {run} --resume"
        _warn(f"the report could not be written ({_reason(error)}); {again}")
        return None


@dataclass
class _Unfailing:
    """A tracker whose own failures do not stop a run; the first of them is told."""

    record: Tracker
    run: Path
    failed: bool = False

    def stage_done(self, round: int | None, stage: str, folder: Path) -> None:
        """Pass it on."""
        try:
            self.record.stage_done(round, stage, folder)
        except Exception as error:
            if not self.failed:
                _warn(f"tracking failed ({_reason(error)}); later: specdrive runs sync {self.run}")
            self.failed = True


@contextmanager
def _tracked(run: RunFolder, uri: str | None) -> Iterator[Tracker | None]:
    """A record of the run in the tracking store, closed as finished or as failed."""
    if not run.config.tracking.enabled:
        yield None
        return
    from pipeline.tracking import Tracker as Record

    changed = {"uri": uri} if uri is not None else {}
    tracking = run.config.tracking.model_copy(update=changed)
    record = Record()
    record.start(run.path, run.config.model_copy(update={"tracking": tracking}))
    try:
        yield _Unfailing(record, run.path)
    except BaseException:  # an interrupted run must not look as if it went on
        record.finish(failed=True)
        raise
    record.finish()


def _store(run: RunFolder, uri: str | None) -> str | None:
    if not run.config.tracking.enabled:
        return None
    from pipeline.tracking.connection import resolve_uri, without_password

    return without_password(resolve_uri(uri or run.config.tracking.uri))


def _reason(error: Exception) -> str:
    """The first line of an error's text, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _warn(line: str) -> None:
    print(f"specdrive: {line}", file=sys.stderr, flush=True)
