"""Vacuity by subformula replacement (Beer et al. 2001; Kupferman & Vardi 2003).

A formula that holds is vacuous if it still holds after some subformula occurrence is replaced by
what makes the formula hardest to satisfy: false where the occurrence is positive, true where it
is under an odd number of negations. Replacing a larger subformula gives a stronger formula, so it
is enough to try the atomic ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.bindings import spot
from verifier.formulas import Formula, map_children


def strengthenings(formula: Formula) -> tuple[Formula, ...]:
    """The formula with each atomic occurrence replaced: distinct, satisfiable, shortest first."""
    # Equivalence and exclusive or have no polarity: write them with conjunction and negation.
    replaced = dict.fromkeys(_replace_one(spot.unabbreviate(formula, "e^"), positive=True))
    satisfiable = (stronger for stronger in replaced if not stronger.is_ff())
    return tuple(sorted(satisfiable, key=lambda stronger: (len(str(stronger)), str(stronger))))


def _replace_one(formula: Formula, positive: bool) -> Iterator[Formula]:
    """Every way to replace one atomic occurrence by the hardest constant of its polarity."""
    if formula._is(spot.op_ap):
        yield spot.formula.ff() if positive else spot.formula.tt()
        return
    children = list(formula)
    for position, child in enumerate(children):
        flips = formula._is(spot.op_Not) or (formula._is(spot.op_Implies) and position == 0)
        for replaced in _replace_one(child, positive != flips):
            swapped = iter([*children[:position], replaced, *children[position + 1 :]])
            yield map_children(formula, lambda _, swapped=swapped: next(swapped))
