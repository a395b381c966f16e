"""Which rule an episode breaks, and at which decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from verifier.bindings import buddy, spot
from verifier.finite import Trace, check_trace
from verifier.rules import RuleBook, Specification
from verifier.vocabulary import Vocabulary


@dataclass(frozen=True)
class Violation:
    """A rule that an episode breaks.

    Attributes:
        rule: The rule.
        decision: Index of the first decision by which it is broken whatever comes after; None if
            it is broken only because the episode ends: something owed was not done.
    """

    rule: Specification
    decision: int | None


def violations_of(
    trace: Trace, rules: RuleBook, vocabulary: Vocabulary, propositions: Sequence[str]
) -> tuple[Violation, ...]:
    """The rules that a finite trace breaks, earliest first, those broken by its end last.

    A safety rule is broken where a prefix of the trace has no good continuation, and only there.
    Other rules are judged as `verifier.finite.check_trace` judges the whole trace.

    Raises:
        InputError: As `check_trace`.
    """
    ends = {
        v.id for v in check_trace(trace, rules, vocabulary, propositions) if v.value == "violated"
    }
    found: list[Violation] = []
    for rule in rules.specifications:
        if not rule.applies_to(propositions):
            continue
        broken = first_bad(rule.formula, trace)
        if broken is not None:
            found.append(Violation(rule, broken))
        elif rule.id in ends and not is_safety(rule.formula):
            found.append(Violation(rule, None))
    late = len(trace)
    return tuple(sorted(found, key=lambda v: late if v.decision is None else v.decision))


@lru_cache(maxsize=1024)
def is_safety(formula: str) -> bool:
    """Whether every word that violates the formula does so by a finite prefix."""
    return spot.mp_class(spot.formula(formula)) in ("B", "S")


def first_bad(formula: str, trace: Trace) -> int | None:
    """Index of the letter that completes a bad prefix: no continuation satisfies the formula.

    None if every prefix can still be continued well. A deterministic monitor of the formula (the
    automaton of its prefixes) has no way on exactly there.
    """
    monitor = _monitor(formula)
    state = monitor.start
    if state is None:
        return 0
    for index, letter in enumerate(trace):
        state = monitor.after(state, letter)
        if state is None:
            return index
    return None


class _Monitor:
    def __init__(self, formula: str) -> None:
        automaton: Any = spot.translate(spot.formula(formula), "monitor", "det")
        self._automaton = automaton
        self._variables = [(str(ap).strip('"'), automaton.register_ap(ap)) for ap in automaton.ap()]
        self._next: dict[tuple[int, frozenset[str]], int | None] = {}
        empty = automaton.is_empty()
        self.start: int | None = None if empty else automaton.get_init_state_number()

    def after(self, state: int, letter: frozenset[str]) -> int | None:
        seen = frozenset(name for name, _ in self._variables if name in letter)
        key = state, seen
        if key not in self._next:
            self._next[key] = self._step(state, seen)
        return self._next[key]

    def _step(self, state: int, letter: frozenset[str]) -> int | None:
        valuation = buddy.bddtrue
        for name, variable in self._variables:
            there = buddy.bdd_ithvar(variable) if name in letter else buddy.bdd_nithvar(variable)
            valuation &= there
        for edge in self._automaton.out(state):
            if edge.cond & valuation != buddy.bddfalse:
                return edge.dst
        return None


@lru_cache(maxsize=256)
def _monitor(formula: str) -> _Monitor:
    return _Monitor(formula)
