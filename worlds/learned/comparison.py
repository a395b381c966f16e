"""A controller in a learned world and in the hand-written one: verdicts, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from verifier.checker import Checker
from verifier.controller import Controller
from verifier.rules import RuleBook
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.verdicts import Lasso, Verdict
from verifier.vocabulary import Vocabulary
from worlds.learned.recordings import Label
from worlds.learned.tracking import Break, Tracker


@dataclass(frozen=True)
class Difference:
    """Why a counterexample of one world is none in the other.

    Attributes:
        kind: How its run leaves the other world; ``assumptions`` if it does not, and is not fair
            there or was not found.
        before: Label before the one that is not possible; None where there is none.
        label: The label that is not possible; None likewise.
    """

    kind: str
    before: Label | None = None
    label: Label | None = None


@dataclass(frozen=True)
class RuleComparison:
    """One rule in both worlds.

    Attributes:
        written: The verdict in the hand-written world.
        learned: The verdict in the learned one.
        difference: Why they differ where one world only violates the rule.
    """

    written: Verdict
    learned: Verdict
    difference: Difference | None

    @property
    def agree(self) -> bool:
        """Both violate it, or neither."""
        return (self.written.value == "violated") == (self.learned.value == "violated")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        found = self.difference
        return {
            "id": self.written.id,
            "written": self.written.value,
            "learned": self.learned.value,
            "difference": None
            if found is None
            else {
                "kind": found.kind,
                "before": None if found.before is None else sorted(found.before),
                "label": None if found.label is None else sorted(found.label),
            },
        }


def compare_worlds(
    controller: Controller,
    written: TransitionSystem,
    learned: TransitionSystem,
    rules: RuleBook,
    semantics: Semantics,
    vocabulary: Vocabulary,
) -> tuple[RuleComparison, ...]:
    """Verify a controller in both worlds; where they disagree, say what one world lacks."""
    reports = [
        Checker(world, rules, semantics, vocabulary).check(controller).verdicts
        for world in (written, learned)
    ]
    return tuple(
        RuleComparison(there, here, _difference(there, here, written, learned))
        for there, here in zip(*reports, strict=True)
    )


def _difference(
    there: Verdict, here: Verdict, written: TransitionSystem, learned: TransitionSystem
) -> Difference | None:
    if (there.value == "violated") == (here.value == "violated"):
        return None
    verdict, other = (there, learned) if there.value == "violated" else (here, written)
    if verdict.counterexample is None:
        return Difference("assumptions")
    return _departure(verdict.counterexample, other)


def _departure(lasso: Lasso, other: TransitionSystem) -> Difference:
    """Where the run leaves the other world."""
    known = frozenset(other.propositions)
    moments = (*lasso.prefix, *lasso.cycle, *lasso.cycle)
    labels: Sequence[Label] = [frozenset(moment.propositions) for moment in moments]
    for index, label in enumerate(labels):
        if not label <= known:
            return Difference("label", labels[index - 1] if index else None, label)
    breaks: list[Break] = Tracker(other).breaks(labels)
    if not breaks:
        return Difference("assumptions")
    first = breaks[0]
    before = labels[first.index - 1] if first.index else None
    return Difference(first.kind, before, labels[first.index])
