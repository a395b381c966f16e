"""Where the steps of a text begin: numbering as people and models write it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Protocol

from verifier.steps.problems import Problem

_BULLETS = ("- ", "* ", "• ", "– ")
_MARKUP = "*_# \t`>"
_AFTER_NUMBER = ".):]-–"
_LONGEST_NUMBER = 9


class Judge(Protocol):
    """Tells what lines outside the steps say."""

    def says_nothing(self, line: str) -> bool:
        """No word of it is about what to do or when."""
        ...

    def introduces(self, line: str) -> bool:
        """It can stand before the steps without being one."""
        ...


@dataclass(frozen=True)
class Line:
    """A line of the text.

    Attributes:
        number: Its own number; None if it has none.
        bullet: It begins with a bullet.
        text: The rest.
    """

    number: int | None
    bullet: bool
    text: str


def split_steps(text: str, judge: Judge) -> tuple[list[str], list[Problem]]:
    """The steps of a text, without their numbers.

    Lines without a number are steps if no line has one (or a bullet). Otherwise an unnumbered
    line before the first step is an introduction, unless it reads like a step, and one after it
    is a problem, unless it says nothing in the words of the vocabulary. The number of a step that
    was not begun, at the end of the text, is left out.
    """
    lines = [line for raw in text.splitlines() if (line := _line(raw)).text or line.number]
    if not lines:
        return [], [Problem(0, "", "empty", "there are no steps")]
    numbered = any(line.number is not None for line in lines)
    if not numbered and not any(line.bullet for line in lines):
        return [line.text for line in lines], []
    if _ends_in_a_number(lines):
        lines.pop()
    steps: list[str] = []
    problems: list[Problem] = []
    expected = count(1)
    for line in lines:
        if line.number is None and (numbered or not line.bullet):
            if not (judge.says_nothing(line.text) if steps else judge.introduces(line.text)):
                message = "text outside the numbered steps"
                problems.append(Problem(len(steps), line.text, "numbering", message))
            continue
        position = next(expected)
        if numbered and line.number != position:
            message = f"step {line.number} where step {position} was expected"
            problems.append(Problem(position, line.text, "numbering", message))
        if not line.text:
            problems.append(Problem(position, "", "empty", "the step is empty"))
        steps.append(line.text)
    return steps, problems


def _ends_in_a_number(lines: list[Line]) -> bool:
    """Whether the last line is the next number and no more, perhaps cut off ("1" for "10.")."""
    *before, last = lines
    numbers = [line.number for line in before if line.number is not None]
    if last.text or last.number is None or not numbers:
        return False
    return str(numbers[-1] + 1).startswith(str(last.number))


def _line(raw: str) -> Line:
    text = raw.strip()
    bullet = text.startswith(_BULLETS)
    text = text.lstrip(_MARKUP + "-•–").strip()
    for word in ("step ", "Step ", "STEP "):
        if text.startswith(word):
            number, rest = _number(text.removeprefix(word).lstrip(_MARKUP + "#"))
            if number is not None:
                return Line(number, bullet, rest)
    number, rest = _number(text.removeprefix("(").removeprefix("["))
    return Line(number, bullet, rest) if number is not None else Line(None, bullet, _tidy(text))


def _number(text: str) -> tuple[int | None, str]:
    """The number at the start, if a separator follows, and what comes after both."""
    digits = 0
    while digits < len(text) and text[digits] in "0123456789":
        digits += 1
    rest = text[digits:].lstrip("*_ ")
    if not 0 < digits <= _LONGEST_NUMBER or (rest and rest[0] not in _AFTER_NUMBER):
        return None, text
    return int(text[:digits]), _tidy(rest.lstrip(_AFTER_NUMBER + _MARKUP))


def _tidy(text: str) -> str:
    return text.strip().strip("*`").strip()
