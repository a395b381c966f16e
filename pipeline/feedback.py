"""What judges the answers to learn from: the model checker, a simulator, or both.

Held-out answers are not judged here: `pipeline.stages.evaluate` always asks the model checker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.config import RunConfig, SimulateConfig
from pipeline.evaluation import Checks, Judge, MakeChecks
from pipeline.simulated_checker import Evidence, Limits, SimulatedChecker
from pipeline.tasks import Task
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.rules import RuleBook
from verifier.semantics import Semantics, load_semantics
from verifier.verdicts import Report, Verdict
from verifier.vocabulary import Vocabulary, load_vocabulary
from worlds.load import shipped_worlds
from worlds.simulation.crew import Crew, Job
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode
from worlds.simulation.layout import layout_of
from worlds.simulation.registry import simulated_worlds

SECTIONS = ("feedback", "simulate")
"""Sections of a configuration that judging depends on, beside ``tasks``."""


@contextmanager
def judging(config: RunConfig) -> Iterator[Judge]:
    """The judge of a run; its processes, if it simulates, end with the block.

    Raises:
        InputError: Unknown vocabulary or semantics.
    """
    vocabulary = load_vocabulary(config.tasks.vocabulary)
    semantics = load_semantics(config.tasks.semantics)
    if config.feedback == "formal":
        yield Judge(vocabulary, semantics)
        return
    settings = config.simulate
    course = Course(semantics, settings.max_seconds)
    with Crew(course, vocabulary, workers=settings.workers) as crew:
        simulated = _simulated(crew, settings, semantics, vocabulary)
        if config.feedback == "simulated":
            yield Judge(vocabulary, semantics, make_checks=simulated)
            return
        formal = Judge(vocabulary, semantics)

        def both(world: str, rules: RuleBook) -> Checks:
            return BothChecks(formal.checker(world, rules), simulated(world, rules))

        yield Judge(vocabulary, semantics, make_checks=both)


def can_be_judged(task: Task, config: RunConfig, vocabulary: Vocabulary) -> bool:
    """Whether there is feedback on a task: by simulation, only where its world can be simulated."""
    return config.feedback == "formal" or can_be_simulated(
        task.world, config.simulate.simulator, vocabulary
    )


def can_be_simulated(world: str, simulator: str, vocabulary: Vocabulary) -> bool:
    """Whether a kind of simulator has a world, given as a shipped name or the path of its file."""
    if world in shipped_worlds():
        return f"{simulator}/{world}" in simulated_worlds()
    try:
        layout_of(world, vocabulary)
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class BothChecks:
    """What the model checker finds; where it finds no fault, what simulation finds.

    Attributes:
        formal: The model checker.
        simulated: The simulator.
    """

    formal: Checks
    simulated: Checks

    def check(self, controller: Controller, *, counterexamples: bool = True) -> Report:
        """The verdict of every specification."""
        proven = self.formal.check(controller, counterexamples=counterexamples)
        if not proven.clean:
            return proven
        seen = self.simulated.check(controller, counterexamples=counterexamples)
        verdicts = [
            other if other.value in ("violated", "unknown") else one
            for one, other in zip(proven.verdicts, seen.verdicts, strict=True)
        ]
        return _with_verdicts(proven, verdicts)

    def unknown(self, problems: Sequence[str]) -> Report:
        """The report on a text that could not be read."""
        return self.formal.unknown(problems)


def _with_verdicts(report: Report, verdicts: Sequence[Verdict]) -> Report:
    return Report(
        report.controller_hash,
        report.states,
        report.world,
        report.rules,
        report.semantics,
        tuple(verdicts),
    )


def _simulated(
    crew: Crew, settings: SimulateConfig, semantics: Semantics, vocabulary: Vocabulary
) -> MakeChecks:
    def drive(
        scenario: str, controller: Controller, seeds: Sequence[int]
    ) -> Sequence[Episode | None]:
        world = f"{settings.simulator}/{scenario}"
        driven = crew.drive([Job(world, controller, None, seed) for seed in seeds])
        return [one.result if isinstance(one.result, Episode) else None for one in driven]

    evidence = Evidence(drive, Limits(settings.episodes, settings.broken, settings.finished))

    def make(world: str, rules: RuleBook) -> Checks:
        propositions = layout_of(world, vocabulary).propositions
        return SimulatedChecker(world, propositions, rules, semantics, vocabulary, evidence)

    return make
