"""Which specifications follow from others: inclusion of ω-regular languages, with Spot.

Words are the label sequences of the world combined with any legal actions. A implies B if every
such word that satisfies A satisfies B; then every controller that satisfies A satisfies B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from verifier.automata import Automaton
from verifier.bindings import spot


@dataclass(frozen=True)
class Implication:
    """``id`` follows from ``implied_by`` alone; ``equivalent`` if also the other way round."""

    id: str
    implied_by: str
    equivalent: bool


@dataclass(frozen=True)
class Redundancy:
    """``id`` follows from all of ``implied_by`` together and from no proper subset of it."""

    id: str
    implied_by: tuple[str, ...]


@dataclass(frozen=True)
class Implications:
    """How the members of a rule book depend on each other in a world.

    Attributes:
        always: Members that hold whatever the controller does.
        never: Members that no word satisfies.
        pairs: Pairwise implications among the others, in the book's order.
        redundant: Each member that the rest of the others implies, with one minimal reason. Two
            equivalent members are both redundant, but only one can be left out.
    """

    always: tuple[str, ...]
    never: tuple[str, ...]
    pairs: tuple[Implication, ...]
    redundant: tuple[Redundancy, ...]


def find_implications(words: Automaton, formulas: Mapping[str, str]) -> Implications:
    """All implications among ``formulas`` (by id) on ``words``.

    Args:
        words: The words to consider.
        formulas: Specification id -> LTL formula.
    """
    negation = {i: spot.translate(spot.formula.Not(spot.formula(f))) for i, f in formulas.items()}
    model = {i: _restrict(words, [f]) for i, f in formulas.items()}
    always = tuple(i for i in formulas if _disjoint(words, negation[i]))
    never = tuple(i for i in formulas if model[i].is_empty())
    rest = [i for i in formulas if i not in always and i not in never]
    follows = {(b, a) for a in rest for b in rest if a != b and _disjoint(model[a], negation[b])}
    pairs = tuple(
        Implication(b, a, (a, b) in follows) for b in rest for a in rest if (b, a) in follows
    )

    def entails(premises: Iterable[str], conclusion: str) -> bool:
        conjunction = _restrict(words, [formulas[i] for i in premises])
        return _disjoint(conjunction, negation[conclusion])

    def reason(member: str) -> tuple[str, ...] | None:
        for other in rest:
            if (member, other) in follows:
                return (other,)
        premises = [i for i in rest if i != member]
        if not entails(premises, member):
            return None
        for premise in tuple(premises):
            fewer = [i for i in premises if i != premise]
            if entails(fewer, member):
                premises = fewer
        return tuple(premises)

    reasons = ((member, reason(member)) for member in rest)
    redundant = tuple(Redundancy(i, premises) for i, premises in reasons if premises is not None)
    return Implications(always, never, pairs, redundant)


def _restrict(words: Automaton, formulas: Iterable[str]) -> Automaton:
    conjunction = spot.formula.And([spot.formula(formula) for formula in formulas])
    return spot.scc_filter(spot.product(words, spot.translate(conjunction)), True)


def _disjoint(words: Automaton, others: Automaton) -> bool:
    return spot.otf_product(words, others).is_empty()
