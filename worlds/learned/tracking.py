"""Following a recorded episode in a world: which of its states may one be in?

What is observed need not tell the state: hidden variables and memory are not observed. So the set
of all states that agree with what was seen so far is carried along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from verifier.transition_system import TransitionSystem
from worlds.learned.recordings import Label

Kind = Literal["label", "start", "step", "long"]
"""No state has the label; none that has it is initial; none of them may follow. ``long``: none may
follow at once, but the step took the time of several, and then one may."""


@dataclass(frozen=True)
class Break:
    """A place at which an episode leaves the world.

    Attributes:
        kind: How.
        index: Of the label that is not possible there.
        before: States that one may have been in before; empty for the first label.
    """

    kind: Kind
    index: int
    before: frozenset[int]


class Tracker:
    """Follows label sequences in a world."""

    def __init__(self, world: TransitionSystem) -> None:
        self.world = world
        self.labels = frozenset(world.labels)
        self._initial = _by_label(world, world.initial)
        self._everywhere = _by_label(world, range(len(world.states)))
        self._rows = [_by_label(world, row) for row in world.successors]

    def breaks(self, labels: Sequence[Label], periods: Sequence[int] | None = None) -> list[Break]:
        """Every place at which the sequence is impossible; after it, one starts anew.

        After an impossible step every state with the new label is possible; after an impossible
        label, every state with the next possible one.

        Args:
            labels: What was seen.
            periods: For each label, how many steps of the world fit between it and the one before
                (any number for the first); None for one each. While a manoeuvre is made nobody
                looks, so labels in between are not known.
        """
        found: list[Break] = []
        now: frozenset[int] | None = None
        for index, label in enumerate(labels):
            if label not in self.labels:
                found.append(Break("label", index, now or frozenset()))
                now = frozenset()
                continue
            if now is None:
                after = self._initial.get(label, frozenset())
            elif now:
                after = self.after(now, label)
            else:
                after = self._everywhere[label]
            if now and not after and periods is not None and periods[index] > 1:
                after = self._within(now, label, periods[index])
                if after:
                    found.append(Break("long", index, now))
            if not after:
                found.append(Break("step" if now else "start", index, now or frozenset()))
                after = self._everywhere[label]
            now = after
        return found

    def after(self, states: frozenset[int], label: Label) -> frozenset[int]:
        """States with the label that may follow one of ``states``."""
        return frozenset().union(*(self._rows[i].get(label, frozenset()) for i in states))

    def _within(self, states: frozenset[int], label: Label, steps: int) -> frozenset[int]:
        """States with the label that may follow in at most so many steps."""
        found = self.after(states, label)
        for _ in range(steps - 1):
            states = frozenset().union(*(self.world.successors[i] for i in states))
            found |= self.after(states, label)
        return found


def _by_label(world: TransitionSystem, states: Sequence[int]) -> dict[Label, frozenset[int]]:
    found: defaultdict[Label, set[int]] = defaultdict(set)
    for i in states:
        found[world.labels[i]].add(i)
    return {label: frozenset(members) for label, members in found.items()}
