"""From a controller to numbered steps in plain English, and back again by `read_steps`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from verifier.canonical import canonical
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.truth_tables import Cube, Support, cubes_of, support_of, table_of
from verifier.vocabulary import EPSILON, Vocabulary

_Move = tuple[str, int]
_VOWELS = "aeiou"


def controller_to_steps(controller: Controller, vocabulary: Vocabulary) -> tuple[str, ...]:
    """One step for each state of the canonical form; reading them gives an equivalent controller.

    Every case is spelled out, so they read the same under every conditional profile.

    Raises:
        InputError: The controller is not deterministic, or it is finished before it begins:
            steps cannot say that.
    """
    machine = canonical(controller)
    if machine.final == machine.initial:
        raise InputError(
            "the initial state is final: no step can say this",
            remedy="use a final state of its own",
        )
    guards = [t.guard for t in machine.transitions]
    support = support_of(guards, vocabulary.proposition_names)
    moves: defaultdict[int, dict[_Move, int]] = defaultdict(dict)
    for t in machine.transitions:
        moves[t.source][t.action, t.target] = table_of(t.guard, support)
    return tuple(
        _step(state, moves[state], support, machine.final, vocabulary)
        for state in range(machine.final)
    )


def _step(
    state: int,
    moves: Mapping[_Move, int],
    support: Support,
    final: int,
    vocabulary: Vocabulary,
) -> str:
    _check_deterministic(state, moves)
    cases = sorted(
        (_size(cubes_of(table, support)), move == (EPSILON, state), move, table)
        for move, table in moves.items()
    )
    sentences: list[str] = []
    for index, (_, _, move, table) in enumerate(cases):
        last = index == len(cases) - 1
        branch = _branch(move, state, final, vocabulary, alone=len(cases) == 1)
        condition = "" if last else f"if {_condition(cubes_of(table, support), vocabulary)}, "
        sentences.append(f"{'otherwise, ' if index else ''}{condition}{branch}")
    text = "; ".join(sentences)
    return f"{text[0].upper()}{text[1:]}."


def _check_deterministic(state: int, moves: Mapping[_Move, int]) -> None:
    seen = 0
    for table in moves.values():
        if table & seen:
            raise InputError(
                f"the controller is not deterministic: guards overlap in state {state} of its "
                "canonical form, which steps cannot say",
                remedy="make the guards of each state exclude each other",
            )
        seen |= table


def _size(cubes: tuple[Cube, ...]) -> tuple[int, int]:
    return len(cubes), sum(map(len, cubes))


def _branch(move: _Move, state: int, final: int, vocabulary: Vocabulary, *, alone: bool) -> str:
    action, target = move
    jump = "go to the end" if target == final else f"go to step {target + 1}"
    if action == EPSILON:
        return jump
    phrase = vocabulary.action(action).phrase
    hold = vocabulary.language.get("language", {}).get("hold", [])
    # Only going on to the next step needs no words, and not where a mere "stop" would hold.
    falls_through = target == state + 1 and (alone or action not in hold)
    return phrase if falls_through else f"{phrase} and {jump}"


def _condition(cubes: tuple[Cube, ...], vocabulary: Vocabulary) -> str:
    return " or ".join(_conjunction(cube, vocabulary) for cube in cubes)


def _conjunction(cube: Cube, vocabulary: Vocabulary) -> str:
    clauses: list[str] = []
    for name, positive in cube:
        phrase = vocabulary.proposition(name).phrase
        if positive:
            clauses.append(f"there is {article(phrase)} {phrase}")
        else:
            clauses.append(f"no {phrase}" if clauses else f"there is no {phrase}")
    return " and ".join(clauses)


def article(phrase: str) -> str:
    """ "a" or "an"."""
    return "an" if phrase[0].lower() in _VOWELS else "a"
