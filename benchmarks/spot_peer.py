"""The straightforward check with Spot from Python.

World ⊗ controller edge by edge as an automaton; every specification (under the world's
assumptions) negated and translated for every controller; an on-the-fly emptiness check. Done with
care where care costs nothing: cubes are built once per label, only reachable states are built,
and the emptiness check is the fastest of Spot's on these models.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from benchmarks.choices import Choice, Label, choices_of
from verifier.automata import Automaton, Bdd
from verifier.bindings import buddy, spot
from verifier.controller import Controller
from verifier.formulas import Formula
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary


class SpotPeer:
    """Checks controllers against formulas in one world.

    Args:
        world: The world model; assumptions that speak about a part of it are not supported.
        formulas: LTL in Spot's syntax.
        semantics: The profile.
        vocabulary: The domain.
        cached: Translate each negation once instead of once per controller.
    """

    def __init__(
        self,
        world: TransitionSystem,
        formulas: Sequence[str],
        semantics: Semantics,
        vocabulary: Vocabulary,
        *,
        cached: bool = False,
    ) -> None:
        self.world, self.semantics = world, semantics
        self.formulas = [f"!({under_assumptions(f, world, semantics)})" for f in formulas]
        self._p, self._actions = vocabulary.proposition_names, vocabulary.action_names
        self._anchor = spot.make_twa_graph(spot._bdd_dict)
        self._variables = {n: self._anchor.register_ap(n) for n in (*self._p, *self._actions)}
        self._cubes: dict[tuple[frozenset[str], tuple[str, ...]], Bdd] = {}
        self._translate = lru_cache(maxsize=None)(_translate) if cached else _translate

    def holds(self, controller: Controller) -> tuple[bool, ...]:
        """For each formula, whether every word of world ⊗ controller satisfies it."""
        product = self.product(controller)
        return tuple(
            spot.otf_product(product, self._translate(f)).accepting_run() is None
            for f in self.formulas
        )

    def product(self, controller: Controller) -> Automaton:
        """World ⊗ controller: state (s, q), letter λ(s) ∪ {action} on the edges that leave it."""
        world, choices = self.world, choices_of(controller, self.semantics)
        automaton = spot.make_twa_graph(spot._bdd_dict)
        automaton.copy_ap_of(self._anchor)
        new_state, new_edge = automaton.new_state, automaton.new_edge
        numbers: dict[tuple[int, int], int] = {}
        pending: list[tuple[int, int]] = []

        def connect(source: int, world_state: int, state: int) -> None:
            label = world.labels[world_state]
            for choice in choices(state, label):
                letter = self._letter(label, choice)
                target = choice.target
                for successor in world.successors[world_state]:
                    key = (successor, target)
                    number = numbers.get(key)
                    if number is None:
                        number = numbers[key] = new_state()
                        pending.append(key)
                    new_edge(source, number, letter)

        start = new_state()
        automaton.set_init_state(start)
        for world_state in world.initial:
            connect(start, world_state, controller.initial)
        while pending:
            key = pending.pop()
            connect(numbers[key], *key)
        return automaton

    def _letter(self, label: Label, choice: Choice) -> Bdd:
        return self._cube(label, self._p) & self._cube(choice.actions, self._actions)

    def _cube(self, true: frozenset[str], names: tuple[str, ...]) -> Bdd:
        cube = self._cubes.get((true, names))
        if cube is None:
            cube = buddy.bddtrue
            for name in names:
                variable = self._variables[name]
                cube &= buddy.bdd_ithvar(variable) if name in true else buddy.bdd_nithvar(variable)
            self._cubes[true, names] = cube
        return cube


def under_assumptions(formula: str, world: TransitionSystem, semantics: Semantics) -> Formula:
    """assumptions → formula, with the world's assumptions that hold everywhere.

    Raises:
        ValueError: An assumption speaks about a part of the world only.
    """
    if semantics.assumptions == "none":
        return spot.formula(formula)
    if any(a.states is not None for a in world.assumptions):
        raise ValueError(f"{world.name} has assumptions about a part of it")
    assumptions = spot.formula.And([spot.formula(a.formula) for a in world.assumptions])
    return spot.formula.Implies(assumptions, spot.formula(formula))


def _translate(formula: str) -> Automaton:
    return spot.translate(formula)
