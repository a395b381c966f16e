"""An audit in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from verifier.implications import Implications
from verifier.realizability import Realizability
from verifier.trivial_controllers import TrivialScore

if TYPE_CHECKING:
    from verifier.audit import Audit

_MOST = 5
"""Maximal sets and conflicts that are spelt out; `Audit` has them all."""


def findings(audit: Audit) -> tuple[str, ...]:
    """What was found, most important first within each part; warnings say so."""
    return tuple(_sentences(audit))


def _sentences(audit: Audit) -> Iterator[str]:
    total = len(audit.applicable)
    if audit.inapplicable:
        yield f"Out of scope in {audit.world}: {_list(audit.inapplicable)}."
    if not total:
        yield f"No specification of {audit.rules} applies in {audit.world}."
        return
    yield from map(_trivial, audit.trivial)
    if audit.random is not None:
        r = audit.random
        yield (
            f"{r.count} random controllers satisfy {r.mean:.1f} of {r.applicable} on average "
            f"(best {r.best}, worst {r.worst})."
        )
    yield from _realizability(audit.realizability, audit.applicable)
    for manoeuvre in audit.manoeuvres or ():
        if not manoeuvre.possible:
            rules = _list(manoeuvre.prevented_by)
            yield f"Warning: no controller that satisfies {rules} can promise {manoeuvre.action}."
    if audit.implications is not None:
        yield from _implications(audit.implications)
    always = audit.implications.always if audit.implications is not None else ()
    for entry in audit.only_vacuous or ():
        if entry.id not in always:
            yield f"{entry.id} can only hold vacuously: whenever it holds, so does {entry.because}."
    both = [entry.id for entry in audit.only_vacuous or () if entry.id in always]
    if both:
        yield f"{_list(both)} can only hold vacuously, whatever the controller does."
    yield from audit.undecided


def _trivial(score: TrivialScore) -> str:
    what = f"{score.controller} satisfies {score.passed} of {score.applicable}"
    what += f", {score.counts['vacuous']} of them vacuously" if score.counts["vacuous"] else ""
    what += f", {score.counts['unknown']} unknown" if score.counts["unknown"] else ""
    if score.high:
        what = f"Warning: {what}, without ever doing anything else"
    return f"{what}; it violates {_list(score.violated)}." if score.violated else f"{what}."


def _realizability(result: Realizability, applicable: Sequence[str]) -> Iterator[str]:
    total = len(applicable)
    if result.value == "realizable":
        yield f"Some controller satisfies all {total} together."
        return
    if result.value == "unrealizable":
        yield f"Warning: no controller satisfies all {total} together."
    maximal = result.maximal or ()
    for subset in maximal[:_MOST]:
        without = [i for i in applicable if i not in subset]
        yield f"{len(subset)} of {total} can hold together: all but {_list(without)}."
    if len(maximal) > _MOST:
        yield f"There are {len(maximal) - _MOST} more maximal sets, none of them larger."
    conflicts = result.conflicts or ()
    for conflict in conflicts[:_MOST]:
        if len(conflict) == 1:
            yield f"No controller satisfies {conflict[0]}."
        else:
            yield f"No controller satisfies {_list(conflict)} together."
    if len(conflicts) > _MOST:
        yield f"There are {len(conflicts) - _MOST} more minimal conflicts, none of them smaller."


def _implications(found: Implications) -> Iterator[str]:
    if found.always:
        verb = "hold" if len(found.always) > 1 else "holds"
        yield f"{_list(found.always)} {verb} whatever the controller does."
    for member in found.never:
        yield f"{member} is false whatever the controller does."
    equivalent = {(p.implied_by, p.id) for p in found.pairs if p.equivalent}
    for a in dict.fromkeys(p.implied_by for p in found.pairs):
        same = [p.id for p in found.pairs if p.implied_by == a and p.equivalent]
        # Each pair once: the first of the two in the book's order speaks.
        same = [b for b in same if (b, a) not in equivalent or _first(found, a, b)]
        if same:
            yield f"{a} and {_list(same)} are equivalent."
        weaker = [p.id for p in found.pairs if p.implied_by == a and not p.equivalent]
        if weaker:
            yield f"{a} implies {_list(weaker)}."
    for member in found.redundant:
        if len(member.implied_by) > 1:
            yield f"{member.id} follows from {_list(member.implied_by)} together."


def _first(found: Implications, a: str, b: str) -> bool:
    order = [p.id for p in found.pairs]
    return order.index(a) < order.index(b)


def _list(items: Iterable[str]) -> str:
    """a, b and c."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last
