"""What the engines are asked for, and what an engine is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch

Adapters = Literal["none", "shared", "distinct"]
"""Of a batch's sequences: none, all the first one, each its own."""
ALL_ADAPTERS: tuple[Adapters, ...] = get_args(Adapters)

MIDDLE = 88
"""Tokens that a sequence holds halfway through a block of steps: a prompt of 64 and half of 48."""
LONGEST = 128
"""Most tokens that a sequence comes to."""
_IDS = range(100, 40_000)


@dataclass(frozen=True)
class EngineSpec:
    """How an engine is loaded.

    Attributes:
        kind: ``ours``, ``llama`` or ``transformers``.
        model: File or folder.
        adapters: Files or folders, in the engine's format.
        threads: How many.
        activation_bits: Of ours.
        sequences: Most sequences of a batch.
    """

    kind: str
    model: str
    adapters: tuple[str, ...]
    threads: int
    activation_bits: Literal[16, 8]
    sequences: int

    @staticmethod
    def from_json(data: dict[str, Any]) -> EngineSpec:
        """From what `dataclasses.asdict` gave."""
        return EngineSpec(**{**data, "adapters": tuple(data["adapters"])})

    @property
    def path(self) -> Path:
        """Of the model."""
        return Path(self.model)


class Engine(Protocol):
    """Something that decodes."""

    def steps(self, batch: int, adapters: Adapters, steps: int) -> list[float]:
        """Decode ``steps`` tokens of each of the first ``batch`` rows; seconds of every step.

        Logits of every row are fetched in every step; tokens are given (`row_ids`). Contexts hold
        `MIDDLE` tokens halfway.
        """
        ...

    def prompt(self, tokens: int) -> float:
        """Seconds to read one prompt and give the logits after it."""
        ...

    def logits(self, rows: Sequence[Sequence[int]], adapter: int | None) -> torch.Tensor:
        """Logits float32 [rows, vocabulary] after sequences of equal length, read as prompts."""
        ...

    def info(self) -> str:
        """A few words on how it was built."""
        ...


def row_ids(row: int, count: int = LONGEST) -> list[int]:
    """Tokens of a row: random ones, always the same."""
    return random.Random(row).choices(_IDS, k=count)


def first_position(steps: int) -> int:
    """Where a block of so many steps begins."""
    return MIDDLE - steps // 2
