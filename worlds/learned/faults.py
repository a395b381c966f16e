"""Which rule of a hand-written scenario excludes what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from verifier.transition_system import TransitionSystem
from worlds.learned.boolean import holds_between, holds_in
from worlds.learned.recordings import Label
from worlds.scenario import ByRule


@dataclass(frozen=True, order=True)
class Rule:
    """A rule of a scenario file.

    Attributes:
        kind: The list it stands in.
        number: Its place there, from 1.
        text: The formula.
    """

    kind: Literal["invariant", "step"]
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.text}"


Fault = tuple[tuple[Rule, ...], ...]
"""Alternatives, each of which explains it: rules that together exclude what was recorded. Without
one of the alternatives' rules it would be possible. Empty for a scenario that has no rules."""


def rules_of(body: ByRule) -> tuple[Rule, ...]:
    """The invariants and step rules, numbered, each on one line."""
    return (
        *(Rule("invariant", i, _line(t)) for i, t in enumerate(body.invariants, start=1)),
        *(Rule("step", i, _line(t)) for i, t in enumerate(body.steps, start=1)),
    )


def label_fault(body: ByRule, label: Label) -> Fault:
    """The invariants that exclude a label, whatever the hidden variables are."""
    invariants = [rule for rule in rules_of(body) if rule.kind == "invariant"]
    return _least(
        {rule for rule in invariants if not holds_in(rule.text, label | hidden)}
        for hidden in subsets(body.hidden)
    )


def step_fault(body: ByRule, sources: Iterable[Label], label: Label) -> Fault:
    """The rules that exclude a step to ``label`` from every one of the ``sources``.

    Args:
        body: The scenario.
        sources: What may hold now, hidden variables included.
        label: What is observed next.
    """
    rules = rules_of(body)
    hiddens = list(subsets(body.hidden))
    return _least(
        {rule for rule in rules if not _holds(rule, source, label | hidden)}
        for source in sources
        for hidden in hiddens
    )


def valuation(world: TransitionSystem, state: int, hidden: Set[str]) -> Label:
    """What holds in a state of a world by rule, hidden variables included.

    The builder appends hidden variables that hold to the state's name: ``s7+yellow_light``.
    """
    return world.labels[state] | (hidden & set(world.states[state].split("+")[1:]))


def subsets(names: tuple[str, ...]) -> Iterator[frozenset[str]]:
    """Every set of the names."""
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))


def _holds(rule: Rule, now: Label, after: Label) -> bool:
    if rule.kind == "invariant":
        return holds_in(rule.text, after)
    return holds_between(rule.text, now, after)


def _least(violated: Iterable[set[Rule]]) -> Fault:
    """The smallest of the sets of violated rules."""
    found = {frozenset(rules) for rules in violated}
    fewest = min(map(len, found), default=0)
    return tuple(sorted(tuple(sorted(rules)) for rules in found if len(rules) == fewest))


def _line(text: str) -> str:
    return " ".join(text.split())
