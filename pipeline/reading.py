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
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Tokens = tuple[int, ...]
"""Token ids of a text."""

_OLD_CACHE_ARGUMENT = "past_key_values"


class Reading(Protocol):
    """Rows of tokens that a model has read, and reads on."""

    def select(self, rows: Sequence[int]) -> None:
        """Keep the rows named, in this order; they may repeat."""
        ...

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read a further token of every row; logits [rows, vocabulary] after it."""
        ...


class Reader(Protocol):
    """What reads tokens and says what may follow them: all that sampling and scoring need.

    Used within ``torch.inference_mode``. Logits are of any float type, on any device.
    """

    @property
    def vocabulary(self) -> int:
        """Width of the logits."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer, as far as the model's own settings say."""
        ...

    def start(self, prompts: Sequence[Tokens]) -> tuple[torch.Tensor, Reading]:
        """Read prompts; logits [prompts, vocabulary] after them, and a row for each to read on."""
        ...

    def along(self, prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> Sequence[torch.Tensor]:
        """For each answer the logits [tokens, vocabulary] from which its tokens are drawn."""
        ...

    def everywhere(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] after every token of rows of one length."""
        ...


@dataclass(frozen=True)
class NetworkReader:
    """A `Reader` over a transformers network.

    Attributes:
        network: In evaluation mode.
        pad: Token that fills up shorter rows.
    """

    network: Any
    pad: int = 0

    @property
    def vocabulary(self) -> int:
        """Width of the logits."""
        return int(self.network.config.vocab_size)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer, as its generation settings say."""
        configured = self.network.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(int(i) for i in ids if i is not None)

    def start(self, prompts: Sequence[Tokens]) -> tuple[torch.Tensor, Reading]:
        """Read prompts; what several begin with is read once."""
        logits, context = read_prompts(self.network, prompts, self.pad)
        return logits, _NetworkReading(self.network, context)

    def along(self, prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> Sequence[torch.Tensor]:
        """For each answer the logits [tokens, vocabulary] from which its tokens are drawn."""
        context, lengths = read_beginnings(self.network, prompts)
        whole = zip(prompts, answers, lengths, strict=True)
        rest = [(*prompt[length:], *answer) for prompt, answer, length in whole]
        longest = max(map(len, answers))
        logits = context.read(self.network, rest, keep=longest + 1)
        return [
            row[longest - len(answer) : longest]
            for row, answer in zip(logits, answers, strict=True)
        ]

    def everywhere(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] after every token of rows of one length."""
        import torch

        return self.network(input_ids=torch.tensor(rows, device=self.network.device)).logits


@dataclass(frozen=True)
class _NetworkReading:
    network: Any
    context: Context

    def select(self, rows: Sequence[int]) -> None:
        import torch

        self.context.select(torch.tensor(rows, device=self.network.device))

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        return self.context.read(self.network, [[token] for token in tokens])[:, -1]


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
