"""Can any controller satisfy these specifications in this world? A game, solved with Spot.

Two players build a word: at each step the environment shows a label c that a path of the world
may have next, then the controller, who remembers all labels so far, answers with an action a; the
letter is c ∪ {a} (Mealy, same step). The controller wins the word if it satisfies all
specifications, or breaks the world's assumptions:

    objective  =  broken assumptions ∪ (specifications ∩ legal actions)

A controller observes labels, not states, so all it can depend on is the language of the world,
whose automaton is determinized; a path with the labels seen so far may always go on to satisfy
the assumptions. The objective becomes a deterministic parity automaton, hence a parity game, which
one side wins with finite memory (Büchi and Landweber 1969; Pnueli and Rosner 1989). If the
controller wins, its strategy is a controller in our sense; and since the game is determined, no
controller wins otherwise. Non-deterministic controllers win no more: any one of their choices
would win too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from verifier.automata import Automaton, Bdd, make_alphabet, world_automaton
from verifier.bindings import buddy, spot
from verifier.conflicts import Borders, borders
from verifier.controller import Controller
from verifier.semantics import Semantics
from verifier.strategies import (
    Environment,
    Solution,
    winning_controller,
    winning_environment,
)
from verifier.transition_system import TransitionSystem
from verifier.vacuity import strengthenings
from verifier.vocabulary import Vocabulary


@dataclass(frozen=True)
class Realizability:
    """Whether one controller can satisfy all specifications, and if not, which go together.

    Attributes:
        value: ``unknown`` if the game was not solved in time.
        maximal: The maximal realizable sets, largest first; None if not found in time.
        conflicts: The minimal unrealizable sets, smallest first; None likewise.
    """

    value: Literal["realizable", "unrealizable", "unknown"]
    maximal: tuple[tuple[str, ...], ...] | None
    conflicts: tuple[tuple[str, ...], ...] | None

    @property
    def maximum(self) -> int | None:
        """How many specifications one controller can satisfy at most; None if unknown."""
        return len(self.maximal[0]) if self.maximal else None


@dataclass(frozen=True)
class Manoeuvre:
    """Whether a controller that satisfies all specifications can promise ``F action``.

    Attributes:
        action: The action.
        prevented_by: Specifications that no controller satisfies together with the promise, none
            of which can be left out; empty if the promise is possible.
    """

    action: str
    prevented_by: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Whether some controller keeps all rules and makes the manoeuvre."""
        return not self.prevented_by


