"""Vacuity by subformula replacement (Beer et al. 2001; Kupferman & Vardi 2003).

A formula that holds is vacuous if it still holds after some subformula occurrence is replaced by
what makes the formula hardest to satisfy. In negation normal form every occurrence is positive,
so that is ``false``; and since replacing a larger subformula gives a stronger formula, it is
enough to try the literals.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.bindings import spot
from verifier.formulas import Formula


def strengthenings(formula: Formula) -> tuple[Formula, ...]:
    """The formula with each literal occurrence replaced by false: distinct, shortest first."""
    replaced = dict.fromkeys(_replace_one(spot.negative_normal_form(formula)))
    return tuple(
        sorted((f for f in replaced if not f.is_ff()), key=lambda f: (len(str(f)), str(f)))
    )


def _replace_one(formula: Formula) -> Iterator[Formula]:
    """Every way to replace one literal occurrence by false."""
    if formula.is_literal():
        yield spot.formula.ff()
        return
    children = list(formula)
    for position, child in enumerate(children):
        for replaced in _replace_one(child):
            swapped = iter([*children[:position], replaced, *children[position + 1 :]])
            yield formula.map(lambda _, swapped=swapped: next(swapped))
