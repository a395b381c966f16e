"""Edits of numbered steps: one line put in, taken out or rewritten, references kept right."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from verifier.steps.realise import article
from verifier.truth_tables import Cube
from verifier.vocabulary import Vocabulary

Lines = tuple[str, ...]
"""Steps without their numbers."""

_REFERENCE = re.compile(r"\b([Ss]tep )(\d+)\b")


def numbered(lines: Sequence[str]) -> str:
    """The text of an answer."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def replaced(lines: Lines, step: int, line: str) -> Lines:
    """With step ``step`` (1-based) rewritten."""
    return (*lines[: step - 1], line, *lines[step:])


def inserted(lines: Lines, step: int, line: str) -> Lines:
    """With a new step ``step``; jumps still reach the lines they meant."""
    moved = _renumbered(lines, lambda number: number + (number >= step))
    return (*moved[: step - 1], line, *moved[step - 1 :])


def deleted(lines: Lines, step: int) -> Lines:
    """Without step ``step``; jumps to it reach the line that followed."""
    moved = _renumbered(lines, lambda number: number - (number > step))
    return (*moved[: step - 1], *moved[step:])


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def conditional(cubes: Sequence[Cube], action: str, vocabulary: Vocabulary) -> str:
    """ "If there is no car from left and no pedestrian at right, turn right."

    Args:
        cubes: The condition, as `verifier.truth_tables.cubes_of` gives it; not empty.
        action: What is done then; without a condition if a cube is empty.
        vocabulary: Phrases.
    """
    phrase = vocabulary.action(action).phrase
    if any(not cube for cube in cubes):
        return sentence(phrase)
    condition = " or ".join(_conjunction(cube, vocabulary) for cube in cubes)
    return sentence(f"if {condition}, {phrase}")


def _conjunction(cube: Cube, vocabulary: Vocabulary) -> str:
    clauses: list[str] = []
    for name, positive in sorted(cube, key=lambda literal: not literal[1]):
        phrase = vocabulary.proposition(name).phrase
        if positive:
            clauses.append(f"there is {article(phrase)} {phrase}")
        else:
            negative = any(clause.startswith(("no ", "there is no ")) for clause in clauses)
            clauses.append(f"no {phrase}" if negative else f"there is no {phrase}")
    return " and ".join(clauses)


def _renumbered(lines: Lines, move: Callable[[int], int]) -> Lines:
    def rewrite(match: re.Match[str]) -> str:
        return f"{match[1]}{move(int(match[2]))}"

    return tuple(_REFERENCE.sub(rewrite, line) for line in lines)
