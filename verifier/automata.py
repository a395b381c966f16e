"""World and controller as ω-automata over the letters 2^(P ∪ P_A).

A transition system labels states, Spot's automata label edges. Here a world becomes the
automaton whose nodes are the distinct successor sets: an edge chooses the next world state and
carries its label. World states with the same successors share a node and edges between the same
nodes merge into one Boolean guard, so a complete graph of any size is one node. The language is
that of the transition system; `verifier.replay` maps words back to world states.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from verifier.bindings import buddy, spot
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import EPSILON, Vocabulary

Automaton = Any
"""A ``spot.twa_graph``."""
Bdd = Any
"""A ``buddy.bdd`` over the propositions of an `Alphabet`."""

_REDUCE_BELOW = 1_000


@dataclass(frozen=True)
class Alphabet:
    """The letters: BDD variables of P ∪ P_A, the cube of each label and of each action.

    All automata share Spot's global dictionary; ``anchor`` keeps the variables registered.
    """

    vocabulary: Vocabulary
    anchor: Automaton
    variables: dict[str, int]
    _cubes: dict[frozenset[str], Bdd] = field(default_factory=dict, repr=False)
    _guards: dict[str, Bdd] = field(default_factory=dict, repr=False)
    _guarded: dict[tuple[str, str, str], tuple[Bdd, Bdd]] = field(default_factory=dict, repr=False)

    def label(self, propositions: frozenset[str]) -> Bdd:
        """Exactly these propositions of P hold."""
        return self._cube(propositions, self.vocabulary.proposition_names)

    def action(self, name: str, semantics: Semantics) -> Bdd:
        """Exactly this member of P_A holds; epsilon as the profile says."""
        return self._cube(letter_actions(name, semantics), self.vocabulary.action_names)

    def guard(self, text: str) -> Bdd:
        """The BDD of a Boolean formula (validated before)."""
        found = self._guards.get(text)
        if found is None:
            found = spot.formula_to_bdd(spot.formula(text), spot._bdd_dict, self.anchor)
            self._guards[text] = found
        return found

    def guarded(self, guard: str, action: str, semantics: Semantics) -> tuple[Bdd, Bdd]:
        """The guard, and the letters of a transition with it and the action."""
        key = (guard, action, semantics.epsilon)
        found = self._guarded.get(key)
        if found is None:
            condition = self.guard(guard)
            found = (condition, condition & self.action(action, semantics))
            self._guarded[key] = found
        return found

    def _cube(self, true: frozenset[str], names: tuple[str, ...]) -> Bdd:
        key = true | {names[0] + "?"}  # labels and actions are cubes over different variables
        cube = self._cubes.get(key)
        if cube is None:
            cube = buddy.bddtrue
            for name in names:
                variable = self.variables[name]
                positive = name in true
                cube &= buddy.bdd_ithvar(variable) if positive else buddy.bdd_nithvar(variable)
            self._cubes[key] = cube
        return cube


def letter_actions(action: str, semantics: Semantics) -> frozenset[str]:
    """The action propositions that hold when ``action`` is chosen."""
    if action == EPSILON:
        return frozenset({"stop"}) if semantics.epsilon == "stop" else frozenset()
    return frozenset({action})


def make_alphabet(vocabulary: Vocabulary) -> Alphabet:
    """Register P ∪ P_A with Spot's global dictionary."""
    anchor = spot.make_twa_graph(spot._bdd_dict)
    names = (*vocabulary.proposition_names, *vocabulary.action_names)
    return Alphabet(vocabulary, anchor, {name: anchor.register_ap(name) for name in names})


def world_automaton(world: TransitionSystem, alphabet: Alphabet, semantics: Semantics) -> Automaton:
    """The label sequences of the world's paths, as a generalized Büchi automaton.

    Under ``assumptions: world`` only paths that satisfy the world's assumptions are accepted.
    Every state of the result has an accepting run.

    Raises:
        InputError: The world has no infinite path (that satisfies its assumptions).
    """
    parts: list[Automaton] = []
    for states, formulas in _regions(world, semantics):
        part = _label_automaton(world, alphabet, states)
        for formula in formulas:
            part = spot.product(part, spot.translate(spot.formula(formula)))
        parts.append(spot.scc_filter(part, True))
    whole = parts[0]
    for part in parts[1:]:
        whole = spot.sum(whole, part)
    if whole.num_states() <= _REDUCE_BELOW:
        whole = whole.postprocess("tgba", "small", "low")
    whole = spot.scc_filter(whole, True)
    if whole.is_empty():
        raise InputError(
            f"no infinite path of world {world.name} satisfies its assumptions",
            remedy="run 'specdrive worlds check' on it",
        )
    return whole


