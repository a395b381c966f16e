"""What a controller may do on a label, written a second time, straight from the definition.

The peers are built on this, not on the verifier's automata, so that an error there shows up as a
difference in verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from verifier.bindings import spot
from verifier.controller import Controller
from verifier.formulas import Formula
from verifier.semantics import Semantics
from verifier.vocabulary import EPSILON

Label = frozenset[str]


@dataclass(frozen=True)
class Choice:
    """One way to go on: the action propositions that hold, and the next controller state."""

    actions: frozenset[str]
    target: int


Choices = Callable[[int, Label], tuple[Choice, ...]]
"""Controller state, label -> every choice; never empty."""


def choices_of(controller: Controller, semantics: Semantics) -> Choices:
    """The controller's choices under a profile, remembered per state and label."""
    rows: dict[int, list[tuple[str, Choice]]] = {}
    for t in controller.transitions:
        stuttering = semantics.on_finish == "stutter"
        if stuttering and t.source == controller.final:
            continue
        restarts = t.target == controller.final and not stuttering
        target = controller.initial if restarts else t.target
        choice = Choice(_letter(t.action, semantics), target)
        rows.setdefault(t.source, []).append((t.guard, choice))
    nothing = _letter(EPSILON, semantics)
    known: dict[tuple[int, Label], tuple[Choice, ...]] = {}

    def choices(state: int, label: Label) -> tuple[Choice, ...]:
        key = (state, label)
        if key not in known:
            enabled = [c for guard, c in rows.get(state, ()) if satisfies(guard, label)]
            known[key] = tuple(dict.fromkeys(enabled)) or (Choice(nothing, state),)
        return known[key]

    return choices


@lru_cache(maxsize=1 << 20)
def satisfies(guard: str, label: Label) -> bool:
    """Whether a Boolean formula over P holds of a label."""
    return _evaluate(_parsed(guard), label)


@lru_cache(maxsize=1 << 16)
def _parsed(guard: str) -> Formula:
    return spot.formula(guard)


def _evaluate(formula: Formula, label: Label) -> bool:
    if formula._is(spot.op_ap):
        return formula.ap_name() in label
    if formula.is_tt() or formula.is_ff():
        return bool(formula.is_tt())
    values = [_evaluate(child, label) for child in formula]
    if formula._is(spot.op_Not):
        return not values[0]
    if formula._is(spot.op_And):
        return all(values)
    if formula._is(spot.op_Or):
        return any(values)
    if formula._is(spot.op_Implies):
        return not values[0] or values[1]
    if formula._is(spot.op_Equiv):
        return values[0] == values[1]
    if formula._is(spot.op_Xor):
        return values[0] != values[1]
    raise ValueError(f"not a Boolean formula: {formula}")


def _letter(action: str, semantics: Semantics) -> frozenset[str]:
    if action != EPSILON:
        return frozenset({action})
    return frozenset({"stop"}) if semantics.epsilon == "stop" else frozenset()
