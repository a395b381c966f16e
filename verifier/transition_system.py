"""World models: transition systems whose states are labelled with sets of propositions.

M = <Q_M, δ_M, λ_M> of the paper (§1.1) with initial states and fairness assumptions added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Assumption:
    """A fairness assumption: every path through ``states`` is taken to satisfy ``formula``.

    Attributes:
        formula: LTL over P in Spot's syntax.
        states: Indices of the states it speaks about (a part closed under transitions, as one
            scenario of a union), or None for all.
    """

    formula: str
    states: frozenset[int] | None = None


@dataclass(frozen=True)
class TransitionSystem:
    """A finite transition system over a set of propositions.

    Attributes:
        name: Short identifier.
        text: Plain-language description.
        propositions: What can be observed in this world (all others are always false).
        states: Names of the states; indices into it are used everywhere else.
        labels: For each state, the propositions that hold in it.
        initial: Indices of the initial states; verification starts from every one of them.
        successors: For each state, the indices of its successors in ascending order. Equal rows
            should be the same tuple object: a complete graph then takes linear memory.
        assumptions: Fairness assumptions.
    """

    name: str
    text: str
    propositions: tuple[str, ...]
    states: tuple[str, ...]
    labels: tuple[frozenset[str], ...]
    initial: tuple[int, ...]
    successors: tuple[tuple[int, ...], ...]
    assumptions: tuple[Assumption, ...] = ()

    @property
    def num_transitions(self) -> int:
        """Number of transitions."""
        return sum(len(row) for row in self.successors)

    @cached_property
    def hash(self) -> str:
        """``sha256:...`` of everything that verdicts depend on (not of the description)."""
        rows: dict[tuple[int, ...], int] = {}
        content = [
            sorted(self.propositions),
            list(self.states),
            [sorted(label) for label in self.labels],
            sorted(self.initial),
            [rows.setdefault(row, len(rows)) for row in self.successors],
            [list(row) for row in rows],
            sorted(
                [a.formula, sorted(a.states) if a.states is not None else None]
                for a in self.assumptions
            ),
        ]
        text = json.dumps(content, separators=(",", ":"), default=str)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def make_transition_system(
    name: str,
    labels: dict[str, Iterable[str]],
    transitions: dict[str, Sequence[str]] | None = None,
    *,
    initial: Sequence[str] | None = None,
    propositions: Iterable[str] | None = None,
    assumptions: Iterable[str] = (),
    text: str = "",
) -> TransitionSystem:
    """A transition system from state names.

    Args:
        name: Short identifier.
        labels: State name -> propositions that hold in it.
        transitions: State name -> successors' names; None for the complete graph.
        initial: Names of the initial states; None for all.
        propositions: What can be observed; None for those that occur in labels.
        assumptions: LTL formulas over P.
        text: Description.

    Raises:
        KeyError: A successor or initial state is not among the states.
    """
    states = tuple(labels)
    index = {state: i for i, state in enumerate(states)}
    label_sets = tuple(frozenset(labels[state]) for state in states)
    everything = tuple(range(len(states)))
    if transitions is None:
        successors = tuple(everything for _ in states)
    else:
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        rows = (tuple(sorted({index[t] for t in transitions.get(s, ())})) for s in states)
        successors = tuple(shared.setdefault(row, row) for row in rows)
    occurring = frozenset().union(*label_sets) if label_sets else frozenset()
    return TransitionSystem(
        name=name,
        text=text,
        propositions=tuple(propositions) if propositions is not None else tuple(sorted(occurring)),
        states=states,
        labels=label_sets,
        initial=everything if initial is None else tuple(sorted(index[s] for s in initial)),
        successors=successors,
        assumptions=tuple(Assumption(formula) for formula in assumptions),
    )
