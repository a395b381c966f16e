"""Can any controller satisfy these specifications in this world? A game, solved with Spot.

Two players build a word: at each step the environment shows a label c, then the controller, who
remembers all labels so far, answers with an action a; the letter is c ∪ {a} (Mealy, same step).
The controller wins a word if it is none of the world's, or satisfies every specification:

    objective  =  complement(words of the world) ∪ (specifications ∩ legal actions)

The words of the world are its label sequences that satisfy its assumptions, as the model checker
sees them. A controller observes labels, not states, so that language is all it can depend on, and
a non-deterministic world is determinized first. The objective becomes a deterministic parity
automaton, hence a parity game, which one side wins with finite memory (Büchi and Landweber 1969;
Pnueli and Rosner 1989). If the controller wins, its strategy is a controller in our sense; and
since the game is determined, no controller wins otherwise. Non-deterministic controllers win no
more: any one of their choices would win too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from verifier.automata import Automaton, Bdd, make_alphabet, world_automaton
from verifier.bindings import buddy, spot
from verifier.conflicts import Borders, borders
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vacuity import strengthenings
from verifier.vocabulary import EPSILON, Vocabulary


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
class _Solved:
    """A solved game: the deterministic objective and who wins from each of its states."""

    objective: Automaton
    winners: tuple[bool, ...]

    @property
    def won(self) -> bool:
        return self.winners[self.objective.get_init_state_number()]


class Game:
    """The game of any controller against one world under one profile.

    Raises:
        InputError: No path of the world satisfies its assumptions.
    """

    def __init__(
        self, world: TransitionSystem, semantics: Semantics, vocabulary: Vocabulary
    ) -> None:
        self.alphabet = make_alphabet(vocabulary)
        self.words = world_automaton(world, self.alphabet, semantics)
        self._actions: Bdd = buddy.bddtrue
        for name in vocabulary.action_names:
            self._actions &= buddy.bdd_ithvar(self.alphabet.variables[name])
        self._legal = f"G({legal_actions(vocabulary, semantics)})"

    @cached_property
    def _foreign(self) -> Automaton:
        """Deterministic and complete: the label sequences that are not of the world."""
        return spot.dualize(_deterministic(self.words))

    def letters(self) -> Automaton:
        """The words of the world combined with any legal actions."""
        return spot.product(self.words, spot.translate(spot.formula(self._legal)))

    def realizable(self, formulas: Iterable[str]) -> bool:
        """Whether some controller satisfies all ``formulas`` in the world."""
        return self._solve(formulas).won

    def jointly_realizable(self, formulas: Mapping[str, str]) -> Borders:
        """The largest sets of ``formulas`` (by id) that go together, and the minimal conflicts."""
        return borders(
            tuple(formulas), lambda chosen: self.realizable(formulas[i] for i in sorted(chosen))
        )

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

    def _solve(self, formulas: Iterable[str]) -> _Solved:
        conjunction = " & ".join([self._legal, *(f"({formula})" for formula in formulas)])
        required = spot.translate(spot.formula(conjunction), "deterministic", "generic", "complete")
        objective = _parity_game(spot.product_or(self._foreign, required))
        # Position i < n of the game is state i of the objective, with the environment to move.
        arena = spot.split_2step(objective, self._actions, True)
        spot.solve_game(arena)
        winners = spot.get_state_winners(arena)[: objective.num_states()]
        return _Solved(objective, tuple(bool(winner) for winner in winners))


def legal_actions(vocabulary: Vocabulary, semantics: Semantics) -> str:
    """What every letter satisfies: exactly one action; under ``epsilon: noop`` none will do too."""
    names = vocabulary.action_names
    choices = [(name,) for name in names] + ([()] if semantics.epsilon == "noop" else [])
    cubes = (
        " & ".join(name if name in chosen else f"!{name}" for name in names) for chosen in choices
    )
    return " | ".join(f"({cube})" for cube in cubes)


def chosen_actions(vocabulary: Vocabulary, semantics: Semantics) -> tuple[str, ...]:
    """The actions with different letters; ``epsilon`` only where it is not ``stop``."""
    noop = (EPSILON,) if semantics.epsilon == "noop" else ()
    return (*vocabulary.action_names, *noop)


def _deterministic(automaton: Automaton) -> Automaton:
    return automaton.postprocess("deterministic", "parity", "complete")


def _parity_game(objective: Automaton) -> Automaton:
    """A deterministic, complete automaton in the form games are solved in: colours, max odd.

    Reducing it by simulation first takes longer than solving the game as it is.
    """
    result = spot.to_parity(objective)
    spot.change_parity_here(result, spot.parity_kind_max, spot.parity_style_odd)
    spot.colorize_parity_here(result, True)
    return result


def _winning_part(solved: _Solved) -> Automaton:
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
