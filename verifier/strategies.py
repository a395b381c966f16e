"""Witnesses of who wins a realizability game: a controller, or an environment that defeats all.

Both are read off Spot's solution, which gives every position its winner's next move, and both can
be checked without games: the controller by the model checker, the environment by looking for an
action sequence that survives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from verifier.automata import Alphabet, Automaton, Bdd
from verifier.bindings import buddy, spot
from verifier.controller import Controller, Transition
from verifier.semantics import Semantics
from verifier.vocabulary import EPSILON, Vocabulary


@dataclass(frozen=True)
class Solution:
    """A solved game.

    Attributes:
        objective: The controller's objective, a deterministic parity automaton with states
            0 .. n-1: the game's positions where the environment shows a label.
        arena: The game; its other positions are those where the controller answers.
        winners: For each position, whether the controller wins from it.
    """

    objective: Automaton
    arena: Automaton
    winners: tuple[bool, ...]

    @property
    def won(self) -> bool:
        """Whether the controller wins the game."""
        return self.winners[self.arena.get_init_state_number()]


@dataclass(frozen=True)
class Environment:
    """A strategy of the environment: it starts in state 0 and reacts to the controller's actions.

    Attributes:
        labels: The label that each state shows.
        successors: For each state, the next one after each action.
    """

    labels: tuple[frozenset[str], ...]
    successors: tuple[dict[str, int], ...]


def chosen_actions(vocabulary: Vocabulary, semantics: Semantics) -> tuple[str, ...]:
    """The actions with different letters: ``epsilon`` only where it is not ``stop``."""
    noop = (EPSILON,) if semantics.epsilon == "noop" else ()
    return (*vocabulary.action_names, *noop)


def winning_controller(
    solution: Solution, alphabet: Alphabet, semantics: Semantics
) -> Controller | None:
    """A deterministic controller that wins; None if the environment does.

    It never finishes: its final state has no way in, so ``on_finish`` does not matter.
    """
    if not solution.won:
        return None
    arena, strategy = solution.arena, spot.get_strategy(solution.arena)
    states = _Numbering(arena.get_init_state_number())
    transitions: list[Transition] = []
    for source, position in states:
        for shown in arena.out(position):
            answer = arena.edge_storage(strategy[shown.dst])
            guard = spot.bdd_format_formula(arena.get_dict(), shown.cond)
            action = _allowed(answer.cond, alphabet, semantics)[0]
            transitions.append(Transition(source, guard, action, states.number(answer.dst)))
    return Controller(0, len(states.positions), tuple(transitions))


def winning_environment(
    solution: Solution, alphabet: Alphabet, semantics: Semantics
) -> Environment | None:
    """An environment of the world that no controller satisfies the objective in; None if none.

    Its labels follow the world's paths and its infinite runs satisfy the world's assumptions.
    """
    if solution.won:
        return None
    arena, strategy = solution.arena, spot.get_strategy(solution.arena)
    states = _Numbering(arena.get_init_state_number())
    labels: list[frozenset[str]] = []
    successors: list[dict[str, int]] = []
    for _, position in states:
        shown = arena.edge_storage(strategy[position])
        labels.append(_one_label(shown.cond, alphabet))
        successors.append(
            {
                action: states.number(answer.dst)
                for answer in arena.out(shown.dst)
                for action in _allowed(answer.cond, alphabet, semantics)
            }
        )
    return Environment(tuple(labels), tuple(successors))


class _Numbering:
    """Numbers positions from 0 in the order they are met; iterating visits each one once."""

    def __init__(self, first: int) -> None:
        self.positions: list[int] = [first]
        self._numbers = {first: 0}

    def number(self, position: int) -> int:
        if position not in self._numbers:
            self._numbers[position] = len(self.positions)
            self.positions.append(position)
        return self._numbers[position]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        index = 0
        while index < len(self.positions):
            yield index, self.positions[index]
            index += 1


def _allowed(condition: Bdd, alphabet: Alphabet, semantics: Semantics) -> list[str]:
    """The actions whose letters satisfy ``condition``."""
    actions = chosen_actions(alphabet.vocabulary, semantics)
    return [a for a in actions if alphabet.action(a, semantics) & condition != buddy.bddfalse]


def _one_label(condition: Bdd, alphabet: Alphabet) -> frozenset[str]:
    """A label that satisfies ``condition``, with as little in it as is easily had."""
    label: set[str] = set()
    for name in alphabet.vocabulary.proposition_names:
        absent = condition & buddy.bdd_nithvar(alphabet.variables[name])
        if absent == buddy.bddfalse:
            label.add(name)
            absent = condition & buddy.bdd_ithvar(alphabet.variables[name])
        condition = absent
    return frozenset(label)
