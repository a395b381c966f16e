"""Sequences in one row, every common beginning only once.

A causal model computes for a token what follows from the tokens before it, so sequences that
begin alike need their common beginning only once: a row holds the sequences as a tree, each
token sees its ancestors and itself, and its position is its depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A tree of T tokens; parents come before their children.

    Attributes:
        tokens: Token ids, T of them.
        parents: Index of the token before; -1 at the start of a sequence.
        depths: Number of tokens before.
        paths: For each completion, the indices of its tokens (the prompt's left out).
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]


class RowBuilder:
    """A row that grows by whole sequences."""

    def __init__(self) -> None:
        self._children: list[dict[int, int]] = []
        self._roots: dict[int, int] = {}
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._depths: list[int] = []
        self._paths: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        """Tokens of the tree."""
        return len(self._tokens)

    def add(self, prompt: Sequence[int], completion: Sequence[int]) -> int:
        """Add a sequence; returns the index of its path."""
        node = -1
        for token in prompt:
            node = self._child(node, token)
        path = []
        for token in completion:
            node = self._child(node, token)
            path.append(node)
        self._paths.append(tuple(path))
        return len(self._paths) - 1

    def row(self) -> Row:
        """The tree so far."""
        return Row(
            tuple(self._tokens), tuple(self._parents), tuple(self._depths), tuple(self._paths)
        )

    def _child(self, node: int, token: int) -> int:
        children = self._roots if node < 0 else self._children[node]
        found = children.get(token)
        if found is None:
            found = children[token] = len(self._tokens)
            self._tokens.append(token)
            self._parents.append(node)
            self._depths.append(self._depths[node] + 1 if node >= 0 else 0)
            self._children.append({})
        return found


def tree_size(sequences: Iterable[tuple[Sequence[int], Sequence[int]]]) -> int:
    """Tokens of the row that holds these (prompt, completion) sequences."""
    builder = RowBuilder()
    for prompt, completion in sequences:
        builder.add(prompt, completion)
    return len(builder)
