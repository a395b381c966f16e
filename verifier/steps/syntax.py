"""What a step says: acts under conditions, with the characters that each part came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verifier.steps.expressions import Expression
from verifier.steps.tokens import Span

Place = Literal["end", "start", "here", "next"]
"""Targets of a jump that are not step numbers."""


@dataclass(frozen=True, slots=True)
class Do:
    """One action; epsilon for an observation; vague: the words name no direction."""

    action: str
    span: Span
    vague: bool = False


@dataclass(frozen=True, slots=True)
class Jump:
    """Go to a step."""

    to: int | Place
    span: Span


@dataclass(frozen=True, slots=True)
class Hold:
    """Repeat an action (epsilon: wait) until the condition holds; then go on at once."""

    until: Expression
    action: str
    span: Span


Act = Do | Jump | Hold


@dataclass(frozen=True, slots=True)
class Plain:
    """Acts one after the other."""

    acts: tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Acts if the condition holds; ``otherwise`` is what the text says about the other case."""

    condition: Expression
    acts: tuple[Act, ...]
    otherwise: Statement | None
    span: Span


Statement = Plain | If


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A sentence that begins with "otherwise": the other case of the one before."""

    statement: Statement


Sentence = Plain | If | Otherwise


def cover(*spans: Span) -> Span:
    """The smallest span around all of them."""
    return min(start for start, _ in spans), max(end for _, end in spans)
