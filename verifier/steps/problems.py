"""What cannot be read: where, in which words, why, and the nearest phrases that can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

Category = Literal[
    "empty",  # nothing to read
    "numbering",  # steps out of order, or text around the list
    "unknown_words",  # words outside the vocabulary
    "no_condition",  # known words that say nothing about a proposition
    "ambiguous",  # a careful reader could read it in more than one way
    "unsupported",  # known words in an order that has no reading
    "bad_reference",  # a jump to a step that does not exist
]

_NEAREST = 3


@dataclass(frozen=True)
class Problem:
    """Why a line cannot be aligned with the vocabulary.

    Attributes:
        line: 1-based number of the step; 0 for text before the first step.
        words: The words at fault, as written.
        category: A short name for statistics.
        message: What is wrong with them, in one sentence.
        known: The phrases among which `nearest` looks.
    """

    line: int
    words: str
    category: Category
    message: str
    known: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def nearest(self) -> tuple[str, ...]:
        """The known phrases most like ``words`` (worked out on demand: it is slow)."""
        return _nearest(self.words.lower(), self.known)

    def to_line(self) -> str:
        """All of it on one line."""
        near = ", ".join(repr(phrase) for phrase in self.nearest)
        where = f"step {self.line}: " if self.line else ""
        line = f"{where}{self.message}: {self.words!r}" if self.words else f"{where}{self.message}"
        return " ".join((f"{line}; nearest known: {near}" if near else line).split())


@lru_cache(maxsize=1024)
def _nearest(words: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """One answer's problems are written out several times, once per rule book at least."""
    return tuple(get_close_matches(words, known, n=_NEAREST))


class MisreadError(Exception):
    """Raised inside the reader; becomes a `Problem`.

    Args:
        category: As in `Problem`.
        message: As in `Problem`.
        span: The characters at fault, if they are not the whole line.
    """

    def __init__(
        self, category: Category, message: str, span: tuple[int, int] | None = None
    ) -> None:
        self.category: Category = category
        self.message, self.span = message, span
        super().__init__(message)
