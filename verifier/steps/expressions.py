"""Conditions as small Boolean expressions over propositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import spot

from verifier.errors import InputError
from verifier.formulas import Formula
from verifier.truth_tables import Support, check_support, everything, formula_of, variable


@dataclass(frozen=True, slots=True)
class Literal:
    """A proposition holds."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """``of`` does not hold."""

    of: Expression


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Some part holds."""

    parts: tuple[Expression, ...]


Expression = Literal | Not | AllOf | AnyOf

TRUE: Expression = AllOf(())


def negation(expression: Expression) -> Expression:
    """The opposite condition."""
    return expression.of if isinstance(expression, Not) else Not(expression)


def all_of(parts: Sequence[Expression]) -> Expression:
    """The conjunction."""
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def any_of(parts: Sequence[Expression]) -> Expression:
    """The disjunction."""
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def expression_of(formula: Formula) -> Expression:
    """The expression of a Boolean formula in negations, conjunctions and disjunctions.

    Raises:
        InputError: It has another operator.
    """
    kind = formula.kind()
    if kind == spot.op_ap:
        return Literal(formula.ap_name())
    parts = tuple(expression_of(child) for child in formula)
    if kind == spot.op_Not:
        return negation(parts[0])
    if kind in (spot.op_And, spot.op_tt):
        return AllOf(parts)
    if kind in (spot.op_Or, spot.op_ff):
        return AnyOf(parts)
    raise InputError(f"cannot use {formula} in a vocabulary", remedy="use !, & and |")


def names_in(expression: Expression) -> frozenset[str]:
    """The propositions mentioned."""
    if isinstance(expression, Literal):
        return frozenset((expression.name,))
    if isinstance(expression, Not):
        return names_in(expression.of)
    return frozenset().union(*(names_in(part) for part in expression.parts))


@lru_cache(maxsize=65536)
def guard_of(expression: Expression, order: Support) -> str:
    """The canonical guard, with propositions in the given order.

    Raises:
        InputError: More propositions than a truth table can hold.
    """
    mentioned = names_in(expression)
    support = tuple(name for name in order if name in mentioned)
    check_support(support)
    return formula_of(_table(expression, support), support)


def _table(expression: Expression, support: Support) -> int:
    size = len(support)
    if isinstance(expression, Literal):
        return variable(support.index(expression.name), size)
    if isinstance(expression, Not):
        return _table(expression.of, support) ^ everything(size)
    tables = [_table(part, support) for part in expression.parts]
    conjunction = isinstance(expression, AllOf)
    result = everything(size) if conjunction else 0
    for table in tables:
        result = result & table if conjunction else result | table
    return result
