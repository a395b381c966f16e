"""Proof and experiment side by side: what the model checker says of the hand-written world, and
how often the traces of a simulated one violate it. Every difference is given its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from verifier.bindings import spot
from verifier.checker import DEFAULT_TIME_LIMIT, Checker
from verifier.rules import RuleBook
from verifier.transition_system import TransitionSystem
from verifier.verdicts import VerdictValue
from verifier.vocabulary import Vocabulary
from worlds.learned.boolean import holds_in
from worlds.learned.tracking import Break, Tracker
from worlds.learned.tracking import Kind as BreakKind
from worlds.simulation.campaign import Campaign
from worlds.simulation.episode import Episode
from worlds.simulation.judging import RuleRate, Sighting, before_place
from worlds.statistics import at_most

Kind = Literal["agrees", "never_seen", "disagrees", "not_judged"]
"""Equal; violated by proof and by no trace; proved and yet violated by a trace; nothing to compare
(inapplicable, undecided, or no episode)."""

Reason = Literal[
    "impossible_start",
    "impossible_label",
    "impossible_step",
    "misperceived",
    "behind_the_place",
    "collision",
    "unfair",
    "cut_off",
    "unexplained",
]

REASONS: dict[Reason, str] = {
    "impossible_start": "the trace starts with a label with which the scenario cannot start",
    "impossible_label": "the trace has a label that the scenario's invariants exclude",
    "impossible_step": "the trace has a step that the scenario does not allow",
    "misperceived": "the controller was told something else than what held",
    "behind_the_place": "the rule was broken by decisions made behind the place",
    "collision": "a collision ended the trace while something was still to be done",
    "unfair": "the trace ended before what the scenario's fairness assumption promises came",
    "cut_off": "the trace ended while something was still to be done",
    "unexplained": "the trace is one of the scenario: proof and experiment contradict each other",
}
"""What each reason means, in words."""

_DEPARTURES: dict[BreakKind, Reason] = {
    "start": "impossible_start",
    "label": "impossible_label",
    "step": "impossible_step",
}


@dataclass(frozen=True)
class Explanation:
    """Why traces violate what was proved.

    Attributes:
        reason: See `REASONS`.
        episodes: How many traces.
        example: The first of them: where the rule was broken.
        departure: Where that trace left the scenario, for the three impossible reasons: the
            labels before (None at the start) and after.
    """

    reason: Reason
    episodes: int
    example: Sighting
    departure: tuple[frozenset[str] | None, frozenset[str]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        out = {
            "reason": self.reason,
            "text": REASONS[self.reason],
            "episodes": self.episodes,
            "example": self.example.to_json(),
        }
        if self.departure is not None:
            before, after = self.departure
            out["departure"] = [None if before is None else sorted(before), sorted(after)]
        return out


@dataclass(frozen=True)
class Agreement:
    """One specification, proved and simulated.

    Attributes:
        rule: How often it was kept.
        formal: The verdict in the hand-written world.
        kind: How the two compare.
        bound: Where the violation was never seen: with 95 % confidence an episode violates it
            with at most this probability.
        explanations: Where they disagree, most frequent first.
    """

    rule: RuleRate
    formal: VerdictValue
    kind: Kind
    bound: float | None = None
    explanations: tuple[Explanation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The rule's rate and how it compares."""
        return {
            **self.rule.to_json(),
            "formal": self.formal,
            "agreement": self.kind,
            "violation_probability_at_most": self.bound,
            "explanations": [explanation.to_json() for explanation in self.explanations],
        }


def agreement(
    campaign: Campaign, vocabulary: Vocabulary, time_limit: float = DEFAULT_TIME_LIMIT
) -> tuple[Agreement, ...]:
    """Compare every rule of a campaign with its verdict in the hand-written world.

    Args:
        campaign: What was simulated.
        vocabulary: The domain.
        time_limit: Seconds per specification.
    """
    formal = formal_verdicts(campaign, vocabulary, time_limit)
    explain = _Explainer(campaign)
    return tuple(
        _compare(rule, verdict, explain)
        for rule, verdict in zip(campaign.rules, formal, strict=True)
    )


def summary(agreements: Iterable[Agreement]) -> dict[Kind, int]:
    """How many rules compare in which way."""
    counts = Counter(agreement.kind for agreement in agreements)
    kinds: tuple[Kind, ...] = get_args(Kind)
    return {kind: counts[kind] for kind in kinds}


