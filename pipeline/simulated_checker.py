"""Verdicts from simulation, in the form in which the model checker gives them.

A controller is driven for a number of episodes. A rule is violated if the trace of one of them
breaks it, and that trace is its counterexample; so whatever learns from verdicts and
counterexamples learns from simulation, too. That no episode breaks a rule is evidence and no
proof: held-out tasks are always judged by the model checker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from verifier.canonical import canonical, controller_hash
from verifier.controller import Controller
from verifier.explanation import explain
from verifier.finite import check_trace
from verifier.lasso_evaluation import holds
from verifier.rules import RuleBook, Specification
from verifier.semantics import Semantics
from verifier.verdicts import Lasso, Moment, Report, Verdict, VerdictValue
from verifier.vocabulary import Vocabulary
from worlds.simulation.episode import Episode

DriveEpisodes = Callable[[str, Controller, Sequence[int]], Sequence[Episode | None]]
"""Episodes of a controller in a scenario, one per seed; None for one that was lost."""


@dataclass(frozen=True)
class Limits:
    """How much evidence is asked for.

    Attributes:
        episodes: Of a controller that breaks no rule.
        broken: Episodes with a fault after which a controller is given up.
        finished: Share of episodes in which the manoeuvre has to be made.
    """

    episodes: int
    broken: int
    finished: float


@dataclass
class Evidence:
    """Episodes by scenario and controller, driven when they are asked for.

    Attributes:
        drive: Drives them.
        limits: How many.
    """

    drive: DriveEpisodes
    limits: Limits
    _known: dict[tuple[str, str], tuple[Episode | None, ...]] = field(default_factory=dict)

    def of(
        self, scenario: str, controller: Controller, faulty: Callable[[Episode], bool]
    ) -> tuple[Episode | None, ...]:
        """Episodes with the seeds 0, 1, ...: all of them, or enough to see what is wrong.

        Args:
            scenario: Where.
            controller: Equivalent ones share their episodes.
            faulty: Whether an episode tells against the controller.
        """
        key = (scenario, controller_hash(controller))
        found = list(self._known.get(key, ()))
        limits = self.limits
        while len(found) < limits.episodes:
            faults = sum(episode is not None and faulty(episode) for episode in found)
            if faults >= limits.broken:
                break
            more = min(limits.broken - faults, limits.episodes - len(found))
            found += self.drive(scenario, controller, range(len(found), len(found) + more))
        self._known[key] = tuple(found)
        return self._known[key]


@dataclass(frozen=True)
class SimulatedChecker:
    """Checks controllers against one rule book in one simulated world.

    Attributes:
        scenario: Of which world.
        propositions: What can be observed there.
        rules: The rule book; a progress rule at its end names the manoeuvre to be made.
        semantics: The profile.
        vocabulary: The domain.
        evidence: Where episodes come from; shared by the checkers of a scenario.
    """

    scenario: str
    propositions: tuple[str, ...]
    rules: RuleBook
    semantics: Semantics
    vocabulary: Vocabulary
    evidence: Evidence

    def check(self, controller: Controller, *, counterexamples: bool = True) -> Report:
        """The verdict of every specification; violated ones with a trace if it shows why.

        Rules that no episode breaks stay ``unknown`` while episodes are missing.
        """
        drawn = self.evidence.of(self.scenario, controller, self._faulty)
        episodes = [episode for episode in drawn if episode is not None]
        judged = [self._verdicts(episode) for episode in episodes]
        verdicts = [
            self._verdict(index, specification, episodes, judged, len(drawn))
            for index, specification in enumerate(self.rules.specifications)
        ]
        if counterexamples:
            verdicts = [
                self._explained(verdict, specification, episodes, judged, controller)
                for verdict, specification in zip(verdicts, self.rules.specifications, strict=True)
            ]
        return Report(
            controller_hash=controller_hash(controller),
            states=canonical(controller).num_states,
            world=self.scenario,
            rules=self.rules.name,
            semantics=self.semantics,
            verdicts=tuple(verdicts),
        )

    def unknown(self, problems: Sequence[str]) -> Report:
        """The report on a text that could not be read: every verdict is ``unknown``."""
        reason = problems[0] if problems else "not read"
        verdicts = tuple(
            Verdict(s.id, s.formula, "unknown", reason=reason) for s in self.rules.specifications
        )
        return Report(
            None, None, self.scenario, self.rules.name, self.semantics, verdicts, tuple(problems)
        )

    def _verdicts(self, episode: Episode) -> tuple[VerdictValue, ...]:
        values: list[VerdictValue] = [
            verdict.value
            for verdict in check_trace(
                episode.trace, self.rules, self.vocabulary, self.propositions
            )
        ]
        for index, specification in enumerate(self.rules.specifications):
            manoeuvre = _manoeuvre(specification)
            if manoeuvre is not None:
                made = episode.status.collision is None and episode.status.manoeuvre == manoeuvre
                values[index] = "satisfied" if made else "violated"
        return tuple(values)

    def _faulty(self, episode: Episode) -> bool:
        return "violated" in self._verdicts(episode)

    def _verdict(
        self,
        index: int,
        specification: Specification,
        episodes: Sequence[Episode],
        judged: Sequence[tuple[VerdictValue, ...]],
        asked: int,
    ) -> Verdict:
        name, text = specification.id, specification.formula
        values = [row[index] for row in judged]
        count, broken = len(episodes), values.count("violated")
        limits = self.evidence.limits
        allowed = (1 - limits.finished) * count if _manoeuvre(specification) else 0
        if "inapplicable" in values:
            reason = f"{self.scenario} does not have {specification.applies_if}"
            return Verdict(name, text, "inapplicable", reason=reason)
        if broken > allowed:
            return Verdict(name, text, "violated", reason=f"in {broken} of {count} episodes")
        if count < asked:
            lost = asked - count
            return Verdict(name, text, "unknown", reason=f"{lost} of {asked} episodes were lost")
        value: VerdictValue = "satisfied" if "satisfied" in values else "vacuous"
        return Verdict(name, text, value, reason=f"in {count - broken} of {count} episodes")

    def _explained(
        self,
        verdict: Verdict,
        specification: Specification,
        episodes: Sequence[Episode],
        judged: Sequence[tuple[VerdictValue, ...]],
        controller: Controller,
    ) -> Verdict:
        if verdict.value != "violated":
            return verdict
        index = self.rules.specifications.index(specification)
        runs = [
            as_lasso(episode)
            for episode, row in zip(episodes, judged, strict=True)
            if row[index] == "violated"
        ]
        shown = [run for run in runs if not _holds(specification.formula, run)]
        if not shown:  # pending at the end of a trace, or broken by what is no letter: a collision
            return verdict
        run = min(shown, key=lambda lasso: len(lasso.prefix) + len(lasso.cycle))
        text = explain(
            run, specification, self.vocabulary, controller.steps, final=controller.final
        )
        return Verdict(verdict.id, verdict.formula, "violated", run, text, verdict.reason)


def as_lasso(episode: Episode) -> Lasso:
    """An episode as a run that goes on for ever.

    What was finished ends with the car standing as it does in the last letter; what was not goes
    on as it has gone since the controller was last in the state in which time ran out.
    """
    moments = tuple(
        Moment(f"{d.seconds:g} s", tuple(sorted(d.label)), d.action, d.step, d.state)
        for d in episode.decisions
    )
    last = len(moments) - 1
    start = last
    if episode.outcome == "unfinished":
        same = (i for i in range(last - 1, -1, -1) if moments[i].state == moments[last].state)
        start = next(same, last - 1) + 1
    return Lasso(moments[:start], moments[start:])


def _holds(formula: str, run: Lasso) -> bool:
    return holds(formula, [m.letter for m in run.prefix], [m.letter for m in run.cycle])


def _manoeuvre(specification: Specification) -> str | None:
    """Of a task's progress rule, what is to be done."""
    prefix, _, action = specification.id.partition("progress_")
    return action if action and not prefix else None
