"""Decoding a batch of sequences over paged memory: read prompts, step, fork and drop rows.

Rows are numbered from 0 in the order in which they were read; `DecoderSession.select` renumbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from serving.decoder import ServedDecoder


class DecoderSession:
    """Sequences in work on one decoder; not to be shared between threads.

    Example: sample from two prompts, the second with an adapter::

        session = DecoderSession(decoder)
        logits = session.read([ids_a, ids_b], adapters=[None, "driving"])
        while session.rows:
            tokens = choose(logits, ...)
            session.select([row for row, token in enumerate(tokens) if token not in stop_ids])
            logits = session.step([token for token in tokens if token not in stop_ids])
    """

    def __init__(
        self,
        decoder: ServedDecoder,
        *,
        block_size: int = 16,
        chunk: int = 512,
        capacity: int = 4096,
    ) -> None:
        """An empty session.

        Args:
            decoder: What decodes.
            block_size: Tokens per block of keys and values.
            chunk: Most tokens of prompts in one forward pass.
            capacity: Tokens of all rows that memory is taken for at the start; it grows.
        """
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """How many sequences are in work."""
        raise NotImplementedError

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens read so far, per row."""
        raise NotImplementedError

    def read(
        self, prompts: Sequence[Sequence[int]], adapters: Sequence[str | None] | None = None
    ) -> torch.Tensor:
        """Add a row per prompt; logits float32 [prompts, vocabulary] after their last tokens.

        What several prompts with the same adapter begin with is read once and its blocks shared.

        Args:
            prompts: Token ids, at least one each.
            adapters: Name of each prompt's adapter, None for the base.

        Raises:
            ServingError: An empty prompt, a token id outside of the vocabulary, an unknown
                adapter, or more tokens than the model has positions for.
        """
        raise NotImplementedError

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append a token to every row; logits float32 [rows, vocabulary] after it."""
        raise NotImplementedError

    def extend(self, tokens: Sequence[Sequence[int]], keep: int = 1) -> torch.Tensor:
        """Append tokens (at least ``keep``) to every row.

        Returns:
            Logits float32 [rows, keep, vocabulary] after the last ``keep`` tokens of each row.
        """
        raise NotImplementedError

    def select(self, rows: Sequence[int]) -> None:
        """Keep the rows named, in this order; a row that is named twice is forked.

        Forks share blocks until one writes to a block that is not full.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Drop all rows and give the memory back."""
        raise NotImplementedError


def logits_of(
    decoder: ServedDecoder,
    rows: Sequence[Sequence[int]],
    *,
    adapter: str | None = None,
    chunk: int = 512,
) -> list[torch.Tensor]:
    """Logits float32 [tokens, vocabulary] at every position of each sequence.

    What perplexities are computed from; memory is tokens x vocabulary x 4 bytes.
    """
    raise NotImplementedError
