"""Decoding a batch of sequences over paged memory: read prompts, step, fork and drop rows.

Rows are numbered from 0 in the order in which they were read; `DecoderSession.select` renumbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

import torch

from serving.errors import ServingError

if TYPE_CHECKING:
    from serving.decoder import ServedDecoder


@dataclass
class _Row:
    """A sequence: where its tokens' keys and values are."""

    adapter: str | None
    length: int = 0
    blocks: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """Tokens that one sequence is given in a forward pass.

    Attributes:
        tokens: Their ids.
        start: Position of the first.
        blocks: The sequence's blocks, with room for all of them.
        adapter: What the sequence uses.
        keep: Of how many of the last tokens logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    adapter: str | None
    keep: int


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
        if chunk < 1 or block_size < 1:
            raise ValueError("chunk and block_size must be at least 1")
        self._decoder = decoder
        self._chunk = chunk
        self._cache = decoder.new_cache(block_size, max(1, capacity // block_size))
        self._rows: list[_Row] = []

    @property
    def rows(self) -> int:
        """How many sequences are in work."""
        return len(self._rows)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens read so far, per row."""
        return tuple(row.length for row in self._rows)

    @property
    def blocks_used(self) -> int:
        """Blocks that rows hold; one that several share counts once."""
        return self._cache.allocator.blocks - self._cache.allocator.free

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
        names = list(adapters) if adapters is not None else [None] * len(prompts)
        if len(names) != len(prompts):
            raise ValueError(f"{len(names)} adapters for {len(prompts)} prompts")
        keys = [(name or "", tuple(ids)) for name, ids in zip(names, prompts, strict=True)]
        for name, ids in dict.fromkeys(keys):
            self._check(ids, 0)
            if name:
                self._decoder.check_adapter(name)
        if not prompts:
            return self._nothing(0)
        # In this order each prompt has its longest common beginning with the one before it.
        distinct = sorted(set(keys))
        work: list[tuple[_Row, Sequence[int], int]] = []
        before: tuple[str, tuple[int, ...]] = ("", ())
        try:
            for name, ids in distinct:
                row = _Row(name or None)
                shared = _common(before[1], ids[:-1]) if work and name == before[0] else 0
                self._share(work[-1][0] if work else row, row, shared // self._cache.block_size)
                work.append((row, ids[row.length :], 1))
                self._make_room(row, len(ids) - row.length)
                before = name, ids
            logits = self._forward(work)
        except BaseException:
            for row, _, _ in work:
                self._drop(row)
            raise
        place = {key: number for number, key in enumerate(distinct)}
        taken: set[int] = set()
        for key in keys:
            number = place[key]
            row = work[number][0]
            self._rows.append(self._fork(row) if number in taken else row)
            taken.add(number)
        return logits[[place[key] for key in keys]]

    def score(
        self, rows: Sequence[Sequence[int]], adapter: str | None = None
    ) -> list[torch.Tensor]:
        """Logits float32 [tokens, vocabulary] at every position of sequences that are not kept.

        Raises:
            ServingError: As `read`.
        """
        if adapter is not None:
            self._decoder.check_adapter(adapter)
        for ids in rows:
            self._check(ids, 0)
        work = [(_Row(adapter), ids, len(ids)) for ids in rows]
        try:
            for row, ids, _ in work:
                self._make_room(row, len(ids))
            logits = self._forward(work) if work else self._nothing(0)
        finally:
            for row, _, _ in work:
                self._drop(row)
        return list(logits.split([len(ids) for ids in rows]))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append a token to every row; logits float32 [rows, vocabulary] after it."""
        return self.extend([(token,) for token in tokens])[:, 0]

    def extend(self, tokens: Sequence[Sequence[int]], keep: int = 1) -> torch.Tensor:
        """Append tokens (at least ``keep``) to every row.

        Returns:
            Logits float32 [rows, keep, vocabulary] after the last ``keep`` tokens of each row.

        Raises:
            ServingError: A token id outside of the vocabulary, or more tokens than the model has
                positions for. No row has changed then.
            ValueError: Not one sequence of at least ``keep`` tokens per row.
        """
        if len(tokens) != len(self._rows):
            raise ValueError(f"{len(tokens)} sequences of tokens for {len(self._rows)} rows")
        if not self._rows:
            return self._nothing(0, keep)
        if keep < 1 or min(map(len, tokens)) < keep:
            raise ValueError(f"every row needs at least {max(keep, 1)} tokens")
        for row, ids in zip(self._rows, tokens, strict=True):
            self._check(ids, row.length)
        self._own_last_blocks()
        for row, ids in zip(self._rows, tokens, strict=True):
            self._make_room(row, len(ids))
        work = [(row, ids, keep) for row, ids in zip(self._rows, tokens, strict=True)]
        return self._forward(work).reshape(len(work), keep, -1)

    def select(self, rows: Sequence[int]) -> None:
        """Keep the rows named, in this order; a row that is named twice is forked.

        Forks share blocks until one writes to a block that is not full.
        """
        if any(not 0 <= row < len(self._rows) for row in rows):
            raise ValueError(f"rows {list(rows)} of {len(self._rows)}")
        kept: list[_Row] = []
        taken: set[int] = set()
        for number in rows:
            row = self._rows[number]
            kept.append(self._fork(row) if number in taken else row)
            taken.add(number)
        for number, row in enumerate(self._rows):
            if number not in taken:
                self._drop(row)
        self._rows = kept

    def close(self) -> None:
        """Drop all rows and give the memory back."""
        self.select([])
        self._cache = self._decoder.new_cache(self._cache.block_size, 1)

    def _check(self, ids: Sequence[int], held: int) -> None:
        if not ids:
            raise ServingError("a prompt is empty", remedy="give at least one token")
        vocabulary, most = self._decoder.vocab, self._decoder.max_positions
        if min(ids) < 0 or max(ids) >= vocabulary:
            wrong = next(token for token in ids if not 0 <= token < vocabulary)
            raise ServingError(
                f"token {wrong} is not among the {vocabulary} of the vocabulary",
                remedy="use the model's own tokenizer",
            )
        if held + len(ids) > most:
            window = " (its attention's window)" if self._decoder.architecture.window else ""
            raise ServingError(
                f"{held + len(ids)} tokens are more than the model's {most}{window}",
                remedy="shorten the prompt or the answer",
            )

    def _share(self, source: _Row, target: _Row, blocks: int) -> None:
        """Begin a row with the full blocks that another begins with."""
        for block in source.blocks[:blocks]:
            self._cache.allocator.share(block)
            target.blocks.append(block)
        target.length = blocks * self._cache.block_size

    def _fork(self, row: _Row) -> _Row:
        for block in row.blocks:
            self._cache.allocator.share(block)
        return _Row(row.adapter, row.length, list(row.blocks))

    def _drop(self, row: _Row) -> None:
        for block in row.blocks:
            self._cache.allocator.drop(block)
        row.blocks = []

    def _own_last_blocks(self) -> None:
        """Copy blocks that rows share and are about to write to."""
        allocator, size = self._cache.allocator, self._cache.block_size
        sources: list[int] = []
        targets: list[int] = []
        for row in self._rows:
            if row.length % size == 0 or allocator.holders(row.blocks[-1]) == 1:
                continue
            self._cache.reserve(1)
            sources.append(row.blocks[-1])
            targets.append(allocator.take())
            allocator.drop(row.blocks[-1])
            row.blocks[-1] = targets[-1]
        self._cache.copy(sources, targets)

    def _make_room(self, row: _Row, tokens: int) -> None:
        missing = self._cache.blocks_for(row.length + tokens) - len(row.blocks)
        if missing > 0:
            self._cache.reserve(missing)
            row.blocks += [self._cache.allocator.take() for _ in range(missing)]

    def _forward(self, work: Sequence[tuple[_Row, Sequence[int], int]]) -> torch.Tensor:
        """Logits of the tokens that are kept, in the order of ``work``."""
        parts: list[torch.Tensor] = []
        for pieces in _chunks(_pieces(work), self._chunk):
            logits = self._decoder.forward(pieces, self._cache)
            if logits is not None:
                parts.append(logits)
        for row, ids, _ in work:
            row.length += len(ids)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _nothing(self, *rows: int) -> torch.Tensor:
        return torch.empty(*rows, self._decoder.vocab)


def logits_of(
    decoder: ServedDecoder,
    rows: Sequence[Sequence[int]],
    *,
    adapter: str | None = None,
    chunk: int = 512,
) -> list[torch.Tensor]:
    """Logits float32 [tokens, vocabulary] at every position of each sequence.

    What perplexities are computed from; memory is tokens x vocabulary x 4 bytes.

    Raises:
        ServingError: As `DecoderSession.read`.
    """
    session = DecoderSession(decoder, chunk=chunk, capacity=max(chunk, *map(len, rows), 1))
    found: list[torch.Tensor] = []
    for group in _groups(rows, chunk):
        found += session.score(group, adapter)
    return found


def _groups(rows: Sequence[Sequence[int]], most: int) -> Iterator[list[Sequence[int]]]:
    """Rows that have at most ``most`` tokens together, or one that has more."""
    held: list[Sequence[int]] = []
    for row in rows:
        if held and sum(map(len, held)) + len(row) > most:
            yield held
            held = []
        held.append(row)
    if held:
        yield held


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _pieces(work: Sequence[tuple[_Row, Sequence[int], int]]) -> Iterator[Piece]:
    for row, ids, keep in work:
        yield Piece(ids, row.length, row.blocks, row.adapter, keep)


def _chunks(pieces: Iterator[Piece], most: int) -> Iterator[list[Piece]]:
    """Lists of pieces of at most ``most`` tokens together; long ones are cut.

    Of a sequence's tokens earlier ones come in an earlier list or the same, and so do those of
    the sequences before it, whose blocks it may share.
    """
    held: list[Piece] = []
    room = most
    for piece in pieces:
        done = 0
        while done < len(piece.tokens):
            count = min(room, len(piece.tokens) - done)
            left = len(piece.tokens) - done - count
            held.append(
                Piece(
                    piece.tokens[done : done + count],
                    piece.start + done,
                    piece.blocks,
                    piece.adapter,
                    max(0, min(piece.keep - left, count)),
                )
            )
            done, room = done + count, room - count
            if not room:
                yield held
                held, room = [], most
    if held:
        yield held
