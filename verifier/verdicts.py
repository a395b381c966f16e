"""Verdicts, counterexamples and the verification report (design: file formats)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from verifier.semantics import Semantics

VerdictValue = Literal["satisfied", "vacuous", "violated", "unknown", "inapplicable"]
VERDICT_VALUES: tuple[VerdictValue, ...] = get_args(VerdictValue)


@dataclass(frozen=True)
class Moment:
    """One letter of a word and where it came from.

    Attributes:
        world: Name of the world state.
        propositions: The label c observed there, sorted.
        action: The action proposition of the letter; None where no action proposition holds.
        step: 1-based line of the text whose transition was taken; None where the controller
            waits because nothing is enabled, or where it has no text.
        state: Controller state in which the label was observed.
    """

    world: str
    propositions: tuple[str, ...]
    action: str | None
    step: int | None
    state: int

    @property
    def letter(self) -> frozenset[str]:
        """c ∪ {action}."""
        return frozenset(self.propositions) | ({self.action} if self.action else set())

    def to_json(self) -> dict[str, Any]:
        """The entry of a report."""
        return {
            "world": self.world,
            "step": self.step,
            "propositions": list(self.propositions),
            "action": self.action,
        }


@dataclass(frozen=True)
class Lasso:
    """An ultimately periodic run: ``prefix`` once, then ``cycle`` for ever (never empty)."""

    prefix: tuple[Moment, ...]
    cycle: tuple[Moment, ...]

    def to_json(self) -> dict[str, Any]:
        """The form used in reports."""
        return {
            "prefix": [moment.to_json() for moment in self.prefix],
            "cycle": [moment.to_json() for moment in self.cycle],
        }


@dataclass(frozen=True)
class Verdict:
    """The result of checking one specification.

    Attributes:
        id: The specification's id.
        formula: Its formula with definitions expanded.
        value: One of the five values.
        counterexample: A run that violates it, when ``violated`` and asked for.
        explanation: The counterexample in English.
        reason: Why ``unknown``, ``inapplicable`` or ``vacuous`` (what never mattered).
    """

    id: str
    formula: str
    value: VerdictValue
    counterexample: Lasso | None = None
    explanation: str | None = None
    reason: str | None = None

    @property
    def holds(self) -> bool:
        """Satisfied or vacuous."""
        return self.value in ("satisfied", "vacuous")

    def to_json(self) -> dict[str, Any]:
        """The entry of a report."""
        row: dict[str, Any] = {"id": self.id, "formula": self.formula, "verdict": self.value}
        if self.counterexample is not None:
            row["counterexample"] = self.counterexample.to_json()
            row["counterexample"]["explanation"] = self.explanation
        if self.reason is not None:
            row["reason"] = self.reason
        return row


def score(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many verdicts have each value, and the total."""
    counts = Counter(verdict.value for verdict in verdicts)
    return {value: counts[value] for value in VERDICT_VALUES} | {"total": len(verdicts)}


@dataclass(frozen=True)
class Report:
    """The verification of one controller (or of a text that could not be read).

    Attributes:
        controller_hash: Canonical hash; None if the text could not be read.
        states: Number of states; None likewise.
        world: The world's name.
        rules: The rule book's name.
        semantics: The profile.
        verdicts: One per specification, in the book's order.
        problems: Why the text could not be read, one line each.
        file: Where the controller came from.
    """

    controller_hash: str | None
    states: int | None
    world: str
    rules: str
    semantics: Semantics
    verdicts: tuple[Verdict, ...]
    problems: tuple[str, ...] = field(default=())
    file: str | None = None

    @property
    def clean(self) -> bool:
        """Nothing violated or unknown."""
        return all(verdict.value not in ("violated", "unknown") for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """The verification report format."""
        out: dict[str, Any] = {"file": self.file} if self.file is not None else {}
        out |= {
            "controller": {"hash": self.controller_hash, "states": self.states},
            "world": self.world,
            "rules": self.rules,
            "semantics": self.semantics.to_json(),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "score": score(self.verdicts),
        }
        if self.problems:
            out["problems"] = list(self.problems)
        return out
