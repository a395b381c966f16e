"""The words of a world as a small automaton, to ask Spot questions about paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verifier.bindings import buddy, spot
from verifier.formulas import Formula
from verifier.transition_system import TransitionSystem


def has_path(world: TransitionSystem, starts: Sequence[int], formulas: Sequence[Formula]) -> bool:
    """Whether some infinite path from one of ``starts`` satisfies all ``formulas``."""
    wanted = spot.translate(spot.formula.And(list(formulas)))
    return bool(language(world, starts, wanted.get_dict()).intersects(wanted))


def language(world: TransitionSystem, starts: Sequence[int], bdd_dict: Any) -> Any:
    """A ``spot.twa_graph`` that accepts the labels along the infinite paths from ``starts``.

    Its states are not the world's states but the distinct rows of successors ("what may come
    next"), and edges to the same row are merged into one: a complete graph, whatever its size,
    becomes one state with one loop.
    """
    graph = spot.make_twa_graph(bdd_dict)
    variables = {p: graph.register_ap(p) for p in world.propositions}
    cubes = {label: _cube(label, variables) for label in set(world.labels)}
    nodes: dict[int, int] = {}
    rows: list[Sequence[int]] = []

    def node(row: Sequence[int]) -> int:
        if id(row) not in nodes:
            nodes[id(row)] = graph.new_state()
            rows.append(row)
        return nodes[id(row)]

    graph.set_init_state(node(starts))
    for source, row in enumerate(rows):
        # ``rows`` grows while it is walked: its indices are the automaton's states.
        labels: dict[int, set[frozenset[str]]] = {}
        for i in row:
            labels.setdefault(node(world.successors[i]), set()).add(world.labels[i])
        for target, group in labels.items():
            graph.new_edge(source, target, _any(cubes[label] for label in group))
    return graph


def _cube(label: frozenset[str], variables: dict[str, int]) -> Any:
    cube = buddy.bddtrue
    for name, variable in variables.items():
        literal = buddy.bdd_ithvar if name in label else buddy.bdd_nithvar
        cube &= literal(variable)
    return cube


def _any(conditions: Any) -> Any:
    result = buddy.bddfalse
    for condition in conditions:
        result |= condition
    return result
