"""Which members of a set go together: maximal feasible subsets and minimal conflicts.

"Dualize and Advance" (Gunopulos, Khardon, Mannila, Toivonen 1997): the minimal conflicts are the
minimal sets that meet the complement of every maximal feasible subset. Look for a feasible one
among them; if there is, it grows into a new maximal subset, and if not, both lists are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Subset = frozenset[str]


@dataclass(frozen=True)
class Borders:
    """Both borders of a downward closed family of subsets.

    Attributes:
        maximal: The maximal feasible subsets, largest first.
        conflicts: The minimal infeasible subsets, smallest first.
    """

    maximal: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]


def borders(items: Sequence[str], feasible: Callable[[Subset], bool]) -> Borders:
    """All maximal feasible subsets and all minimal conflicts of ``items``.

    Args:
        items: Distinct names.
        feasible: Downward closed: every subset of a feasible set is feasible.
    """
    everything = frozenset(items)
    maximal: list[Subset] = []
    conflicts: set[Subset] = set()

    def unexplored() -> Subset | None:
        """A feasible set inside none of ``maximal``; tested conflicts stay minimal conflicts."""
        for candidate in minimal_transversals(everything - subset for subset in maximal):
            if candidate in conflicts:
                continue
            if feasible(candidate):
                return candidate
            conflicts.add(candidate)
        return None

    while (seed := unexplored()) is not None:
        maximal.append(_grow(seed, items, feasible))
    by_size = sorted(
        (in_order(c, items) for c in conflicts), key=lambda c: (len(c), _key(c, items))
    )
    largest = sorted((in_order(m, items) for m in maximal), key=lambda m: (-len(m), _key(m, items)))
    return Borders(tuple(largest), tuple(by_size))


def minimal_transversals(family: Iterable[Subset]) -> list[Subset]:
    """The minimal sets that meet every member of ``family`` (Berge 1989: member by member)."""
    transversals: list[Subset] = [frozenset()]
    for member in family:
        hit = [t for t in transversals if t & member]
        grown = {t | {x} for t in transversals if not t & member for x in member}
        transversals = hit + [t for t in grown if not any(h <= t for h in hit)]
    return sorted(transversals, key=lambda t: (len(t), sorted(t)))


def in_order(subset: Iterable[str], items: Sequence[str]) -> tuple[str, ...]:
    """The members of ``subset`` in the order of ``items``."""
    members = set(subset)
    return tuple(item for item in items if item in members)


def _grow(seed: Subset, items: Sequence[str], feasible: Callable[[Subset], bool]) -> Subset:
    for item in items:
        if item not in seed and feasible(seed | {item}):
            seed = seed | {item}
    return seed


def _key(subset: tuple[str, ...], items: Sequence[str]) -> list[int]:
    return [items.index(item) for item in subset]
