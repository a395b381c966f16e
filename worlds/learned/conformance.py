"""Recordings against a hand-written scenario: what it excludes, and what it only imagines."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from verifier.errors import InputError
from verifier.transition_system import TransitionSystem
from worlds.learned.faults import Fault, Rule, label_fault, step_fault, valuation
from worlds.learned.recordings import Label, Recording, check_compatible
from worlds.learned.tracking import Break, Kind, Tracker
from worlds.learned.unseen import Pattern, label_patterns, step_patterns
from worlds.scenario import ByRule, Scenario, UnionOf


@dataclass(frozen=True)
class Example:
    """Where it happened.

    Attributes:
        world: The simulator.
        driver: Who drove.
        seed: Of the episode.
        seconds: Simulated time of the label that the scenario excludes.
        before: The label before; None at the start.
        label: The label that the scenario excludes there.
    """

    world: str
    driver: str
    seed: int
    seconds: float
    before: Label | None
    label: Label


@dataclass(frozen=True)
class Exclusion:
    """Something recorded that the scenario excludes, for one and the same reason.

    Attributes:
        kind: A label, a first label, or a step.
        fault: The rules at fault (alternatives).
        times: How often it was recorded.
        episodes: In how many episodes.
        examples: The distinct (before, label) pairs, most frequent first, with their counts.
    """

    kind: Kind
    fault: Fault
    times: int
    episodes: int
    examples: tuple[tuple[Example, int], ...]


@dataclass(frozen=True)
class Conformance:
    """How recordings and a scenario agree.

    Attributes:
        scenario: Its name.
        episodes: Recorded episodes.
        conforming: Episodes that the scenario allows from beginning to end.
        steps: Recorded steps.
        exclusions: What was recorded and is excluded, most frequent first.
        long_steps: Recorded steps that are possible only as several: a manoeuvre took its time, and
            the world went on meanwhile. A controller that is verified step by step never meets
            them.
        ignored: Propositions recorded that the scenario does not speak about; they were left out.
        modelled_labels: Distinct labels of the scenario.
        seen_labels: Of these, recorded.
        modelled_steps: Distinct pairs of labels that follow each other in the scenario.
        seen_steps: Of these, recorded.
        unseen_labels: The others, in the scenario's order.
        unseen_steps: Likewise.
        never_together: What explains most of the labels never seen.
        never_followed: What explains most of the steps never seen, between labels that were.
    """

    scenario: str
    episodes: int
    conforming: int
    steps: int
    exclusions: tuple[Exclusion, ...]
    long_steps: int
    ignored: tuple[str, ...]
    modelled_labels: int
    seen_labels: int
    modelled_steps: int
    seen_steps: int
    unseen_labels: tuple[Label, ...]
    unseen_steps: tuple[tuple[Label, Label], ...]
    never_together: tuple[Pattern, ...]
    never_followed: tuple[Pattern, ...]

    @property
    def excluded_steps(self) -> int:
        """Times that something was recorded which the scenario excludes."""
        return sum(e.times for e in self.exclusions)

    @property
    def relief(self) -> tuple[tuple[Rule, int], ...]:
        """For each rule at fault, how much of that would be possible without it, most first."""
        without: Counter[Rule] = Counter()
        for exclusion in self.exclusions:
            for rules in exclusion.fault:
                without.update({rules[0]: exclusion.times} if len(rules) == 1 else {})
        return tuple(without.most_common())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = ("scenario", "episodes", "conforming", "steps", "long_steps", "modelled_labels")
        return {
            **{
                key: getattr(self, key)
                for key in (*plain, "seen_labels", "modelled_steps", "seen_steps")
            },
            "ignored": list(self.ignored),
            "excluded_steps": self.excluded_steps,
            "relief": [{"rule": str(rule), "times": times} for rule, times in self.relief],
            "exclusions": [_exclusion_json(e) for e in self.exclusions],
            "unseen_labels": [sorted(label) for label in self.unseen_labels],
            "unseen_steps": [[sorted(a), sorted(b)] for a, b in self.unseen_steps],
            "never_together": [_pattern_json(p) for p in self.never_together],
            "never_followed": [_pattern_json(p) for p in self.never_followed],
        }


def conform(
    recordings: Sequence[Recording], scenario: Scenario, world: TransitionSystem
) -> Conformance:
    """Follow every recording in the world of a scenario.

    Args:
        recordings: At least one.
        scenario: As its file has it, for the rules.
        world: Its transition system.

    Raises:
        InputError: The recordings lack a proposition of the world, or it is a union.
    """
    check_compatible(recordings)
    if isinstance(scenario.body, UnionOf):
        raise InputError(
            f"{scenario.name} is a union of scenarios", remedy="compare with one of its members"
        )
    lacking = [p for p in world.propositions if p not in recordings[0].propositions]
    if lacking:
        raise InputError(
            f"the recordings do not say whether there was {lacking[0]}, as {scenario.name} asks",
            remedy="compare with the scenario of the recorded world",
        )
    known = frozenset(world.propositions)
    body = scenario.body if isinstance(scenario.body, ByRule) else None
    tracker = Tracker(world)
    found: list[tuple[Break, Fault, Example]] = []
    labels: Counter[Label] = Counter()
    steps: Counter[tuple[Label, Label]] = Counter()
    conforming = long_steps = 0
    for recording in recordings:
        sequence = [label & known for label in recording.labels]
        labels.update(sequence)
        steps.update(itertools.pairwise(sequence))
        breaks = tracker.breaks(sequence, recording.periods)
        long = [b for b in breaks if b.kind == "long"]
        long_steps += len(long)
        conforming += len(breaks) == len(long)
        for broken in breaks:
            if broken.kind == "long":
                continue
            fault = _fault(world, body, broken, sequence[broken.index])
            found.append((broken, fault, _example(recording, broken.index, sequence)))
    modelled = dict.fromkeys(world.labels)
    pairs = {
        (world.labels[i], world.labels[j]): None
        for i, row in enumerate(world.successors)
        for j in row
    }
    between_seen = [pair for pair in pairs if pair[0] in labels and pair[1] in labels]
    unseen_labels = tuple(label for label in modelled if label not in labels)
    unseen_steps = tuple(pair for pair in pairs if pair not in steps)
    return Conformance(
        scenario=world.name,
        episodes=len(recordings),
        conforming=conforming,
        steps=sum(r.steps for r in recordings),
        exclusions=_grouped(found),
        long_steps=long_steps,
        ignored=tuple(p for p in recordings[0].propositions if p not in known),
        modelled_labels=len(modelled),
        seen_labels=len(modelled) - len(unseen_labels),
        modelled_steps=len(pairs),
        seen_steps=len(pairs) - len(unseen_steps),
        unseen_labels=unseen_labels,
        unseen_steps=unseen_steps,
        never_together=label_patterns(list(modelled), list(labels), world.propositions),
        never_followed=step_patterns(between_seen, list(steps), world.propositions),
    )


def _fault(world: TransitionSystem, body: ByRule | None, broken: Break, label: Label) -> Fault:
    if body is None or broken.kind == "start":
        return ()
    if broken.kind == "label":
        return label_fault(body, label)
    hidden = frozenset(body.hidden)
    return step_fault(body, (valuation(world, i, hidden) for i in broken.before), label)


def _example(recording: Recording, index: int, sequence: Sequence[Label]) -> Example:
    before = sequence[index - 1] if index else None
    seconds = recording.seconds[index]
    return Example(
        recording.world, recording.driver, recording.seed, seconds, before, sequence[index]
    )


def _grouped(found: Sequence[tuple[Break, Fault, Example]]) -> tuple[Exclusion, ...]:
    groups: defaultdict[tuple[Kind, Fault], list[Example]] = defaultdict(list)
    for broken, fault, example in found:
        groups[broken.kind, fault].append(example)
    exclusions = [
        Exclusion(
            kind=kind,
            fault=fault,
            times=len(examples),
            episodes=len({(e.world, e.driver, e.seed) for e in examples}),
            examples=_distinct(examples),
        )
        for (kind, fault), examples in groups.items()
    ]
    return tuple(sorted(exclusions, key=lambda e: -e.times))


def _distinct(examples: Sequence[Example]) -> tuple[tuple[Example, int], ...]:
    counts = Counter((e.before, e.label) for e in examples)
    first = {(e.before, e.label): e for e in reversed(examples)}
    return tuple((first[pair], count) for pair, count in counts.most_common())


def _exclusion_json(exclusion: Exclusion) -> dict[str, Any]:
    return {
        "kind": exclusion.kind,
        "rules": [[str(rule) for rule in rules] for rules in exclusion.fault],
        "times": exclusion.times,
        "episodes": exclusion.episodes,
        "examples": [
            {
                "world": e.world,
                "driver": e.driver,
                "seed": e.seed,
                "seconds": e.seconds,
                "before": None if e.before is None else sorted(e.before),
                "label": sorted(e.label),
                "times": count,
            }
            for e, count in exclusion.examples
        ],
    }


def _pattern_json(pattern: Pattern) -> dict[str, Any]:
    return {
        "literals": [name if value else f"!{name}" for name, value in pattern.literals],
        "explains": pattern.explains,
    }
