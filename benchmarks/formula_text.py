"""Writing formulas for other tools' parsers: fully parenthesised, in plain operators."""

from __future__ import annotations

from collections.abc import Callable

from verifier.bindings import spot
from verifier.formulas import Formula

_OPERATORS = {
    spot.op_Not: "!", spot.op_And: "&", spot.op_Or: "|",
    spot.op_X: "X", spot.op_F: "F", spot.op_G: "G", spot.op_U: "U",
}  # fmt: skip


def written(
    formula: Formula, atom: Callable[[str], str] = str, constants: tuple[str, str] = ("0", "1")
) -> str:
    """The formula with ``! & | X F G U`` only.

    Args:
        formula: A ``spot.formula`` of LTL.
        atom: How a proposition is written.
        constants: How false and true are written.
    """
    return _written(spot.unabbreviate(formula, "ie^MRW"), atom, constants)


def atoms(formula: Formula) -> set[str]:
    """Names of the atomic propositions that occur."""
    return {ap.ap_name() for ap in spot.atomic_prop_collect(formula)}


def _written(formula: Formula, atom: Callable[[str], str], constants: tuple[str, str]) -> str:
    if formula._is(spot.op_ap):
        return atom(formula.ap_name())
    if formula.is_tt() or formula.is_ff():
        return constants[formula.is_tt()]
    parts = [f"({_written(child, atom, constants)})" for child in formula]
    operator = _OPERATORS[formula.kind()]
    return f"{operator} {parts[0]}" if len(parts) == 1 else f" {operator} ".join(parts)
