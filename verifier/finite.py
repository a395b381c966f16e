"""Recorded runs: LTL on finite traces, through Spot's automata of finite words.

De Giacomo & Vardi (IJCAI 2013): a finite trace is an infinite word on which an extra proposition
holds exactly while the run lasts. ``X`` is weak (true at the last moment), ``X[!]`` strong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from verifier.bindings import spot
from verifier.errors import InputError
from verifier.formulas import Formula
from verifier.rules import RuleBook, Specification
from verifier.truth_tables import Support, support_of, table_of
from verifier.vacuity import strengthenings
from verifier.verdicts import Verdict
from verifier.vocabulary import Vocabulary

_ALIVE = "run_lasts"

Trace = Sequence[frozenset[str]]
"""Letters (propositions and action that hold) in order; never empty."""

_REMEMBERED = 100_000
"""Distinct traces whose verdicts a checker keeps."""


def check_trace(
    trace: Trace, rules: RuleBook, vocabulary: Vocabulary, propositions: Iterable[str] | None = None
) -> tuple[Verdict, ...]:
    """The verdict of every specification on one recorded run.

    Args:
        trace: The letters of the run.
        rules: The rule book.
        vocabulary: The domain.
        propositions: What could be observed in that world, for ``applies_if``; None for all of P.

    Raises:
        InputError: The trace is empty or a letter has an unknown member.
    """
    present = None if propositions is None else tuple(propositions)
    return _checker(rules, vocabulary, present).check(trace)


class TraceChecker:
    """Judges many recorded runs by one rule book; equal traces are judged once.

    Args:
        rules: The rule book.
        vocabulary: The domain.
        propositions: As for `check_trace`.
    """

    def __init__(
        self, rules: RuleBook, vocabulary: Vocabulary, propositions: Iterable[str] | None = None
    ) -> None:
        self.rules = rules
        self._names = (*vocabulary.proposition_names, *vocabulary.action_names)
        self._known = frozenset(self._names)
        present = vocabulary.proposition_names if propositions is None else tuple(propositions)
        self._applies = [s.applies_to(present) for s in rules.specifications]
        self._verdicts: dict[tuple[frozenset[str], ...], tuple[Verdict, ...]] = {}

    def check(self, trace: Trace) -> tuple[Verdict, ...]:
        """One verdict per specification, in the book's order.

        Raises:
            InputError: The trace is empty or a letter has an unknown member.
        """
        key = tuple(trace)
        if key not in self._verdicts:
            self._refuse_unknown(key)
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            self._verdicts[key] = tuple(
                _verdict(key, specification, applies)
                for specification, applies in zip(
                    self.rules.specifications, self._applies, strict=True
                )
            )
        return self._verdicts[key]

    def _refuse_unknown(self, trace: Trace) -> None:
        if not trace:
            raise InputError("the trace is empty", remedy="record at least one step")
        for number, letter in enumerate(trace, start=1):
            unknown = letter - self._known
            if unknown:
                raise InputError(
                    f"unknown proposition {min(unknown)!r}",
                    place=f"step {number} of the trace",
                    remedy=f"known: {', '.join(self._names)}",
                )


class FiniteMonitor:
    """Reads finite traces letter by letter for one formula.

    Spot's automaton may be non-deterministic: the set of its states is carried along, and each
    move of such a set is worked out once. States from which no trace can be accepted any more are
    left out, so that an empty set means that the formula is violated however the run goes on.
    """

    def __init__(self, formula: Formula | str) -> None:
        word = spot.translate(spot.from_ltlf(formula, _ALIVE), "small", "buchi", "sbacc")
        finite = spot.to_finite(word, _ALIVE)
        edges = [(edge.src, edge.dst, edge.cond) for edge in finite.edges()]
        guards = [str(spot.bdd_to_formula(cond, finite.get_dict())) for _, _, cond in edges]
        self._accepting = frozenset(
            state for state in range(finite.num_states()) if finite.state_is_accepting(state)
        )
        live = _leading_to(self._accepting, [(source, target) for source, target, _ in edges])
        self._start = frozenset({finite.get_init_state_number()}) & live
        self._support: Support = support_of(set(guards))
        self._moves: dict[int, list[tuple[int, int]]] = {}
        for (source, target, _), guard in zip(edges, guards, strict=True):
            if target in live:
                table = table_of(guard, self._support)
                self._moves.setdefault(source, []).append((table, target))
        self._after: dict[tuple[frozenset[int], int], frozenset[int]] = {}

    def holds(self, trace: Trace) -> bool:
        """Whether the whole trace satisfies the formula."""
        states = self._start
        for letter in trace:
            states = self._step(states, letter)
            if not states:
                return False
        return not self._accepting.isdisjoint(states)

    def first_violation(self, trace: Trace) -> int | None:
        """Index of the first letter after which the formula cannot hold, however the run goes on.

        None if there is none: the trace satisfies it, or something is only pending at its end.
        """
        states = self._start
        for index, letter in enumerate(trace):
            states = self._step(states, letter)
            if not states:
                return index
        return None

    def _step(self, states: frozenset[int], letter: frozenset[str]) -> frozenset[int]:
        number = 0
        for name in self._support:
            number = 2 * number + (name in letter)
        key = states, number
        if key not in self._after:
            self._after[key] = frozenset(
                target
                for state in states
                for table, target in self._moves.get(state, ())
                if table >> number & 1
            )
        return self._after[key]


def first_violation(formula: str, trace: Trace) -> int | None:
    """As `FiniteMonitor.first_violation`, for a formula as text."""
    return _monitor(formula).first_violation(trace)


def _leading_to(goal: frozenset[int], edges: Sequence[tuple[int, int]]) -> frozenset[int]:
    """States from which one of ``goal`` can be reached, these included."""
    found = goal
    while True:
        more = found | {source for source, target in edges if target in found}
        if more == found:
            return found
        found = more


def _verdict(trace: Trace, specification: Specification, applies: bool) -> Verdict:
    name, text = specification.id, specification.formula
    if not applies:
        reason = f"the world does not have {specification.applies_if}"
        return Verdict(name, text, "inapplicable", reason=reason)
    if not _monitor(text).holds(trace):
        return Verdict(name, text, "violated")
    for stronger in _stronger(text):
        if _monitor(stronger).holds(trace):
            return Verdict(name, text, "vacuous", reason=f"already {stronger} holds")
    return Verdict(name, text, "satisfied")


@lru_cache(maxsize=64)
def _checker(
    rules: RuleBook, vocabulary: Vocabulary, propositions: tuple[str, ...] | None
) -> TraceChecker:
    return TraceChecker(rules, vocabulary, propositions)


@lru_cache(maxsize=4096)
def _monitor(formula: str) -> FiniteMonitor:
    return FiniteMonitor(formula)


@lru_cache(maxsize=1024)
def _stronger(formula: str) -> tuple[str, ...]:
    return tuple(str(stronger) for stronger in strengthenings(spot.formula(formula)))
