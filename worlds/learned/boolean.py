"""Truth of Boolean formulas, also of step rules over p and X p, in given labels."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache

from verifier.bindings import spot
from verifier.formulas import Formula


def holds_in(formula: str, label: Set[str]) -> bool:
    """Whether a Boolean formula holds in a label."""
    return _value(_parse(formula), label, None)


def holds_between(formula: str, now: Set[str], after: Set[str]) -> bool:
    """Whether a step rule holds of a label and the next one.

    Raises:
        ValueError: It has a temporal operator other than X, or X within X.
    """
    return _value(_parse(formula), now, after)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Formula:
    return spot.formula(" ".join(text.split()))


def _value(formula: Formula, now: Set[str], after: Set[str] | None) -> bool:
    kind = formula.kind()
    if kind == spot.op_ap:
        return formula.ap_name() in now
    if kind == spot.op_tt:
        return True
    if kind == spot.op_ff:
        return False
    if kind == spot.op_X and after is not None:
        return _value(formula[0], after, None)
    if kind == spot.op_Not:
        return not _value(formula[0], now, after)
    if kind == spot.op_And:
        return all(_value(part, now, after) for part in formula)
    if kind == spot.op_Or:
        return any(_value(part, now, after) for part in formula)
    if kind == spot.op_Implies:
        return not _value(formula[0], now, after) or _value(formula[1], now, after)
    if kind in (spot.op_Equiv, spot.op_Xor):
        equal = _value(formula[0], now, after) == _value(formula[1], now, after)
        return equal == (kind == spot.op_Equiv)
    raise ValueError(f"{formula.kindstr()} in {formula}")
