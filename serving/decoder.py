"""A model folder made ready to decode on the CPU kernels, quantized or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from kernels.cpu.arena import side_by_side
from kernels.cpu.decoder import Decoder, LoraBatch, StepBatch
from serving.adapters import AdapterStore, check_base, read_adapter
from serving.architecture import Architecture
from serving.checkpoint import Header, QuantizedModel, check_tensors
from serving.decoder_weights import decoder_config, decoder_weights
from serving.errors import ServingError
from serving.exchange import opened
from serving.paged_cache import PagedCache

if TYPE_CHECKING:
    from serving.generation import Piece

KVKind = Literal["bf16", "int8", "int4"]
"""How keys and values are kept."""


@dataclass(frozen=True, eq=False)
class ServedDecoder:
    """A decoder with all that a session needs to know about its model.

    Attributes:
        folder: Where the model is; its tokenizer too.
        architecture: Sizes and features.
        header: How it was quantized, and from what.
        stop_ids: Token ids that end an answer.
        activation_bits: 16 (weight-only) or 8 (activations quantized on the fly).
        kv: How keys and values are kept.
        engine: What computes.
        store: Adapters in memory.
    """

    folder: Path
    architecture: Architecture
    header: Header
    stop_ids: frozenset[int]
    activation_bits: Literal[16, 8]
    kv: KVKind
    engine: Decoder = field(repr=False)
    store: AdapterStore = field(repr=False)

    @property
    def vocab(self) -> int:
        """Width of the logits."""
        return self.architecture.vocab

    @property
    def max_positions(self) -> int:
        """Longest sequence the model was made for, in tokens."""
        return self.architecture.max_positions

    @cached_property
    def tokenizer(self) -> Any:
        """The model's fast tokenizer (transformers), loaded when first asked for.

        Raises:
            ServingError: There is none in the folder.
        """
        from transformers import AutoTokenizer

        folder, file = (self.folder, None) if self.folder.is_dir() else _split(self.folder)
        named = {} if file is None else {"gguf_file": file}
        try:
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **named)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ServingError(
                f"{self.folder}: its tokenizer cannot be read: {reason}",
                remedy="add the tokenizer's files to the folder",
            ) from None

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Adapters that rows of a session can use."""
        return self.store.names

    def check_adapter(self, name: str) -> None:
        """See that there is an adapter of this name.

        Raises:
            ServingError: There is none.
        """
        self.store[name]

    def load_adapter(self, name: str, folder: Path) -> None:
        """Read a LoRA adapter (peft folder) into the pool's pages under a name.

        Raises:
            ServingError: The name is taken, or the adapter does not fit this base.
        """
        if not name:
            raise ServingError("an adapter needs a name", remedy="give one")
        adapter = read_adapter(folder, self.architecture)
        check_base(adapter, folder, self.header.base, self.header.base_hash)
        self.store.load(name, adapter)

    def unload_adapter(self, name: str) -> None:
        """Free an adapter's pages; no row of any session may use it any longer.

        Raises:
            ServingError: There is no adapter of this name.
        """
        self.store.unload(name)

    def new_cache(self, block_size: int, blocks: int, limit: int | None = None) -> PagedCache:
        """Room for keys and values of this model; see `PagedCache`."""
        a = self.architecture
        return PagedCache(
            a.layers,
            a.kv_heads,
            a.head_dim,
            kind=self.kv,
            block_size=block_size,
            blocks=blocks,
            limit=limit,
        )

    def forward(self, pieces: Sequence[Piece], cache: PagedCache) -> torch.Tensor | None:
        """One forward pass over tokens of several sequences, whose blocks it writes to.

        Returns:
            Logits float32 [sum of what pieces keep, vocabulary], in the order of ``pieces``; None
            if they keep nothing.
        """
        # The kernels want tokens of one adapter side by side, and those without one last.
        order = sorted(range(len(pieces)), key=lambda i: _rank(pieces[i]))
        size = cache.block_size
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        starts: list[int] = [0] * (len(pieces) + 1)
        for place, i in enumerate(order):
            piece = pieces[i]
            end = piece.start + len(piece.tokens)
            ids.extend(piece.tokens)
            positions.extend(range(piece.start, end))
            slots.extend(
                piece.blocks[at // size] * size + at % size for at in range(piece.start, end)
            )
            starts[place + 1] = len(ids)
        end_of = {i: starts[place + 1] for place, i in enumerate(order)}
        rows = [
            row
            for i, piece in enumerate(pieces)
            for row in range(end_of[i] - piece.keep, end_of[i])
        ]
        contexts = [pieces[i].start + len(pieces[i].tokens) for i in order]
        tables = [
            list(pieces[i].blocks[: -(-held // size)])
            for i, held in zip(order, contexts, strict=True)
        ]
        width = max(map(len, tables))
        logits = self.engine.step(
            StepBatch(
                ids=torch.tensor(ids, dtype=torch.int32),
                positions=torch.tensor(positions, dtype=torch.int32),
                query_indptr=torch.tensor(starts, dtype=torch.int32),
                context_lens=torch.tensor(contexts, dtype=torch.int32),
                block_tables=torch.tensor(
                    [table + [0] * (width - len(table)) for table in tables], dtype=torch.int32
                ),
                slots=torch.tensor(slots, dtype=torch.int64),
                kv=cache.layers,
                rows=torch.tensor(rows, dtype=torch.int32),
                lora=self._lora([pieces[i] for i in order]),
            )
        )
        return logits if rows else None

    def _lora(self, pieces: Sequence[Piece]) -> LoraBatch | None:
        """Adapters of pieces that are in the kernels' order."""
        runs = [
            (name, sum(len(piece.tokens) for piece in run))
            for name, run in groupby(pieces, key=lambda piece: piece.adapter)
            if name is not None
        ]
        return self.store.batch(runs) if runs else None


def load_decoder(
    folder: str | Path,
    *,
    activation_bits: Literal[16, 8] = 16,
    kv: KVKind = "bf16",
    adapters: dict[str, Path] | None = None,
    adapter_dtype: torch.dtype = torch.float16,
) -> ServedDecoder:
    """Make a model ready: a quantized checkpoint, a plain Hugging Face folder, or anything else
    that `serving.exchange.opened` understands.

    Llama, Mistral, Qwen2 and Qwen3. Matrices that are not quantized are kept in bfloat16.

    Args:
        folder: Where the model is.
        activation_bits: 8 quantizes activations on the fly, which is faster for many rows.
        kv: How keys and values are kept.
        adapters: LoRA adapters to load, by name.
        adapter_dtype: How their weights are kept.

    Raises:
        ServingError: No model there, an architecture or a feature of it that is not supported,
            damaged files, or an adapter that does not fit.
        RuntimeError: The kernels are not built.
    """
    path = Path(folder)
    with opened(path) as model:
        served = make_decoder(
            model, path, activation_bits=activation_bits, kv=kv, adapter_dtype=adapter_dtype
        )
    for name, place in (adapters or {}).items():
        served.load_adapter(name, Path(place))
    return served


def make_decoder(
    model: QuantizedModel,
    folder: Path,
    *,
    activation_bits: Literal[16, 8] = 16,
    kv: KVKind = "bf16",
    adapter_dtype: torch.dtype = torch.float16,
) -> ServedDecoder:
    """Make a model in memory ready; arguments as `load_decoder`.

    Raises:
        ServingError: The model is not whole, or its weights cannot be computed with.
    """
    check_tensors(model)
    if kv not in ("bf16", "int8", "int4") or activation_bits not in (16, 8):
        raise ServingError(
            f"no keys and values in {kv!r} with activations of {activation_bits} bits",
            remedy="use bf16, int8 or int4, and 16 or 8",
        )
    architecture = model.architecture
    try:
        engine = Decoder(
            decoder_config(architecture), side_by_side(decoder_weights(model)), activation_bits
        )
    except (ValueError, TypeError) as error:
        if isinstance(error, ServingError):
            raise
        raise ServingError(
            f"{folder} cannot be computed with: {error}", remedy="use another model"
        ) from None
    return ServedDecoder(
        folder=folder,
        architecture=architecture,
        header=model.header,
        stop_ids=_stop_ids(model),
        activation_bits=activation_bits,
        kv=kv,
        engine=engine,
        store=AdapterStore(architecture, dtype=adapter_dtype),
    )


def _split(file: Path) -> tuple[Path, str]:
    return file.parent, file.name


def _rank(piece: Piece) -> tuple[bool, str]:
    return piece.adapter is None, piece.adapter or ""


def _stop_ids(model: QuantizedModel) -> frozenset[int]:
    """What generation_config.json says, or else config.json."""
    named: Any = None
    if model.folder is not None:
        try:
            text = (model.folder / "generation_config.json").read_text(encoding="utf-8")
            named = json.loads(text).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            named = None
    if named is None:
        named = model.config.get("eos_token_id")
    ids = named if isinstance(named, list) else [named]
    return frozenset(int(number) for number in ids if number is not None)
