"""Carrying out the steps of a run: each once, skipped when unchanged, resumed when interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from pipeline.runs.failures import as_input_error
from pipeline.runs.folder import RunFolder
from pipeline.runs.manifest import Manifest, Recipe, damaged, read_manifest
from pipeline.runs.plan import Step, locate
from pipeline.runs.workspace import Workspace, discard_saved, timed
from pipeline.stages.context import Stage, StageContext
from verifier.errors import InputError

State = Literal["finished", "outdated", "missing"]


class Observer(Protocol):
    """Is told what happens, for the terminal."""

    def started(self, step: Step, resumed: bool) -> None:
        """A stage begins, or continues from saved state."""
        ...

    def progress(self, step: Step, what: str, done: int, total: int) -> None:
        """A stage that has begun has done so much."""
        ...

    def finished(self, step: Step, folder: Path, seconds: float, skipped: bool) -> None:
        """A stage's results are there; ``skipped`` if they were there already."""
        ...


class Tracker(Protocol):
    """Records a run elsewhere (see `pipeline.tracking`); it never stops one."""

    def stage_done(self, round: int | None, stage: str, folder: Path) -> None:
        """A stage's results are there; called again for the same results when a run resumes."""
        ...


class Silent:
    """An observer that says nothing."""

    def started(self, step: Step, resumed: bool) -> None:
        """Nothing."""

    def progress(self, step: Step, what: str, done: int, total: int) -> None:
        """Nothing."""

    def finished(self, step: Step, folder: Path, seconds: float, skipped: bool) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Engine:
    """Carries out steps of a run; hold the run's lock meanwhile.

    Attributes:
        run: The run.
        stages: Modules by name of stage.
        outside: Section -> hash of the files it names (see `surroundings.outside_inputs`).
        observer: Is told what happens.
        tracker: Is told what is finished.
    """

    run: RunFolder
    stages: Mapping[str, Stage]
    outside: Mapping[str, str]
    observer: Observer
    tracker: Tracker | None = None

    def execute(self, steps: Sequence[Step], *, force: bool = False) -> int:
        """Carry out the steps in order; the number of those that had to be.

        Args:
            steps: Whose inputs are finished or among them.
            force: Also those that are finished, whatever state they are in.

        Raises:
            InputError: An artefact is damaged, an input is missing, a stage refuses its input,
                the disk is full or memory is short. What is finished stays finished.
        """
        done = 0
        for step in steps:
            try:
                done += self._ensure(step, force)
            except Exception as error:
                known = as_input_error(error, self.run.path)
                if known is not None:
                    raise known from error
                if isinstance(error, InputError) and error.file is None:
                    raise error.located(step.title) from None
                raise
        return done

    def state(self, step: Step) -> State:
        """Whether a step's results are there and follow from what they would now be made of."""
        try:
            manifest = read_manifest(self.target(step))
            if manifest is None:
                return "missing"
            return "finished" if manifest.recipe == self._recipe(step) else "outdated"
        except InputError:
            return "outdated"

    def target(self, step: Step) -> Path:
        """The folder of a step's results."""
        return self.run.path / step.folder

    def check_inputs(self, step: Step) -> None:
        """Check that what a step needs is there and undamaged.

        Raises:
            InputError: It is not.
        """
        for place in step.inputs.values():
            folder, _ = locate(self.run.path, place)
            self._check_damage(folder, self._input_manifest(step, folder))

    def _ensure(self, step: Step, force: bool) -> bool:
        target = self.target(step)
        if force:  # results that are there stay until others replace them
            discard_saved(target)
        recipe = self._recipe(step)
        space = Workspace(target, recipe)
        space.recover()
        manifest = None if force else self._finished(target, recipe)
        if skipped := manifest is not None:
            self.observer.finished(step, target, manifest.seconds, True)
        else:
            manifest = self._carry_out(step, space)
            self.observer.finished(step, target, manifest.seconds, False)
        self.record(step)
        return not skipped

    def record(self, step: Step) -> None:
        """Tell the tracker that a step's results are there."""
        if self.tracker is not None:
            self.tracker.stage_done(step.round, step.stage, self.target(step))

    def _carry_out(self, step: Step, space: Workspace) -> Manifest:
        self.observer.started(step, space.begin())
        number = step.round if step.round is not None else step.config.rounds
        inputs = {name: self.run.path / place for name, place in step.inputs.items()}
        report = timed(partial(self.observer.progress, step), space)
        context = StageContext(step.config, number, inputs, space.work, report)
        self.stages[step.stage].run(context)
        return space.finish(step.config.seed, step.config.model.device)

    def _finished(self, target: Path, recipe: Recipe) -> Manifest | None:
        """The manifest of results that need not be made again.

        Raises:
            InputError: They would do, but are damaged.
        """
        try:
            manifest = read_manifest(target)
        except InputError as error:
            raise self._mend(target, Path(str(error.file)), error.problem) from None
        if manifest is None or manifest.recipe != recipe:
            return None
        self._check_damage(target, manifest)
        return manifest

    def _check_damage(self, folder: Path, manifest: Manifest) -> None:
        found = damaged(folder, manifest)
        if found is not None:
            raise self._mend(folder, *found)

    def _mend(self, folder: Path, file: Path, problem: str) -> InputError:
        parts = folder.relative_to(self.run.path).parts
        where = ""
        if parts[0].startswith("round-"):
            where = f" --round {int(parts[0].removeprefix('round-'))}"
        elif parts[0] == "variants":
            where = f" --variant {parts[1]}"
        again = f"specdrive stage {parts[-1]} --run {self.run.path}{where} --force"
        return InputError(problem, file=file, remedy=f"make it again with: {again}")

    def _recipe(self, step: Step) -> Recipe:
        module = self.stages[step.stage]
        inputs: dict[str, str] = {}
        for name, place in step.inputs.items():
            folder, below = locate(self.run.path, place)
            inputs[name] = self._input_manifest(step, folder).content_hash(below)
        for section, content in self.outside.items():
            if section in module.SECTIONS:
                inputs[section] = content
        config = step.config.sections(module.SECTIONS)
        return Recipe(step.stage, step.round or 0, inputs, config)

    def _input_manifest(self, step: Step, folder: Path) -> Manifest:
        manifest = read_manifest(folder)
        if manifest is None:
            raise InputError(
                f"{step.title} needs {folder.relative_to(self.run.path)}, which is not there yet",
                file=self.run.path,
                remedy=f"run that stage first, or everything: specdrive run {self.run.path} "
                "--resume",
            )
        return manifest