class Game:
    """The game of any controller against one world under one profile.

    Raises:
        InputError: No path of the world satisfies its assumptions.
    """

    def __init__(
        self, world: TransitionSystem, semantics: Semantics, vocabulary: Vocabulary
    ) -> None:
        self.semantics = semantics
        self.alphabet = make_alphabet(vocabulary)
        self.words = world_automaton(world, self.alphabet, semantics)
        self._actions: Bdd = buddy.bddtrue
        for name in vocabulary.action_names:
            self._actions &= buddy.bdd_ithvar(self.alphabet.variables[name])
        self._legal = f"G({legal_actions(vocabulary, semantics)})"

    @cached_property
    def _deterministic_words(self) -> Automaton:
        """The words of the world; from every state some word is accepted."""
        automaton = self.words.postprocess("deterministic", "parity")
        return spot.scc_filter(automaton, True)

    def letters(self) -> Automaton:
        """The words of the world combined with any legal actions."""
        return spot.product(self.words, spot.translate(spot.formula(self._legal)))

    def realizable(self, formulas: Iterable[str]) -> bool:
        """Whether some controller satisfies all ``formulas`` in the world."""
        return self._solve(formulas).won

    def controller(self, formulas: Iterable[str]) -> Controller | None:
        """A controller that satisfies all ``formulas`` in the world, or None."""
        return winning_controller(self._solve(formulas), self.alphabet, self.semantics)

    def environment(self, formulas: Iterable[str]) -> Environment | None:
        """A behaviour of the world in which no controller satisfies all ``formulas``, or None."""
        return winning_environment(self._solve(formulas), self.alphabet, self.semantics)

    def jointly_realizable(self, formulas: Mapping[str, str]) -> Borders:
        """The largest sets of ``formulas`` (by id) that go together, and the minimal conflicts."""
        return borders(
            tuple(formulas), lambda chosen: self.realizable(formulas[i] for i in sorted(chosen))
        )

    def manoeuvre(self, action: str, formulas: Mapping[str, str]) -> Manoeuvre | None:
        """Whether ``F action`` goes together with all ``formulas`` (by id).

        None if the formulas are unrealizable already.
        """
        promise = f"F {action}"
        if self.realizable([*formulas.values(), promise]):
            return Manoeuvre(action, ())
        if not self.realizable(formulas.values()):
            return None
        for member, formula in formulas.items():  # usually one is to blame, and these are quick
            if not self.realizable([formula, promise]):
                return Manoeuvre(action, (member,))
        blamed = dict(formulas)
        for member in formulas:
            fewer = {i: f for i, f in blamed.items() if i != member}
            if not self.realizable([*fewer.values(), promise]):
                blamed = fewer
        return Manoeuvre(action, tuple(blamed))

    def only_vacuously(self, formula: str) -> str | None:
        """The strengthening that comes for free with ``formula``, or None.

        If one is returned, every controller that satisfies ``formula`` satisfies the strengthening
        too, so the checker never finds it more than ``vacuous``. If None is returned, some
        controller satisfies ``formula`` and no strengthening of it (or none satisfies it at all).

        Criterion: a word can be produced by a controller that satisfies ``formula`` exactly if it
        never leaves the controller's winning positions and satisfies ``formula``: follow the word
        as long as the environment does, then any winning strategy. The strengthening is free if
        it holds on all these words. If for every strengthening some word is left, the controller
        that chooses at the start between those that produce them escapes all strengthenings.
        """
        solved = self._solve([formula])
        if not solved.won:
            return None
        producible = spot.product(self.words, _winning_part(solved))
        for stronger in strengthenings(spot.formula(formula)):
            violation = spot.translate(spot.formula.Not(stronger))
            if spot.product(producible, violation).is_empty():
                return str(stronger)
        return None

    def _solve(self, formulas: Iterable[str]) -> Solution:
        conjunction = " & ".join([self._legal, *(f"({formula})" for formula in formulas)])
        required = spot.translate(spot.formula(conjunction), "deterministic", "generic", "complete")
        objective = _parity_game(_implication(self._deterministic_words, required))
        arena = spot.split_2step(objective, self._actions, False)
        spot.solve_game(arena)
        return Solution(objective, arena, tuple(map(bool, spot.get_state_winners(arena))))


def legal_actions(vocabulary: Vocabulary, semantics: Semantics) -> str:
    """What every letter satisfies: exactly one action; under ``epsilon: noop`` none will do too."""
    names = vocabulary.action_names
    choices = [(name,) for name in names] + ([()] if semantics.epsilon == "noop" else [])
    cubes = (
        " & ".join(name if name in chosen else f"!{name}" for name in names) for chosen in choices
    )
    return " | ".join(f"({cube})" for cube in cubes)


def _implication(world: Automaton, required: Automaton) -> Automaton:
    """Runs of both, accepted if the world does not accept or the other does.

    Labels that the world cannot show lead nowhere, so that the environment has no such moves;
    Spot's ``product_or`` would complete the automata. ``required`` must be complete.
    """
    sets = world.num_sets(), required.num_sets()
    accepts = world.get_acceptance().complement() | (required.get_acceptance() << sets[0])
    # Only the synchronous runs are wanted of the product. Where Spot knows that runs are rejected
    # (acceptance false, weak automata), it would leave some of them out.
    for automaton in (world, required):
        automaton.prop_weak(spot.trival_maybe())
    if required.get_acceptance().is_f():
        required.set_generalized_buchi(1)
    both = spot.product(world, required)
    both.set_acceptance(sum(sets), accepts)
    return both


def _parity_game(objective: Automaton) -> Automaton:
    """A deterministic automaton in the form that games are solved in: coloured, parity max odd.

    Reducing it by simulation first takes longer than solving the game as it is.
    """
    result = spot.to_parity(objective)
    spot.change_parity_here(result, spot.parity_kind_max, spot.parity_style_odd)
    spot.colorize_parity_here(result, True)
    return result


def _winning_part(solved: Solution) -> Automaton:
    """The objective without the positions from which the environment wins."""
    objective = solved.objective
    part = spot.make_twa_graph(objective.get_dict())
    part.copy_ap_of(objective)
    part.copy_acceptance_of(objective)
    part.new_states(objective.num_states())
    part.set_init_state(objective.get_init_state_number())
    for edge in objective.edges():
        if solved.winners[edge.src] and solved.winners[edge.dst]:
            part.new_edge(edge.src, edge.dst, edge.cond, edge.acc)
    return part
