"""The disjoint union of worlds: the paper's universal model."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.transition_system import Assumption, TransitionSystem


def union(name: str, members: Sequence[TransitionSystem], text: str = "") -> TransitionSystem:
    """All members side by side; there is no transition between them.

    The initial states are those of all members, states are called ``member:state``, and each
    assumption speaks about its own member only. The members' names must differ.
    """
    states: list[str] = []
    labels: list[frozenset[str]] = []
    initial: list[int] = []
    successors: list[tuple[int, ...]] = []
    assumptions: list[Assumption] = []
    for member in members:
        offset = len(states)
        states += (f"{member.name}:{state}" for state in member.states)
        labels += member.labels
        initial += (offset + i for i in member.initial)
        shifted = {row: tuple(offset + i for i in row) for row in set(member.successors)}
        successors += (shifted[row] for row in member.successors)
        assumptions += (_scoped(a, offset, len(member.states)) for a in member.assumptions)
    return TransitionSystem(
        name=name,
        text=text,
        propositions=tuple(dict.fromkeys(p for m in members for p in m.propositions)),
        states=tuple(states),
        labels=tuple(labels),
        initial=tuple(initial),
        successors=tuple(successors),
        assumptions=tuple(assumptions),
    )


def _scoped(assumption: Assumption, offset: int, size: int) -> Assumption:
    scope = range(size) if assumption.states is None else assumption.states
    return Assumption(assumption.formula, frozenset(offset + i for i in scope))