def formal_verdicts(
    campaign: Campaign, vocabulary: Vocabulary, time_limit: float = DEFAULT_TIME_LIMIT
) -> tuple[VerdictValue, ...]:
    """The model checker's verdict on every rule of the campaign, in their order."""
    books: dict[str, list[RuleRate]] = {}
    for rule in campaign.rules:
        books.setdefault(rule.book, []).append(rule)
    verdicts: dict[tuple[str, str], VerdictValue] = {}
    for name, rules in books.items():
        book = RuleBook(name, tuple(rule.specification for rule in rules))
        checker = Checker(campaign.scenario, book, campaign.semantics, vocabulary, time_limit)
        report = checker.check(campaign.controller, counterexamples=False)
        verdicts |= {(name, verdict.id): verdict.value for verdict in report.verdicts}
    return tuple(verdicts[rule.book, rule.specification.id] for rule in campaign.rules)


def _compare(rule: RuleRate, formal: VerdictValue, explain: _Explainer) -> Agreement:
    if formal in ("inapplicable", "unknown") or not rule.judged:
        return Agreement(rule, formal, "not_judged")
    seen = rule.counts["violated"]
    if formal == "violated":
        if seen:
            return Agreement(rule, formal, "agrees")
        return Agreement(rule, formal, "never_seen", bound=at_most(0, rule.judged))
    if not seen:
        return Agreement(rule, formal, "agrees")
    return Agreement(rule, formal, "disagrees", explanations=explain(rule.violations))


class _Explainer:
    """Finds out why a trace violates what was proved."""

    def __init__(self, campaign: Campaign) -> None:
        self._episodes = {episode.seed: episode for episode in campaign.episodes}
        self._tracker = Tracker(campaign.scenario)
        self._promises = _promises(campaign.scenario)
        self._first_breaks: dict[int, Break | None] = {}

    def __call__(self, violations: Sequence[Sighting]) -> tuple[Explanation, ...]:
        reasons: list[Reason] = [self._reason(sighting) for sighting in violations]
        explanations = []
        counts: Counter[Reason] = Counter(reasons)
        for reason, count in counts.most_common():
            example = violations[reasons.index(reason)]
            left = reason in _DEPARTURES.values()
            departure = self._departure(example) if left else None
            explanations.append(Explanation(reason, count, example, departure))
        return tuple(explanations)

    def _reason(self, sighting: Sighting) -> Reason:
        episode = self._episodes[sighting.seed]
        decisions = episode.decisions
        last = len(decisions) - 1 if sighting.decision is None else sighting.decision
        left = self._first_break(episode)
        if left is not None and left.index <= last:
            return _DEPARTURES[left.kind]
        if any(decision.seen != decision.label for decision in decisions[: last + 1]):
            return "misperceived"
        if sighting.decision is None:
            return self._pending(episode)
        if last >= len(decisions) - episode.closing:
            return "behind_the_place"
        return "unexplained"

    def _pending(self, episode: Episode) -> Reason:
        if episode.outcome == "collision":
            return "collision"
        labels = before_place(episode)
        kept = all(any(holds_in(p, label) for label in labels) for p in self._promises)
        return "cut_off" if kept else "unfair"

    def _departure(self, sighting: Sighting) -> tuple[frozenset[str] | None, frozenset[str]]:
        episode = self._episodes[sighting.seed]
        left = self._first_break(episode)
        assert left is not None
        labels = before_place(episode)
        return (labels[left.index - 1] if left.index else None), labels[left.index]

    def _first_break(self, episode: Episode) -> Break | None:
        if episode.seed not in self._first_breaks:
            found = self._tracker.breaks(before_place(episode))
            self._first_breaks[episode.seed] = found[0] if found else None
        return self._first_breaks[episode.seed]


def _promises(world: TransitionSystem) -> tuple[str, ...]:
    """The Boolean p of every assumption GF p about the whole world."""
    found = []
    for assumption in world.assumptions:
        formula = spot.formula(" ".join(assumption.formula.split()))
        if assumption.states is None and formula._is(spot.op_G) and formula[0]._is(spot.op_F):
            inner = formula[0][0]
            if inner.is_boolean():
                found.append(str(inner))
    return tuple(found)
