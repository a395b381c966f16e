"""The canonical form of a controller: one machine, and one hash, for each behaviour.

Controllers get the same canonical form exactly when they are bisimilar: at every point they offer
the same (label, action) pairs with bisimilar continuations, and they finish at the same time. For
deterministic controllers that is equality of the sets of words, under every semantics profile.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, pairwise

from verifier.controller import Controller, Transition, controller_to_json
from verifier.truth_tables import (
    Support,
    everything,
    formula_of,
    support_of,
    table_of,
)
from verifier.vocabulary import EPSILON

_Moves = dict[tuple[str, int], int]
"""(action, target) -> table of the labels under which it is possible."""


def canonical(controller: Controller) -> Controller:
    """The canonical form: complete, reachable, minimal, canonically numbered.

    Waiting where nothing is enabled (`blocked: wait`) is made explicit, as an epsilon self-loop.
    Transitions out of the final state are dropped unless it is the initial one: they are never
    taken. The final state is the last one, also where it cannot be reached. Guards are the
    formulas of `verifier.truth_tables.formula_of` over the sorted propositions; what only
    describes the text (steps, words) is not kept.

    Raises:
        InputError: More propositions than a truth table can hold.
    """
    support = support_of({t.guard for t in controller.transitions})
    moves = _reachable_moves(controller, support)
    block = _coarsest_partition(moves, controller.final)
    quotient = {block[state]: _lift(moves[state], block) for state in moves}
    initial, final = block[controller.initial], block.get(controller.final)
    order = _numbering(quotient, initial, final)
    last = len(order) - 1 if final is not None else len(order)
    rows = [
        (order[source], action, formula_of(table, support), order[target])
        for source, outgoing in quotient.items()
        for (action, target), table in outgoing.items()
    ]
    transitions = tuple(
        Transition(source, guard, action, target) for source, action, guard, target in sorted(rows)
    )
    return Controller(0, last if final != initial else 0, transitions)


def controller_hash(controller: Controller) -> str:
    """``sha256:...`` of the canonical form; bisimilar controllers have the same hash."""
    text = json.dumps(controller_to_json(canonical(controller)), separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def equivalent(left: Controller, right: Controller) -> bool:
    """Whether the two have the same canonical form."""
    return canonical(left) == canonical(right)


def _reachable_moves(controller: Controller, support: Support) -> dict[int, _Moves]:
    """The completed moves of every state that can be reached."""
    outgoing: defaultdict[int, list[Transition]] = defaultdict(list)
    for t in controller.transitions:
        outgoing[t.source].append(t)
    absorbing = controller.final if controller.final != controller.initial else None
    result: dict[int, _Moves] = {}
    queue = [controller.initial]
    for state in queue:
        if state in result:
            continue
        own = outgoing[state] if state != absorbing else ()
        result[state] = _complete(own, state, support) if state != absorbing else {}
        queue += [target for _, target in result[state] if target not in result]
    return result


def _complete(transitions: Sequence[Transition], state: int, support: Support) -> _Moves:
    moves: _Moves = {}
    residual = everything(len(support))
    for t in transitions:
        table = table_of(t.guard, support)
        if table:
            key = (t.action, t.target)
            moves[key] = moves.get(key, 0) | table
            residual &= ~table
    if residual:
        moves[EPSILON, state] = moves.get((EPSILON, state), 0) | residual
    return moves


def _lift(moves: _Moves, block: dict[int, int]) -> _Moves:
    lifted: _Moves = {}
    for (action, target), table in moves.items():
        key = (action, block[target])
        lifted[key] = lifted.get(key, 0) | table
    return lifted


def _coarsest_partition(moves: dict[int, _Moves], final: int) -> dict[int, int]:
    """State -> block of the coarsest bisimulation that keeps the final state apart.

    Only states with a successor whose block has changed are looked at again, and the largest part
    of a split block keeps its number, so a state's block changes O(log n) times.
    """
    predecessors: defaultdict[int, set[int]] = defaultdict(set)
    for source, outgoing in moves.items():
        for _, target in outgoing:
            predecessors[target].add(source)
    block = {state: int(state == final) for state in moves}
    members: defaultdict[int, set[int]] = defaultdict(set)
    for state, number in block.items():
        members[number].add(state)
    fresh = count(2)
    dirty = set(moves)
    while dirty:
        suspects: defaultdict[int, list[int]] = defaultdict(list)
        for state in dirty:
            suspects[block[state]].append(state)
        changed: list[tuple[int, int]] = []
        for number, states in suspects.items():
            for part in _leaving(members[number], states, moves, block):
                new = next(fresh)
                changed += [(state, new) for state in part]
        for state, number in changed:
            members[block[state]].remove(state)
            members[number].add(state)
            block[state] = number
        dirty = {source for state, _ in changed for source in predecessors[state]}
    return block


def _leaving(
    members: set[int], suspects: list[int], moves: dict[int, _Moves], block: dict[int, int]
) -> list[list[int]]:
    """The parts that must leave a block in which only ``suspects`` may have come to differ."""
    if len(members) == 1:
        return []
    parts: defaultdict[frozenset, list[int]] = defaultdict(list)
    for state in suspects:
        parts[frozenset(_lift(moves[state], block).items())].append(state)
    if len(suspects) < len(members):
        # The states that are not suspect still agree with each other: one stands for all.
        suspected = set(suspects)
        witness = next(state for state in members if state not in suspected)
        keep = frozenset(_lift(moves[witness], block).items())
    else:
        keep = max(parts, key=lambda part: len(parts[part]))
    return [states for part, states in parts.items() if part != keep]


def _numbering(quotient: dict[int, _Moves], initial: int, final: int | None) -> dict[int, int]:
    """Breadth-first numbers from the initial block; the final block comes last."""
    colours: dict[int, int] | None = None
    order: dict[int, int] = {}
    queue = [initial]
    for state in queue:
        if state in order or (state == final and state != initial):
            continue
        order[state] = len(order)
        edges = sorted((a, table, target) for (a, target), table in quotient[state].items())
        ties = any(a[:2] == b[:2] for a, b in pairwise(edges))
        if ties:
            # Only a choice that the label does not decide needs the successors' behaviour.
            colours = colours or _colours(quotient, final)
            rank = colours
            edges.sort(key=lambda edge: (edge[0], edge[1], rank[edge[2]]))
        queue += [target for _, _, target in edges if target not in order]
    if final is not None and final != initial:
        order[final] = len(order)
    return order


def _colours(quotient: dict[int, _Moves], final: int | None) -> dict[int, int]:
    """Distinct numbers for the blocks that depend on their behaviour alone."""
    colours = {state: int(state == final) for state in quotient}
    while True:
        signatures = {
            state: (
                colours[state],
                *sorted((a, colours[t], table) for (a, t), table in own.items()),
            )
            for state, own in quotient.items()
        }
        rank = {signature: n for n, signature in enumerate(sorted(set(signatures.values())))}
        refined = {state: rank[signature] for state, signature in signatures.items()}
        if len(rank) == len(set(colours.values())):
            return refined
        colours = refined
