"""Recorded runs: LTL on finite traces, through Spot's translation to infinite words.

De Giacomo & Vardi (IJCAI 2013): a finite trace is an infinite word on which an extra proposition
holds exactly while the run lasts. ``X`` is weak (true at the last moment), ``X[!]`` strong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.automata import Automaton
from verifier.bindings import spot
from verifier.errors import InputError
from verifier.formulas import Formula
from verifier.rules import RuleBook, Specification
from verifier.vacuity import strengthenings
from verifier.verdicts import Verdict
from verifier.vocabulary import Vocabulary

_ALIVE = "run_lasts"

Trace = Sequence[frozenset[str]]
"""Letters (propositions and action that hold) in order; never empty."""


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
    word = _word(trace, vocabulary)
    present = vocabulary.proposition_names if propositions is None else tuple(propositions)
    return tuple(_verdict(word, specification, present) for specification in rules.specifications)


def _verdict(word: Automaton, specification: Specification, present: tuple[str, ...]) -> Verdict:
    name, text = specification.id, specification.formula
    if not specification.applies_to(present):
        reason = f"the world does not have {specification.applies_if}"
        return Verdict(name, text, "inapplicable", reason=reason)
    formula = spot.formula(text)
    if not _satisfies(word, formula):
        return Verdict(name, text, "violated")
    for stronger in strengthenings(formula):
        if _satisfies(word, stronger):
            return Verdict(name, text, "vacuous", reason=f"already {stronger} holds")
    return Verdict(name, text, "satisfied")


def _satisfies(word: Automaton, formula: Formula) -> bool:
    return word.intersects(spot.translate(spot.from_ltlf(formula, _ALIVE)))


def _word(trace: Trace, vocabulary: Vocabulary) -> Automaton:
    names = (*vocabulary.proposition_names, *vocabulary.action_names)
    if not trace:
        raise InputError("the trace is empty", remedy="record at least one step")
    conditions = []
    for number, letter in enumerate(trace, start=1):
        unknown = letter.difference(names)
        if unknown:
            raise InputError(
                f"unknown proposition {min(unknown)!r}",
                place=f"step {number} of the trace",
                remedy=f"known: {', '.join(names)}",
            )
        literals = [name if name in letter else f"!{name}" for name in names]
        conditions.append(" & ".join([*literals, _ALIVE]))
    text = "; ".join([*conditions, f"cycle{{!{_ALIVE}}}"])
    return spot.parse_word(text).as_automaton()
