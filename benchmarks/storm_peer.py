"""The same question put to Storm.

The product becomes a Markov decision process in which every choice leads to one successor with
probability 1; a formula holds if even the worst scheduler meets it with probability 1
(``Pmin``). That is exact only because nothing is random here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.choices import Choice, choices_of
from benchmarks.formula_text import atoms, written
from benchmarks.spot_peer import under_assumptions
from verifier.controller import Controller
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem

Node = tuple[int, int, Choice]
"""World state, controller state, what the controller does there."""


class StormPeer:
    """Checks controllers against formulas in one world.

    Args:
        world: The world model; assumptions that speak about a part of it are not supported.
        formulas: LTL in Spot's syntax.
        semantics: The profile.

    Raises:
        ImportError: stormpy is not installed.
    """

    def __init__(
        self, world: TransitionSystem, formulas: Sequence[str], semantics: Semantics
    ) -> None:
        import stormpy

        self._stormpy: Any = stormpy
        self.world, self.semantics = world, semantics
        implications = [under_assumptions(f, world, semantics) for f in formulas]
        self._atoms = sorted({name for f in implications for name in atoms(f)})
        texts = (written(f, '"{}"'.format, ("false", "true")) for f in implications)
        self._properties = [stormpy.parse_properties(f"Pmin=? [ {t} ]")[0] for t in texts]

    def holds(self, controller: Controller) -> tuple[bool | None, ...]:
        """For each formula, whether every word of world ⊗ controller satisfies it.

        None where Storm gives up: it refuses some automata that its own translation makes ("the
        acceptance given by the Acceptance and by the acc-name headers do not match").
        """
        model, initial = self.model(controller)
        return tuple(self._holds(model, initial, one) for one in self._properties)

    def _holds(self, model: Any, initial: Sequence[int], one: Any) -> bool | None:
        try:
            result = self._stormpy.model_checking(model, one)
        except RuntimeError as error:
            if "acc-name" in str(error):
                return None
            raise
        return all(result[state] > 0.5 for state in initial)

    def model(self, controller: Controller) -> tuple[Any, list[int]]:
        """The decision process and its initial states."""
        nodes, rows, initial = _explore(self.world, controller, self.semantics)
        datastructures, models = self._stormpy.datastructures, self._stormpy.models
        matrix = datastructures.SparseMatrixBuilder(
            rows=0, columns=0, entries=0, force_dimensions=False, has_custom_row_grouping=True,
            row_groups=0,
        )  # fmt: skip
        row = 0
        for successors in rows:
            matrix.new_row_group(row)
            for successor in successors:
                matrix.add_next_value(row, successor, 1.0)
                row += 1
        labeling = models.StateLabeling(len(nodes))
        for name in ("init", *self._atoms):
            labeling.add_label(name)
        for state in initial:
            labeling.add_label_to_state("init", state)
        known = frozenset(self._atoms)
        for number, (world_state, _, choice) in enumerate(nodes):
            for name in (self.world.labels[world_state] | choice.actions) & known:
                labeling.add_label_to_state(name, number)
        components = models.SparseModelComponents(matrix.build(), labeling)
        return models.SparseMdp(components), initial


def _explore(
    world: TransitionSystem, controller: Controller, semantics: Semantics
) -> tuple[list[Node], list[list[int]], list[int]]:
    """Reachable nodes, their successors by number, and the initial ones."""
    choices = choices_of(controller, semantics)
    numbers: dict[Node, int] = {}
    nodes: list[Node] = []

    def number(node: Node) -> int:
        if node not in numbers:
            numbers[node] = len(nodes)
            nodes.append(node)
        return numbers[node]

    def entered(world_states: Sequence[int], state: int) -> list[int]:
        return [
            number((s, state, choice))
            for s in world_states
            for choice in choices(state, world.labels[s])
        ]

    initial = entered(world.initial, controller.initial)
    rows: list[list[int]] = []
    while len(rows) < len(nodes):
        world_state, _, choice = nodes[len(rows)]
        rows.append(entered(world.successors[world_state], choice.target))
    return nodes, rows, initial
