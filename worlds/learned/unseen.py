"""What a hand-written scenario allows and no recording shows, in few words.

Label by label that would be a list of thousands. Most of it is explained by pairs: two things that
never hold together, or something that is never followed by something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from worlds.learned.recordings import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

Literal = tuple[str, bool]
"""A proposition and whether it holds."""

_Masks = list[tuple[tuple[Literal, ...], "NDArray[np.bool_]", "NDArray[np.bool_]"]]

MOST = 12
"""Patterns named at most."""


@dataclass(frozen=True)
class Pattern:
    """A combination that the scenario allows and no recording shows.

    Attributes:
        literals: What never holds together; in a pattern of steps: now, and next.
        explains: Modelled labels (or steps) with it that no pattern before it explains.
    """

    literals: tuple[Literal, ...]
    explains: int


def label_patterns(
    modelled: Sequence[Label], seen: Sequence[Label], propositions: Sequence[str]
) -> tuple[Pattern, ...]:
    """What never holds (together) in the labels seen, although it does in some modelled one."""
    literals = list(product(propositions, (True, False)))
    have, shown = _matrix(modelled, literals), _matrix(seen, literals)
    masks: _Masks = [((a,), have[i], shown[i]) for i, a in enumerate(literals)]
    masks += [
        ((literals[i], literals[j]), have[i] & have[j], shown[i] & shown[j])
        for i, j in combinations(range(len(literals)), 2)
        if literals[i][0] != literals[j][0]
    ]
    return _cover(masks, len(modelled))


def step_patterns(
    modelled: Sequence[tuple[Label, Label]],
    seen: Sequence[tuple[Label, Label]],
    propositions: Sequence[str],
) -> tuple[Pattern, ...]:
    """What is never followed by what in the steps seen, although it is in some modelled one."""
    literals = list(product(propositions, (True, False)))
    now, after = (_matrix([s[k] for s in modelled], literals) for k in (0, 1))
    shown_now, shown_after = (_matrix([s[k] for s in seen], literals) for k in (0, 1))
    masks: _Masks = [
        ((a, b), now[i] & after[j], shown_now[i] & shown_after[j])
        for (i, a), (j, b) in product(enumerate(literals), repeat=2)
    ]
    return _cover(masks, len(modelled))


def _matrix(labels: Sequence[Label], literals: Sequence[Literal]) -> NDArray[np.bool_]:
    """[literal, label]: does it hold there?"""
    rows = [[(name in label) == value for label in labels] for name, value in literals]
    return np.array(rows, dtype=bool).reshape(len(literals), len(labels))


def _cover(masks: _Masks, size: int) -> tuple[Pattern, ...]:
    """Greedily, the patterns that explain most of what is left; shorter ones first on a tie."""
    candidates = [(literals, have) for literals, have, shown in masks if not shown.any()]
    left = np.ones(size, dtype=bool)
    found: list[Pattern] = []
    while candidates and len(found) < MOST:
        gains = [int((have & left).sum()) for _, have in candidates]
        best = max(range(len(gains)), key=lambda i: (gains[i], -len(candidates[i][0])))
        if not gains[best]:
            break
        literals, have = candidates[best]
        found.append(Pattern(literals, gains[best]))
        left &= ~have
    return tuple(found)