def _regions(
    world: TransitionSystem, semantics: Semantics
) -> list[tuple[frozenset[int] | None, list[str]]]:
    """Parts of the world with the assumptions that hold there; None stands for all states."""
    everywhere = [a.formula for a in world.assumptions if a.states is None]
    if semantics.assumptions == "none":
        return [(None, [])]
    scopes = dict.fromkeys(a.states for a in world.assumptions if a.states is not None)
    if not scopes:
        return [(None, everywhere)]
    if sum(map(len, scopes)) > len(frozenset().union(*scopes)):
        raise InputError(
            f"assumptions of world {world.name} speak about overlapping sets of states",
            remedy="give every part of the world its own assumptions",
        )
    regions: list[tuple[frozenset[int] | None, list[str]]] = [
        (scope, everywhere + [a.formula for a in world.assumptions if a.states == scope])
        for scope in scopes
    ]
    rest = frozenset(range(len(world.states))).difference(*scopes)
    return [*regions, (rest, everywhere)] if rest else regions


def _label_automaton(
    world: TransitionSystem, alphabet: Alphabet, states: frozenset[int] | None
) -> Automaton:
    automaton = spot.make_twa_graph(spot._bdd_dict)
    automaton.copy_ap_of(alphabet.anchor)
    nodes: dict[tuple[int, ...], int] = {}
    pending: list[tuple[int, ...]] = []

    def node(row: tuple[int, ...]) -> int:
        if row not in nodes:
            nodes[row] = automaton.new_state()
            pending.append(row)
        return nodes[row]

    # Rows are few and shared: look them up by identity before hashing their contents.
    node_of: dict[int, int] = {}
    initial = world.initial if states is None else tuple(s for s in world.initial if s in states)
    automaton.set_init_state(node(initial))
    while pending:
        row = pending.pop()
        edges: dict[int, Bdd] = defaultdict(lambda: buddy.bddfalse)
        for state in row:
            successors = world.successors[state]
            target = node_of.get(id(successors))
            if target is None:
                target = node_of[id(successors)] = node(successors)
            edges[target] |= alphabet.label(world.labels[state])
        for target, condition in edges.items():
            automaton.new_edge(nodes[row], target, condition)
    return automaton


@dataclass(frozen=True)
class ControllerAutomaton:
    """A controller's automaton, and for each of its states the letters that leave it."""

    automaton: Automaton
    letters: dict[int, Bdd]


def controller_automaton(
    controller: Controller, alphabet: Alphabet, semantics: Semantics
) -> ControllerAutomaton:
    """The letters c ∪ {action} the controller can produce: complete over labels, all accepting.

    Where no transition is enabled it waits: epsilon, same state.
    """
    stutter, final = semantics.on_finish == "stutter", controller.final
    enabled: dict[int, Bdd] = {}
    edges: dict[tuple[int, int], Bdd] = {}
    for t in controller.transitions:
        source, target = t.source, t.target
        if stutter and source == final:
            continue
        if target == final and not stutter:
            target = controller.initial
        guard, letter = alphabet.guarded(t.guard, t.action, semantics)
        edge = (source, target)
        edges[edge] = edges[edge] | letter if edge in edges else letter
        enabled[source] = enabled[source] | guard if source in enabled else guard
    wait = alphabet.action(EPSILON, semantics)
    for state in range(controller.num_states):
        blocked = buddy.bdd_not(enabled[state]) if state in enabled else buddy.bddtrue
        if blocked != buddy.bddfalse:
            letter = blocked & wait
            edge = (state, state)
            edges[edge] = edges[edge] | letter if edge in edges else letter
    automaton = spot.make_twa_graph(spot._bdd_dict)
    automaton.copy_ap_of(alphabet.anchor)
    automaton.new_states(controller.num_states)
    automaton.set_init_state(controller.initial)
    letters: dict[int, Bdd] = {}
    for (source, target), letter in edges.items():
        if letter != buddy.bddfalse:
            automaton.new_edge(source, target, letter)
            letters[source] = letters[source] | letter if source in letters else letter
    return ControllerAutomaton(automaton, letters)
