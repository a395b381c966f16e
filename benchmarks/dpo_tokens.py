"""What a training computes, counted: where shared beginnings and chosen predictions save work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.training.forward import row_tensors
from pipeline.training.pairs import TokenGroup
from pipeline.training.plan import Item, Step, row_of, within_rows
from pipeline.training.prefixes import tree_size
from pipeline.training.reference import used_completions

Completion = tuple[int, int]
"""(group, completion)."""


@dataclass(frozen=True)
class Work:
    """Positions that pass through the network, over all updates of an epoch.

    Attributes:
        pairs: How many there are.
        padded: In batches whose sequences are filled up to the longest, as trl has them.
        apart: Without the filling.
        in_pairs: With each pair's prompt once.
        in_prompts: With what pairs of one prompt have in common once per update.
        in_rows: With what prompts have in common once per row: what ours computes.
        reference: What ours computes for the reference.
        predictions: Positions for which ours computes logits, those for the reference included.
        padded_predictions: The same for trl where it has no kernel for chosen positions (on a
            CPU); its reference, of the same size as its updates, included.
    """

    pairs: int
    padded: int
    apart: int
    in_pairs: int
    in_prompts: int
    in_rows: int
    reference: int
    predictions: int
    padded_predictions: int


def work_of(groups: Sequence[TokenGroup], steps: Sequence[Step]) -> Work:
    """Counts for an epoch of pairs in one process."""
    updates = [[part.items for part in step.parts[0]] for step in steps]
    batches = [[item for items in parts for item in items] for parts in updates]
    rows = [items for parts in updates for items in parts]
    scored = list(within_rows([Item(g, c, None) for g, c in used_completions(steps)], groups))
    items = [item for batch in batches for item in batch]

    def tree(found: Iterable[Item]) -> int:
        return tree_size(_texts(_completions(found), groups))

    def padded(batch: Sequence[Item], end: int = 0) -> int:
        lengths = [len(p) + len(c) for p, c in _texts(_completions(batch), groups)]
        return len(lengths) * (max(lengths) - end)

    return Work(
        pairs=len(items),
        padded=sum(padded(batch) for batch in batches),
        apart=sum(len(p) + len(c) for p, c in _texts(_completions(items), groups)),
        in_pairs=sum(tree([item]) for item in items),
        in_prompts=sum(
            tree(found) for row in rows for _, found in groupby(row, lambda item: item.group)
        ),
        in_rows=sum(tree(row) for row in rows),
        reference=sum(tree(row) for row in scored),
        predictions=sum(_predictions(row, groups) for row in [*rows, *scored]),
        padded_predictions=2 * sum(padded(batch, end=1) for batch in batches),
    )


def _completions(items: Iterable[Item]) -> list[Completion]:
    return [completion for item in items for completion in item.completions]


def _texts(
    completions: Iterable[Completion], groups: Sequence[TokenGroup]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(groups[g].prompt, groups[g].completions[c]) for g, c in completions]


def _predictions(items: Sequence[Item], groups: Sequence[TokenGroup]) -> int:
    row = row_of(list(dict.fromkeys(_completions(items))), groups)
    return len(row_tensors(row)["predict"])
