"""What perception does to a controller: P_Φ, time and collisions through several eyes.

All conditions are driven with the same seeds, so differences from perfect perception are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from verifier.controller import Controller
from verifier.finite import TraceChecker
from verifier.rules import RuleBook
from verifier.semantics import Semantics
from verifier.vocabulary import Vocabulary
from worlds.perception.bounds import Divergence, Risk, before_place, diverged, mean_divergence
from worlds.perception.eyes import Eyes, Gaze, seen_through
from worlds.perception.noise import NoiseModel
from worlds.simulation.driver import Course, drive
from worlds.simulation.episode import Episode
from worlds.simulation.interface import Simulator
from worlds.statistics import Rate, wilson


@dataclass(frozen=True)
class Sight:
    """How scenes are seen.

    Attributes:
        name: For tables.
        eyes: None for the truth.
        band: Half the width of the band in which the car stops and looks again.
        model: The noise, if it is known or estimated: bounds are worked out from it.
    """

    name: str
    eyes: Eyes | None = None
    band: float = 0.0
    model: NoiseModel | None = None


PERFECT = Sight("truth")
"""The controller is told the truth."""


@dataclass(frozen=True)
class Driven:
    """One episode, judged.

    Attributes:
        episode: As driven.
        violated: Specifications that its trace violates.
        hesitations: Decisions at which the car stopped because it was unsure.
        errors: Decisions at which some observable proposition was misperceived.
        differs: Whether some decision was another than under the truth.
    """

    episode: Episode
    violated: frozenset[str]
    hesitations: int
    errors: int
    differs: bool


@dataclass(frozen=True)
class Setting:
    """What does not change between conditions.

    Attributes:
        simulator: Is used for all episodes in turn.
        controller: Who drives.
        action: The manoeuvre asked for; None if any will do.
        course: Without eyes: semantics and time limit.
        rules: By which traces are judged.
        vocabulary: The domain.
    """

    simulator: Simulator
    controller: Controller
    action: str | None
    course: Course
    rules: RuleBook
    vocabulary: Vocabulary

    @property
    def semantics(self) -> Semantics:
        """Under which the controller runs."""
        return self.course.semantics


@dataclass(frozen=True)
class Effect:
    """A controller under one condition.

    Attributes:
        condition: The condition's name.
        band: Its band.
        episodes: Number of episodes.
        satisfied: P_Φ of every specification that applies, with Wilson's interval.
        change: Its difference from perfect perception with the paired interval.
        unviolated: Share of episodes that violate none of them.
        finished: Share of episodes in which the manoeuvre was made.
        collisions: Share of episodes that ended in a collision.
        seconds: Mean time of an episode, and half its 95 % interval; unfinished ones count in
            full.
        hesitations: Mean number per episode.
        errors: Share of decisions at which something was misperceived.
        differs: Share of runs with a decision other than under the truth: P(D).
        divergence: Bounds on P(D) from the noise model; None without one or with a band.
        lowest: Lower bound of P_Φ: P_Φ under the truth less the bound ``choice``.
        letters: Upper bound on P(violated) of specifications G b, likewise.
    """

    condition: str
    band: float
    episodes: int
    satisfied: dict[str, Rate]
    change: dict[str, Rate]
    unviolated: Rate
    finished: Rate
    collisions: Rate
    seconds: tuple[float, float]
    hesitations: float
    errors: float
    differs: Rate
    divergence: Divergence | None = None
    lowest: dict[str, float] = field(default_factory=dict)
    letters: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "condition": self.condition,
            "band": self.band,
            "episodes": self.episodes,
            "p_phi": {k: r.to_json() for k, r in self.satisfied.items()},
            "change": {k: r.to_json() for k, r in self.change.items()},
            "violates_nothing": self.unviolated.to_json(),
            "finished": self.finished.to_json(),
            "collisions": self.collisions.to_json(),
            "seconds": {"mean": self.seconds[0], "margin": self.seconds[1]},
            "hesitations": self.hesitations,
            "decisions_with_errors": self.errors,
            "differs": self.differs.to_json(),
            "bound": None if self.divergence is None else vars(self.divergence),
            "p_phi_at_least": self.lowest,
            "violated_at_most": self.letters,
        }


def drive_all(
    setting: Setting,
    sight: Sight,
    seeds: Sequence[int],
    done: Callable[[int], None] | None = None,
) -> list[Driven]:
    """Drive and judge one episode per seed.

    Args:
        setting: The controller in its world.
        sight: How it sees.
        seeds: Of the episodes; the noise of an episode is seeded by the same number.
        done: Called with 1 after every episode.

    Raises:
        InputError: The simulator observes what is not among its propositions.
    """
    checker = TraceChecker(setting.rules, setting.vocabulary, setting.simulator.propositions)
    driven = []
    for seed in seeds:
        course, gaze = setting.course, None
        if sight.eyes is not None:
            course, gaze = seen_through(course, sight.eyes, seed, sight.band)
        episode = drive(setting.simulator, setting.controller, setting.action, seed, course)
        driven.append(_judged(setting, checker, episode, gaze))
        if done is not None:
            done(1)
    return driven


def _judged(setting: Setting, checker: TraceChecker, episode: Episode, gaze: Gaze | None) -> Driven:
    verdicts = checker.check(episode.trace)
    return Driven(
        episode,
        frozenset(v.id for v in verdicts if v.value == "violated"),
        gaze.hesitations if gaze is not None else 0,
        sum(d.label != d.seen for d in episode.decisions),
        diverged(episode, setting.controller, setting.semantics),
    )


def effect_of(
    setting: Setting, sight: Sight, driven: Sequence[Driven], truthful: Sequence[Driven]
) -> Effect:
    """Sum up episodes of one condition.

    Args:
        setting: The controller in its world.
        sight: Under which ``driven`` was driven.
        driven: One episode per seed.
        truthful: Those of perfect perception, with the same seeds.
    """
    count = len(driven)
    present = setting.simulator.propositions
    names = [s.id for s in setting.rules.specifications if s.applies_to(present)]

    def share(chosen: Callable[[Driven], bool]) -> Rate:
        return wilson(sum(map(chosen, driven)), count)

    satisfied = {name: share(lambda d, n=name: n not in d.violated) for name in names}
    divergence, lowest, letters = None, {}, {}
    if sight.model is not None and sight.band == 0:
        risk = Risk(setting.controller, setting.semantics, sight.model, present, setting.rules)
        divergence = mean_divergence(risk.divergence(d.episode) for d in truthful)
        for name in names:
            held = sum(name not in d.violated for d in truthful) / count
            lowest[name] = max(0.0, held - divergence.choice)
        if sight.model.correlation_seconds == 0:
            rows = [risk.bad_letters(d.episode) for d in driven]
            letters = {n: sum(row[n] for row in rows) / count for n in names if n in rows[0]}
    decisions = sum(len(before_place(d.episode)) for d in driven)
    return Effect(
        sight.name,
        sight.band,
        count,
        satisfied,
        {name: _change(name, driven, truthful) for name in names},
        share(lambda d: not d.violated),
        share(lambda d: d.episode.outcome == "finished"),
        share(lambda d: d.episode.outcome == "collision"),
        _mean([d.episode.status.seconds for d in driven]),
        sum(d.hesitations for d in driven) / count,
        sum(d.errors for d in driven) / max(decisions, 1),
        share(lambda d: d.differs),
        divergence,
        lowest,
        letters,
    )


def _change(name: str, driven: Sequence[Driven], truthful: Sequence[Driven]) -> Rate:
    pairs = [
        (name not in a.violated, name not in b.violated)
        for a, b in zip(driven, truthful, strict=True)
    ]
    gained = sum(now and not then for now, then in pairs)
    lost = sum(then and not now for now, then in pairs)
    return paired_difference(gained, lost, len(pairs))


def paired_difference(gained: int, lost: int, pairs: int) -> Rate:
    """Difference of two proportions of the same episodes (Agresti and Min 2005).

    Wald's interval after half an observation is added to each of the four cells.

    Args:
        gained: Pairs that have it in the first only.
        lost: Pairs that have it in the second only.
        pairs: All pairs, at least one.
    """
    up, down, n = gained + 0.5, lost + 0.5, pairs + 2
    middle = (up - down) / n
    reach = 1.959964 * sqrt(max(up + down - (up - down) ** 2 / n, 0.0)) / n
    value = (gained - lost) / pairs
    return Rate(value, max(-1.0, min(value, middle - reach)), min(1.0, max(value, middle + reach)))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, float("inf")
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, 1.959964 * sqrt(variance / len(values))
