"""From a word of the automata back to a run: world states, controller states and step numbers.

The word comes from automata in which states were merged, so its run is searched for in the
product of the world and the controller as they were given. A run found here is genuine whatever
the automata did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.automata import Alphabet, Bdd, letter_actions
from verifier.bindings import buddy
from verifier.controller import Controller, Transition, final_redirect
from verifier.lasso_evaluation import holds
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.verdicts import Lasso, Moment
from verifier.vocabulary import EPSILON


@dataclass(frozen=True)
class SymbolicWord:
    """A lasso of conditions; any letters that meet them form a word of the language."""

    prefix: tuple[Bdd, ...]
    cycle: tuple[Bdd, ...]

    @staticmethod
    def of_run(run: Any) -> SymbolicWord:
        """The conditions along a ``spot.twa_run``."""
        # Labels are references into lists that the bindings copy on access: keep each list alive
        # while its labels are copied (by the conjunction).
        prefix, cycle = run.prefix, run.cycle
        return SymbolicWord(
            tuple(step.label & buddy.bddtrue for step in prefix),
            tuple(step.label & buddy.bddtrue for step in cycle),
        )


@dataclass(frozen=True)
class _Node:
    """At position ``position`` of the word, with the world and the controller in these states."""

    position: int
    world: int
    state: int


_Edge = tuple[_Node, Transition]
"""The next node and the controller transition taken."""


def replay(
    word: SymbolicWord,
    controller: Controller,
    world: TransitionSystem,
    alphabet: Alphabet,
    semantics: Semantics,
) -> Lasso:
    """A run of world and controller along ``word`` that meets the world's assumptions.

    Raises:
        AssertionError: There is none; the automata and the definitions disagree.
    """
    product = _Product(word, controller, world, alphabet, semantics)
    for initial in _initial_regions(world):
        lasso = product.lasso([_Node(0, s, controller.initial) for s in initial])
        if lasso is not None and (
            semantics.assumptions == "none" or _meets_assumptions(lasso, world)
        ):
            return lasso
    raise AssertionError(f"no run of {world.name} and the controller matches the word found")


def _initial_regions(world: TransitionSystem) -> Iterator[Sequence[int]]:
    """Initial states grouped by the assumptions that apply to them."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for state in world.initial:
        applying = (
            number
            for number, assumption in enumerate(world.assumptions)
            if assumption.states is None or state in assumption.states
        )
        groups[tuple(applying)].append(state)
    yield from groups.values()


def _meets_assumptions(lasso: Lasso, world: TransitionSystem) -> bool:
    first = world.states.index((lasso.prefix or lasso.cycle)[0].world)
    prefix = [moment.letter for moment in lasso.prefix]
    cycle = [moment.letter for moment in lasso.cycle]
    return all(
        holds(assumption.formula, prefix, cycle)
        for assumption in world.assumptions
        if assumption.states is None or first in assumption.states
    )


class _Product:
    """Word x world x controller, explored on demand."""

    def __init__(
        self,
        word: SymbolicWord,
        controller: Controller,
        world: TransitionSystem,
        alphabet: Alphabet,
        semantics: Semantics,
    ) -> None:
        self.conditions = (*word.prefix, *word.cycle)
        self.loop_start = len(word.prefix)
        self.world, self.alphabet, self.semantics = world, alphabet, semantics
        self.outgoing: dict[int, list[Transition]] = defaultdict(list)
        for transition in final_redirect(controller, semantics.on_finish):
            self.outgoing[transition.source].append(transition)
        self._choices: dict[tuple[int, frozenset[str], int], list[Transition]] = {}
        self._edges: dict[_Node, list[_Edge]] = {}

    def choices(self, position: int, label: frozenset[str], state: int) -> list[Transition]:
        """Transitions the controller may take on ``label`` that fit the word's condition."""
        key = (position, label, state)
        if key not in self._choices:
            cube = self.alphabet.label(label)
            enabled = [
                t
                for t in self.outgoing[state]
                if (cube & self.alphabet.guard(t.guard)) != buddy.bddfalse
            ] or [Transition(state, "true", EPSILON, state)]
            allowed = cube & self.conditions[position]
            self._choices[key] = [
                t
                for t in enabled
                if (allowed & self.alphabet.action(t.action, self.semantics)) != buddy.bddfalse
            ]
        return self._choices[key]

    def edges(self, node: _Node) -> list[_Edge]:
        """Successors of ``node``, those with the fewest changes of the label first."""
        if node not in self._edges:
            label = self.world.labels[node.world]
            position = node.position + 1
            if position == len(self.conditions):
                position = self.loop_start
            moves = self.choices(node.position, label, node.state)
            worlds = sorted(
                self.world.successors[node.world] if moves else (),
                key=lambda s: (len(self.world.labels[s] ^ label), len(self.world.labels[s]), s),
            )
            self._edges[node] = [
                (_Node(position, successor, t.target), t) for successor in worlds for t in moves
            ]
        return self._edges[node]

    def lasso(self, initial: Sequence[_Node]) -> Lasso | None:
        """The first infinite run in depth-first order, as a lasso."""
        order = sorted(initial, key=lambda n: (len(self.world.labels[n.world]), n.world))
        dead: set[_Node] = set()
        for start in order:
            path: list[tuple[_Node, Transition | None]] = [(start, None)]
            on_path = {start: 0}
            iterators = [iter(self.edges(start))]
            while path:
                node, _ = path[-1]
                following = next((e for e in iterators[-1] if e[0] not in dead), None)
                if following is None:
                    dead.add(node)
                    del on_path[node]
                    path.pop()
                    iterators.pop()
                    continue
                successor, taken = following
                path[-1] = (node, taken)
                if successor in on_path:
                    moments = [self._moment(n, t) for n, t in path if t is not None]
                    at = on_path[successor]
                    return Lasso(tuple(moments[:at]), tuple(moments[at:]))
                on_path[successor] = len(path)
                path.append((successor, None))
                iterators.append(iter(self.edges(successor)))
        return None

    def _moment(self, node: _Node, taken: Transition) -> Moment:
        letters = letter_actions(taken.action, self.semantics)
        return Moment(
            world=self.world.states[node.world],
            propositions=tuple(sorted(self.world.labels[node.world])),
            action=next(iter(letters), None),
            step=taken.step,
            state=node.state,
        )
