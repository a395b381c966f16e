"""Boolean functions as truth tables: integers with one bit per valuation of an ordered support.

Bit ``v`` of a table is the value under the valuation ``v``, in which the first name of the support
is the most significant digit. Tables over the same support combine with ``&``, ``|`` and ``^``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import spot

from verifier.errors import InputError
from verifier.formulas import Formula, atomic_propositions, parse_boolean

Support = tuple[str, ...]
"""Names of the variables, in order."""

Cube = tuple[tuple[str, bool], ...]
"""A conjunction of literals: (name, is it positive), in the order of the support."""

MAX_SUPPORT = 20
"""A table has ``2 ** len(support)`` bits."""

_Literals = tuple[tuple[int, bool], ...]


def support_of(guards: Iterable[str], order: Sequence[str] = ()) -> Support:
    """The propositions of ``guards``: those in ``order`` first, as there, the others sorted.

    Raises:
        InputError: There are more than `MAX_SUPPORT`.
    """
    names = {name for guard in guards for name in atomic_propositions_of(guard)}
    support = (*(n for n in order if n in names), *sorted(names.difference(order)))
    check_support(support)
    return support


def check_support(support: Support) -> None:
    """Refuse a support that is too large for a table.

    Raises:
        InputError: There are more than `MAX_SUPPORT` names.
    """
    if len(support) > MAX_SUPPORT:
        raise InputError(
            f"{len(support)} propositions in one controller",
            remedy=f"truth tables hold at most {MAX_SUPPORT}: use fewer propositions",
        )


@lru_cache(maxsize=65536)
def atomic_propositions_of(guard: str) -> tuple[str, ...]:
    """Names of the propositions in a guard, sorted."""
    return atomic_propositions(_parse(guard))


def everything(size: int) -> int:
    """The constant true over ``size`` variables."""
    return (1 << (1 << size)) - 1


@lru_cache(maxsize=4096)
def variable(index: int, size: int) -> int:
    """The projection to variable ``index`` of a support of ``size`` names."""
    half = 1 << (size - 1 - index)
    table, width = ((1 << half) - 1) << half, 2 * half
    while width < 1 << size:
        table |= table << width
        width *= 2
    return table


@lru_cache(maxsize=65536)
def table_of(guard: str, support: Support) -> int:
    """The table of a Boolean formula in Spot's syntax, over a support that covers it.

    Raises:
        InputError: Not a Boolean formula, or it has a proposition outside the support.
    """
    check_support(support)
    return _walk(_parse(guard, support), support)


def _parse(guard: str, known: Sequence[str] | None = None) -> Formula:
    if known is not None:
        return parse_boolean(guard, known)
    try:
        return spot.formula(guard)
    except SyntaxError:
        return parse_boolean(guard, ())


def _walk(formula: Formula, support: Support) -> int:
    size, kind = len(support), formula.kind()
    if kind == spot.op_ap:
        return variable(support.index(formula.ap_name()), size)
    if kind == spot.op_tt:
        return everything(size)
    if kind == spot.op_ff:
        return 0
    tables = [_walk(child, support) for child in formula]
    result = tables[0]
    if kind == spot.op_Not:
        return result ^ everything(size)
    if kind == spot.op_Implies:
        return (result ^ everything(size)) | tables[1]
    for table in tables[1:]:
        if kind == spot.op_And:
            result &= table
        elif kind == spot.op_Or:
            result |= table
        else:
            result ^= table
    return result if kind != spot.op_Equiv else result ^ everything(size)


@lru_cache(maxsize=65536)
def formula_of(table: int, support: Support) -> str:
    """The canonical formula of a function: tables of equal functions give equal strings.

    An irredundant sum of prime products in Spot's syntax; "true" and "false" for the constants.
    It does not depend on names of the support that the function does not depend on.
    """
    cubes = cubes_of(table, support)
    if not cubes:
        return "false"
    if cubes == ((),):
        return "true"
    return " | ".join(_product(cube, bare=len(cubes) == 1) for cube in cubes)


@lru_cache(maxsize=65536)
def cubes_of(table: int, support: Support) -> tuple[Cube, ...]:
    """The cubes of `formula_of`: none for false, one empty cube for true."""
    check_support(support)
    cubes, _ = _irredundant(table, table, len(support))
    size = len(support)
    # Levels count down from the top variable, which is the first name.
    ordered = sorted(
        (tuple((size - level, positive) for level, positive in cube) for cube in cubes),
        key=lambda cube: [(index, not positive) for index, positive in cube],
    )
    return tuple(tuple((support[i], positive) for i, positive in cube) for cube in ordered)


def _product(cube: Cube, *, bare: bool) -> str:
    text = " & ".join(name if positive else f"!{name}" for name, positive in cube)
    return text if bare or len(cube) == 1 else f"({text})"


def _irredundant(lower: int, upper: int, level: int) -> tuple[list[_Literals], int]:
    """Minato and Morreale: cubes of a function between ``lower`` and ``upper``, and its table.

    Splitting on the top variable (number ``level``, counted from the bottom) halves the tables.
    """
    if not lower:
        return [], 0
    if upper == everything(level):
        return [()], upper
    level_below = level - 1
    half = 1 << level_below
    mask = (1 << half) - 1
    lower0, lower1, upper0, upper1 = lower & mask, lower >> half, upper & mask, upper >> half
    cubes0, table0 = _irredundant(lower0 & ~upper1, upper0, level_below)
    cubes1, table1 = _irredundant(lower1 & ~upper0, upper1, level_below)
    rest = (lower0 & ~table0) | (lower1 & ~table1)
    cubes, table = _irredundant(rest, upper0 & upper1, level_below)
    table0, table1 = table0 | table, table1 | table
    with_literal = [
        *(((level, True), *cube) for cube in cubes1),
        *(((level, False), *cube) for cube in cubes0),
    ]
    return [*with_literal, *cubes], (table1 << half) | table0
