"""Our engine, as `serving` runs it: one call into the native library per step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.model_step_work import (
    LONGEST,
    MIDDLE,
    Adapters,
    EngineSpec,
    first_position,
    row_ids,
)
from kernels.cpu import isa, set_num_threads
from serving.decoder import load_decoder, make_decoder
from serving.formats.gguf import read_gguf
from serving.generation import DecoderSession, Piece

_BLOCK = 16


class Ours:
    """An `Engine`."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load model and adapters, and read the rows' prompts."""
        torch.set_num_threads(1)
        set_num_threads(spec.threads)
        # Of a GGUF file the tokenizer would take longest, and is not needed.
        self._decoder = (
            make_decoder(read_gguf(spec.path), spec.path, activation_bits=spec.activation_bits)
            if spec.path.suffix == ".gguf"
            else load_decoder(spec.path, activation_bits=spec.activation_bits)
        )
        for number, folder in enumerate(spec.adapters):
            self._decoder.load_adapter(_name(number), Path(folder))
        per = -(-LONGEST // _BLOCK)
        self._cache = self._decoder.new_cache(_BLOCK, per * spec.sequences)
        self._blocks = [range(per * row, per * (row + 1)) for row in range(spec.sequences)]
        self._ids = [row_ids(row) for row in range(spec.sequences)]
        for row, ids in enumerate(self._ids):
            self._decoder.forward([Piece(ids[:MIDDLE], 0, self._blocks[row], None, 1)], self._cache)

    def steps(self, batch: int, adapters: Adapters, steps: int) -> list[float]:
        """See `Engine.steps`."""
        first = first_position(steps)
        spent: list[float] = []
        for position in range(first, first + steps):
            began = time.perf_counter()
            pieces = [
                Piece(
                    (self._ids[row][position],),
                    position,
                    self._blocks[row],
                    _adapter(adapters, row),
                    1,
                )
                for row in range(batch)
            ]
            logits = self._decoder.forward(pieces, self._cache)
            assert logits is not None
            spent.append(time.perf_counter() - began)
        return spent

    def prompt(self, tokens: int) -> float:
        """See `Engine.prompt`."""
        session = DecoderSession(self._decoder, capacity=2 * tokens)
        ids = row_ids(0, tokens)
        began = time.perf_counter()
        session.read([ids])
        return time.perf_counter() - began

    def logits(self, rows: Sequence[Sequence[int]], adapter: int | None) -> torch.Tensor:
        """See `Engine.logits`."""
        name = None if adapter is None else _name(adapter)
        return DecoderSession(self._decoder).read(rows, [name] * len(rows))

    def info(self) -> str:
        """See `Engine.info`."""
        return isa()


def _name(number: int) -> str:
    return f"adapter {number:03d}"


def _adapter(adapters: Adapters, row: int) -> str | None:
    return None if adapters == "none" else _name(0 if adapters == "shared" else row)
