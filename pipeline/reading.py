"""Prompts read by a model: what several of them begin with is read only once.

Rows of different lengths are padded on the left. Positions count the tokens that are no padding,
so that padding may also lie between the beginning of a prompt and its rest.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Tokens = tuple[int, ...]
"""Token ids of a text."""

_OLD_CACHE_ARGUMENT = "past_key_values"


@dataclass
class Context:
    """What a model has read: rows of tokens that further ones can be put behind.

    Attributes:
        cache: Keys and values of the tokens.
        mask: [rows, length], 0 where there is padding; None where there is none: attention is
            faster so.
    """

    cache: Any
    mask: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> None:
        """Keep the rows named, which may repeat."""
        self.cache.batch_select_indices(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]

    def read(
        self, network: Any, rows: Sequence[Sequence[int]], pad: int = 0, keep: int = 1
    ) -> torch.Tensor:
        """Read further tokens of every row; logits [rows, keep, vocabulary] after the last ones."""
        import torch

        width = max(map(len, rows))
        device = network.device
        gaps = [width - len(row) for row in rows]
        tokens = torch.tensor(
            [[pad] * gap + list(row) for gap, row in zip(gaps, rows, strict=True)], device=device
        )
        held = self.cache.get_seq_length()
        positions = None
        if self.mask is not None or any(gaps):
            before = self.mask if self.mask is not None else tokens.new_ones(len(rows), held)
            new = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps], device=device)
            self.mask = torch.cat([before, new], dim=-1)
            positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -width:]
        output = network(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=keep,
            **{cache_argument(type(network)): self.cache},
        )
        return output.logits


def read_prompts(
    network: Any, prompts: Sequence[Tokens], pad: int = 0
) -> tuple[torch.Tensor, Context]:
    """Logits [rows, vocabulary] after the prompts, and their context; equal ones are read once."""
    import torch

    distinct = list(dict.fromkeys(prompts))
    context, lengths = read_beginnings(network, distinct, pad)
    rest = [ids[length:] for ids, length in zip(distinct, lengths, strict=True)]
    logits = context.read(network, rest, pad)[:, -1]
    row_of = {ids: row for row, ids in enumerate(distinct)}
    rows = torch.tensor([row_of[ids] for ids in prompts], device=network.device)
    context.select(rows)
    return logits[rows], context


def read_beginnings(
    network: Any, prompts: Sequence[Tokens], pad: int = 0
) -> tuple[Context, list[int]]:
    """The context of what prompts share with others, a row for each; and its lengths in tokens.

    At least the last token of every prompt is left to be read.
    """
    import torch

    from pipeline.growing_cache import growing_cache

    starts = common_beginnings(prompts)
    context = Context(growing_cache(network.config))
    distinct = list(dict.fromkeys(starts))
    if any(distinct):
        context.read(network, distinct, pad)
        row_of = {start: row for row, start in enumerate(distinct)}
        context.select(torch.tensor([row_of[s] for s in starts], device=network.device))
    return context, [len(start) for start in starts]


def common_beginnings(prompts: Sequence[Tokens]) -> list[Tokens]:
    """For each prompt what it shares with those of its kind, short of its last token.

    Of one kind are prompts that agree in as many tokens as make up half of the shortest: those
    that show the same worked example.
    """
    half = min(map(len, prompts)) // 2
    kinds: dict[Tokens, list[Tokens]] = {}
    for ids in prompts:
        kinds.setdefault(ids[:half], []).append(ids[:-1])
    shared = {kind: _common(of_kind) for kind, of_kind in kinds.items()}
    return [shared[ids[:half]] for ids in prompts]


def _common(rows: Sequence[Tokens]) -> Tokens:
    """The beginning that all rows have in common."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return tuple(column[0] for column in columns)


@functools.cache
def cache_argument(network: type) -> str:
    """What the network calls its cache: transformers 5.24 began to rename it."""
    return (
        "cache" if "cache" in inspect.signature(network.forward).parameters else _OLD_CACHE_ARGUMENT
    )
