"""What episodes say about a controller: how often each rule is kept, and how the car drove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from verifier.finite import TraceChecker, first_violation
from verifier.rules import RuleBook, Specification, load_rules, progress_specification
from verifier.transition_system import TransitionSystem
from verifier.verdicts import VerdictValue
from verifier.vocabulary import Vocabulary
from worlds.simulation.episode import Episode
from worlds.statistics import Rate, clopper_pearson, wilson

HARD_BRAKING = 4.0
"""Metres per second squared beyond which braking is counted as hard."""

TRACE_VERDICTS: tuple[VerdictValue, ...] = ("satisfied", "vacuous", "violated", "inapplicable")
"""The verdicts that a recorded run can get."""


@dataclass(frozen=True)
class Sighting:
    """Where something was seen first.

    Attributes:
        seed: Of the episode.
        decision: Index of the decision; None where something is only pending at the end.
        seconds: Simulated time of that decision, or of the end.
    """

    seed: int
    decision: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return vars(self).copy()


@dataclass(frozen=True)
class RuleRate:
    """How often a specification is satisfied by the traces (P_Φ of the paper).

    Attributes:
        book: Name of its rule book.
        specification: The rule.
        counts: Traces by verdict.
        rate: Share of the traces that satisfy it, vacuously or not, with Clopper and Pearson's
            95 % interval; without value where it does not apply.
        violations: One per violating trace, in order of the seeds.
    """

    book: str
    specification: Specification
    counts: dict[VerdictValue, int]
    rate: Rate
    violations: tuple[Sighting, ...]

    @property
    def judged(self) -> int:
        """Traces to which it applies."""
        return sum(self.counts.values()) - self.counts["inapplicable"]

    def to_json(self) -> dict[str, Any]:
        """Counts, P_Φ with both intervals, and the first violation."""
        held = self.counts["satisfied"] + self.counts["vacuous"]
        return {
            "book": self.book,
            "id": self.specification.id,
            "kind": self.specification.kind,
            "formula": self.specification.formula,
            "text": self.specification.text,
            **self.counts,
            "p": self.rate.to_json(),
            "p_wilson": wilson(held, self.judged).to_json(),
            "first_violation": self.violations[0].to_json() if self.violations else None,
        }


@dataclass(frozen=True)
class Driving:
    """What became of the car: shares of the episodes with Clopper and Pearson's 95 % intervals.

    Attributes:
        rates: Name -> share. ``finished``, ``elsewhere`` (another manoeuvre was made),
            ``unfinished`` (time ran out) and ``collision`` add up to one; ``collision_car``,
            ``collision_pedestrian``; ``hard_braking`` and ``others_hard_braking`` (beyond
            `HARD_BRAKING`); ``lawful`` (every rule of the road kept, progress left aside);
            ``success`` (lawful, and finished).
        seconds_to_finish: Mean simulated time of the finished ones; None if there are none.
        progress: Mean share of the way made; None without episodes.
    """

    rates: dict[str, Rate]
    seconds_to_finish: float | None
    progress: float | None

    def to_json(self) -> dict[str, Any]:
        """Rates as ``{"value", "low", "high"}``."""
        return {
            **{name: rate.to_json() for name, rate in self.rates.items()},
            "seconds_to_finish": self.seconds_to_finish,
            "progress": self.progress,
        }


@dataclass(frozen=True)
class ImpossibleLabel:
    """A label that was observed before the place and that no state of the scenario has.

    Attributes:
        label: What was observed.
        decisions: How often.
        share: Of all decisions made before the place.
        episodes: In how many episodes.
        first: Where it was seen first.
    """

    label: frozenset[str]
    decisions: int
    share: float
    episodes: int
    first: Sighting

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "label": sorted(self.label),
            "decisions": self.decisions,
            "share": self.share,
            "episodes": self.episodes,
            "first": self.first.to_json(),
        }


class EpisodeJudge:
    """Judges episodes in one simulated world by `road`, with the task's progress rule, and `paper`.

    Args:
        scenario: The hand-written world, which says what could be observed.
        task_action: The manoeuvre asked for; without one nothing has to be finished.
        vocabulary: The domain.
    """

    def __init__(
        self, scenario: TransitionSystem, task_action: str | None, vocabulary: Vocabulary
    ) -> None:
        self.scenario = scenario
        road = load_rules("road", vocabulary)
        self._laws = len(road.specifications)
        if task_action is not None:
            road = road.with_specification(progress_specification(task_action))
        self.books: tuple[RuleBook, RuleBook] = (road, load_rules("paper", vocabulary))
        self._checkers = [
            TraceChecker(book, vocabulary, scenario.propositions) for book in self.books
        ]
        self._labels = frozenset(scenario.labels)

    def lawful(self, episode: Episode) -> bool:
        """Whether every rule of the road is kept, progress left aside."""
        verdicts = self._checkers[0].check(episode.trace)[: self._laws]
        return all(verdict.value != "violated" for verdict in verdicts)

    def success(self, episode: Episode) -> bool:
        """Whether it is lawful and ends with the manoeuvre, and nothing is hit."""
        return episode.outcome == "finished" and self.lawful(episode)

    def rules(self, episodes: Sequence[Episode]) -> tuple[RuleRate, ...]:
        """Every rule of both books, in their order."""
        return tuple(
            rate
            for book, checker in zip(self.books, self._checkers, strict=True)
            for rate in _rates(book, checker, episodes)
        )

    def driving(self, episodes: Sequence[Episode]) -> Driving:
        """What became of the car."""
        tests: dict[str, Callable[[Episode], bool]] = {
            "finished": lambda e: e.outcome == "finished",
            "elsewhere": lambda e: e.outcome == "elsewhere",
            "unfinished": lambda e: e.outcome == "unfinished",
            "collision": lambda e: e.outcome == "collision",
            "collision_car": lambda e: e.status.collision == "car",
            "collision_pedestrian": lambda e: e.status.collision == "pedestrian",
            "hard_braking": lambda e: e.status.hardest_braking > HARD_BRAKING,
            "others_hard_braking": lambda e: e.status.others_hardest_braking > HARD_BRAKING,
            "lawful": self.lawful,
            "success": self.success,
        }
        times = [e.status.seconds for e in episodes if e.outcome == "finished"]
        return Driving(
            rates={
                name: clopper_pearson(sum(map(test, episodes)), len(episodes))
                for name, test in tests.items()
            },
            seconds_to_finish=fmean(times) if times else None,
            progress=fmean(e.status.progress for e in episodes) if episodes else None,
        )

    def impossible(self, episodes: Sequence[Episode]) -> tuple[ImpossibleLabel, ...]:
        """Labels that the scenario excludes, most frequent first."""
        times: Counter[frozenset[str]] = Counter()
        seen_in: Counter[frozenset[str]] = Counter()
        first: dict[frozenset[str], Sighting] = {}
        total = 0
        for episode in episodes:
            labels = before_place(episode)
            total += len(labels)
            strange = [label for label in labels if label not in self._labels]
            times.update(strange)
            seen_in.update(set(strange))
            for label in strange:
                index = labels.index(label)
                seconds = episode.decisions[index].seconds
                first.setdefault(label, Sighting(episode.seed, index, seconds))
        return tuple(
            ImpossibleLabel(label, count, count / total, seen_in[label], first[label])
            for label, count in sorted(times.items(), key=lambda item: (-item[1], sorted(item[0])))
        )


def before_place(episode: Episode) -> tuple[frozenset[str], ...]:
    """The labels of the decisions that were made before the place; behind it nothing is ahead."""
    count = len(episode.decisions) - episode.closing
    return tuple(decision.label for decision in episode.decisions[:count])


def _rates(
    book: RuleBook, checker: TraceChecker, episodes: Sequence[Episode]
) -> Iterable[RuleRate]:
    verdicts = [checker.check(episode.trace) for episode in episodes]
    for number, specification in enumerate(book.specifications):
        values = [row[number].value for row in verdicts]
        counted = Counter(values)
        counts: dict[VerdictValue, int] = {value: counted[value] for value in TRACE_VERDICTS}
        held = counts["satisfied"] + counts["vacuous"]
        violating = [e for e, value in zip(episodes, values, strict=True) if value == "violated"]
        yield RuleRate(
            book.name,
            specification,
            counts,
            clopper_pearson(held, held + counts["violated"]),
            tuple(_sighting(episode, specification.formula) for episode in violating),
        )


def _sighting(episode: Episode, formula: str) -> Sighting:
    index = first_violation(formula, episode.trace)
    if index is None:
        return Sighting(episode.seed, None, episode.status.seconds)
    return Sighting(episode.seed, index, episode.decisions[index].seconds)
