"""Parsing formulas with Spot: syntax errors with a caret, unknown names with a suggestion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from verifier.bindings import spot
from verifier.errors import InputError

Formula = Any
"""A ``spot.formula`` (Spot's bindings carry no types)."""

MAX_LENGTH = 100_000
_MAX_DEPTH = 500
_ECHO = ">>> "


def parse_ltl(
    text: str, known: Iterable[str], *, file: object = None, place: str | None = None
) -> Formula:
    """An LTL formula in Spot's syntax over ``known`` atomic propositions.

    Raises:
        InputError: Syntax error (the caret ‹^› stands before the culprit), operators beyond LTL,
            or an unknown proposition.
    """
    formula = _parse(text, file, place)
    if not formula.is_ltl_formula():
        raise InputError(
            f"not an LTL formula: {text}",
            file=file,
            place=place,
            remedy="use propositions, ! & | -> <-> xor and X F G U W R M",
        )
    check_known(formula, known, file=file, place=place)
    return formula


def parse_boolean(
    text: str, known: Iterable[str], *, file: object = None, place: str | None = None
) -> Formula:
    """A Boolean formula over ``known`` propositions (guards, invariants, ``applies_if``).

    Raises:
        InputError: As `parse_ltl`; temporal operators.
    """
    formula = _parse(text, file, place)
    if not formula.is_boolean():
        raise InputError(
            f"not a Boolean formula: {text}",
            file=file,
            place=place,
            remedy="remove the temporal operators",
        )
    check_known(formula, known, file=file, place=place)
    return formula


def check_known(
    formula: Formula, known: Iterable[str], *, file: object = None, place: str | None = None
) -> None:
    """Refuse atomic propositions outside ``known``.

    Raises:
        InputError: Naming the unknown proposition and the nearest known one.
    """
    known = list(known)
    for name in atomic_propositions(formula):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise InputError(
                f"unknown proposition {name!r}",
                file=file,
                place=place,
                remedy=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
            )


def map_children(formula: Formula, function: Callable[[Formula], Formula]) -> Formula:
    """The formula with ``function`` applied to its children in order (also below ``X[!]``)."""
    if formula.kindstr() == "strong_X":
        return spot.formula.unop(formula.kind(), function(formula[0]))
    return formula.map(function)


def atomic_propositions(formula: Formula) -> tuple[str, ...]:
    """Names of the atomic propositions of ``formula``, sorted."""
    return _atoms(str(formula))


@lru_cache(maxsize=8192)
def _atoms(text: str) -> tuple[str, ...]:
    return tuple(
        sorted({str(ap).strip('"') for ap in spot.atomic_prop_collect(spot.formula(text))})
    )


def _parse(text: str, file: object, place: str | None) -> Formula:
    depth = 0
    deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if len(text) > MAX_LENGTH or deepest > _MAX_DEPTH:
        raise InputError("formula too large", file=file, place=place, remedy="split it")
    parsed = _try_parse(text)
    if isinstance(parsed, str):
        raise InputError(parsed, file=file, place=place, remedy="mend the formula")
    return parsed


@lru_cache(maxsize=8192)
def _try_parse(text: str) -> Formula | str:
    """The formula, or the one-line description of its syntax error."""
    line = " ".join(text.split())
    if not line:
        return "empty formula"
    try:
        return spot.formula(line)
    except SyntaxError as error:
        return _describe(line, str(error))


def _describe(line: str, message: str) -> str:
    """The first of Spot's reports on one line: '... at column 8: G(a -> ‹^›| b)'."""
    rows = [row for row in message.splitlines() if row.strip()]
    if len(rows) < 3 or not rows[0].startswith(_ECHO) or "^" not in rows[1]:
        return f"syntax error: {line}"
    column = rows[1].index("^") - len(_ECHO)
    what = rows[2].removeprefix("syntax error, ").strip()
    return f"syntax error, {what} at column {column + 1}: {line[:column]}‹^›{line[column:]}"
