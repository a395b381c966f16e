"""Texts to calibrate with, as token ids: what the caller gives, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from serving.architecture import Architecture
from serving.errors import ServingError


@dataclass(frozen=True)
class Calibration:
    """Rows of token ids, which may differ in length.

    Attributes:
        rows: int64 [T] each.
    """

    rows: tuple[torch.Tensor, ...]

    @property
    def tokens(self) -> int:
        """Over all rows."""
        return sum(len(row) for row in self.rows)

    def key(self) -> str:
        """SHA-256 (hex) of the rows."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(f"{len(row)}\n".encode() + row.numpy().tobytes())
        return digest.hexdigest()

    def spread(self, tokens: int) -> list[int]:
        """Numbers of rows, evenly spread, that hold about so many tokens together; at least one."""
        if not self.rows:
            return []
        count = max(1, min(len(self.rows), round(tokens * len(self.rows) / self.tokens)))
        return [i * len(self.rows) // count for i in range(count)]


def read_calibration(rows: Sequence[Sequence[int]], architecture: Architecture) -> Calibration:
    """Check rows of token ids; too long ones are cut.

    Args:
        rows: Token ids; empty rows are left out.
        architecture: Of the model that they are for.

    Raises:
        ServingError: An id that the vocabulary does not have.
    """
    tensors: list[torch.Tensor] = []
    for number, row in enumerate(rows):
        ids = torch.tensor(list(row), dtype=torch.int64)[: architecture.max_positions]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < architecture.vocab:
            raise ServingError(
                f"calibration row {number + 1} has a token that is not one of the model's "
                f"{architecture.vocab}",
                remedy="make the rows with the model's own tokenizer",
            )
        if len(ids):
            tensors.append(ids)
    return Calibration(tuple(tensors))
