"""Which pairs each update sees, in which rows: everything random about the order of training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.training.pairs import TokenGroup
from pipeline.training.prefixes import Row, RowBuilder
from pipeline.training.settings import TrainSettings

ROW_TOKENS = 1024
"""Tokens per row beyond which an update's pairs are spread over several rows (one process)."""


@dataclass(frozen=True)
class Item:
    """What is learnt from: a pair, or (``rejected`` None) a completion to imitate.

    Attributes:
        group: Index of the prompt's group.
        chosen: Index of a completion of the group.
        rejected: The same.
    """

    group: int
    chosen: int
    rejected: int | None

    @property
    def completions(self) -> tuple[tuple[int, int], ...]:
        """(group, completion), the chosen one first."""
        both = (self.chosen,) if self.rejected is None else (self.chosen, self.rejected)
        return tuple((self.group, completion) for completion in both)


@dataclass(frozen=True)
class Part:
    """Items whose completions stand in one row: one forward and backward pass.

    Attributes:
        items: At least one.
        item_share: Weight of the mean over these items in the update's mean over all items.
        token_share: The same for means over tokens of chosen completions.
    """

    items: tuple[Item, ...]
    item_share: float
    token_share: float


@dataclass(frozen=True)
class Step:
    """One update.

    Attributes:
        parts: For each process, what it computes.
        epoch: Passes over the data that are complete after this update.
    """

    parts: tuple[tuple[Part, ...], ...]
    epoch: float


def plan_steps(
    groups: Sequence[TokenGroup], settings: TrainSettings, processes: int = 1
) -> list[Step]:
    """All updates of a training run; follows from its arguments alone.

    Of several processes each computes one part per update, all with equally many items; for that
    the last update of an epoch repeats some of its items.
    """
    rng = random.Random(f"{settings.seed}")
    per_group = [list(_items(group, g, settings)) for g, group in enumerate(groups)]
    total = sum(map(len, per_group))
    steps: list[Step] = []
    for epoch in range(settings.epochs):
        slices = [s for items in per_group for s in _slices(items, settings.pairs_per_prompt, rng)]
        rng.shuffle(slices)
        stream = [item for piece in slices for item in piece]
        for start in range(0, total, settings.pairs_per_step):
            chosen = stream[start : start + settings.pairs_per_step]
            done = epoch + (start + len(chosen)) / total
            # One prompt's items beside each other: they share most.
            chosen.sort(key=lambda item: item.group)
            steps.append(Step(_parts(chosen, groups, processes), done))
    return steps[: settings.max_steps]


def item_count(groups: Sequence[TokenGroup], settings: TrainSettings) -> int:
    """Items of one epoch."""
    return sum(1 for g, group in enumerate(groups) for _ in _items(group, g, settings))


def _items(group: TokenGroup, index: int, settings: TrainSettings) -> Iterator[Item]:
    if settings.method == "sft":
        for chosen in dict.fromkeys(pair.chosen for pair in group.pairs):
            yield Item(index, chosen, None)
        return
    for pair in group.pairs:
        for _ in range(pair.weight):
            yield Item(index, pair.chosen, pair.rejected)


def _slices(items: Sequence[Item], size: int, rng: random.Random) -> Iterator[list[Item]]:
    """A random partition into slices whose items have many completions in common."""
    left = list(items)
    rng.shuffle(left)
    while left:
        piece = [left.pop(0)]
        held = set(piece[0].completions)
        while left and len(piece) < size:
            best = min(range(len(left)), key=lambda i: len(set(left[i].completions) - held))
            piece.append(left.pop(best))
            held.update(piece[-1].completions)
        yield piece


def _parts(
    items: list[Item], groups: Sequence[TokenGroup], processes: int
) -> tuple[tuple[Part, ...], ...]:
    if processes == 1:
        pieces = [list(within_rows(items, groups))]
    else:
        each = -(-len(items) // processes)
        items = [items[i % len(items)] for i in range(each * processes)]
        pieces = [[items[p * each : (p + 1) * each]] for p in range(processes)]
    tokens = sum(_chosen_tokens(item, groups) for item in items)
    return tuple(
        tuple(
            Part(
                tuple(piece),
                # Gradients are averaged over processes.
                processes * len(piece) / len(items),
                processes * sum(_chosen_tokens(item, groups) for item in piece) / tokens,
            )
            for piece in mine
        )
        for mine in pieces
    )


def within_rows(items: Sequence[Item], groups: Sequence[TokenGroup]) -> Iterator[list[Item]]:
    """The items, in order, cut where a row would grow beyond `ROW_TOKENS`.

    An item that is longer than that has a row of its own.
    """
    builder, piece = RowBuilder(), []
    for item in items:
        for group, completion in item.completions:
            builder.add(groups[group].prompt, groups[group].completions[completion])
        if piece and len(builder) > ROW_TOKENS:
            yield piece
            builder, piece = RowBuilder(), []
            for group, completion in item.completions:
                builder.add(groups[group].prompt, groups[group].completions[completion])
        piece.append(item)
    yield piece


def _chosen_tokens(item: Item, groups: Sequence[TokenGroup]) -> int:
    return len(groups[item.group].completions[item.chosen])


def row_of(completions: Sequence[tuple[int, int]], groups: Sequence[TokenGroup]) -> Row:
    """The row of (group, completion) pairs; its paths are in the same order."""
    builder = RowBuilder()
    for group, completion in completions:
        builder.add(groups[group].prompt, groups[group].completions[completion])
    return builder.row()
