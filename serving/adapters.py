"""LoRA adapters (peft folders) read into the pages that the kernels take them from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from kernels.cpu.decoder import LoraBatch
from serving.architecture import ATTENTION, MLP, Architecture
from serving.errors import ServingError
from serving.folders import damaged, read_json, read_safetensors
from serving.pages import ZERO_PAGE, PagePool

TARGETS = (*ATTENTION, *MLP)
"""Layers that can be adapted, in the kernels' order: q, k, v, o, gate, up, down."""

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(
    r"^base_model\.model\.(?P<layer>model\.layers\.(?P<number>\d+)\.(?:self_attn|mlp)\."
    r"(?P<target>\w+))\.lora_(?P<side>[AB])(?:\.default)?\.weight$"
)
_FEATURES = ("use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "alora_invocation_tokens")


@dataclass(frozen=True)
class Lowrank:
    """What an adapter adds to one layer: ``scale * (x A^T) B^T``.

    Attributes:
        a: [rank, in].
        b: [out, rank].
        scale: alpha / rank, or alpha / sqrt(rank).
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter as read from its folder.

    Attributes:
        layers: What it adds, by (layer number, target).
        base: What the adapter says that it was trained on.
        base_hash: Hash of those weights, if it says one.
    """

    layers: Mapping[tuple[int, str], Lowrank]
    base: str
    base_hash: str

    @property
    def rank(self) -> int:
        """The largest rank of any layer."""
        return max((part.a.shape[0] for part in self.layers.values()), default=0)


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter in the pool.

    Attributes:
        name: What rows call it.
        rank: Rows of every page table.
        scale: Factor of what it adds.
        a_pages: int32 [layers, rank, pages of the input's width] by target, for those that the
            adapter changes in any layer.
        b_pages: int32 [layers, rank, pages of the output's width], likewise.
    """

    name: str
    rank: int
    scale: float
    a_pages: Mapping[str, torch.Tensor]
    b_pages: Mapping[str, torch.Tensor]


def read_adapter(folder: Path, architecture: Architecture) -> AdapterWeights:
    """Read an adapter and check that it fits a model.

    Raises:
        ServingError: No adapter there, another kind than plain LoRA, damaged, or of other shapes.
    """
    config = read_json(folder / _CONFIG)
    _refuse(folder, config)
    tensors, _ = read_safetensors(folder / _WEIGHTS)
    sides: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None or match["target"] not in TARGETS:
            raise ServingError(
                f"{folder}: cannot adapt {key.removeprefix('base_model.model.')}",
                remedy=f"train adapters of {', '.join(TARGETS)} only",
            )
        place = int(match["number"]), match["target"]
        sides.setdefault(place, {})[match["side"]] = tensor
    if not sides:
        raise ServingError(f"{folder}: the adapter is empty", remedy="train it again")
    layers = {
        (number, target): _lowrank(folder, config, number, target, pair, architecture)
        for (number, target), pair in sorted(sides.items())
    }
    base = str(config.get("base_model_name_or_path") or "")
    return AdapterWeights(layers, base, str(config.get("base_hash") or ""))


def check_base(
    adapter: AdapterWeights, folder: Path, base: str, base_hash: str, also: str = ""
) -> None:
    """Compare what an adapter was trained on with what it is to run on.

    Names are compared by their last part without regard to case, hashes where both sides have one.

    Args:
        adapter: The adapter.
        folder: Where it came from, for the message.
        base: What the weights come from; empty if unknown, and then not compared.
        base_hash: Hash of those weights; empty if unknown.
        also: Another name that is right.

    Raises:
        ServingError: They differ.
    """
    if adapter.base_hash and base_hash and adapter.base_hash != base_hash:
        raise ServingError(
            f"{folder}: the adapter was trained on other weights ({adapter.base_hash[:15]}...)",
            remedy=f"use an adapter for {base or base_hash[:15]}",
        )
    names = {_short(name) for name in (base, also) if name}
    if base and adapter.base and _short(adapter.base) not in names:
        raise ServingError(
            f"{folder}: the adapter was trained on {adapter.base}, not on {base}",
            remedy="use the model that it was trained on",
        )


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()


def _refuse(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ServingError(
            f"{folder} is an adapter of the kind {kind!r}", remedy="only LORA can be used"
        )
    used = [name for name in _FEATURES if config.get(name)]
    if config.get("bias", "none") != "none":
        used.append(f"bias: {config['bias']}")
    for name in ("modules_to_save", "trainable_token_indices", "target_parameters"):
        if config.get(name):
            used.append(name)
    if used:
        raise ServingError(
            f"{folder}: the adapter uses {', '.join(used)}, which is not supported",
            remedy="use a plain LoRA adapter",
        )


def _lowrank(
    folder: Path,
    config: Mapping[str, Any],
    number: int,
    target: str,
    pair: Mapping[str, torch.Tensor],
    architecture: Architecture,
) -> Lowrank:
    block = "self_attn" if target in ATTENTION else "mlp"
    layer = f"model.layers.{number}.{block}.{target}"
    shape = architecture.linear_shapes().get(layer) if number < architecture.layers else None
    if shape is None:
        raise ServingError(
            f"{folder}: the adapter does not fit the base, which has no layer {layer}",
            remedy="use the model that it was trained on",
        )
    if set(pair) != {"A", "B"}:
        raise damaged(folder / _WEIGHTS, f"{layer} lacks its lora_A or lora_B")
    a, b = pair["A"], pair["B"]
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1] or not a.shape[0]:
        raise damaged(folder / _WEIGHTS, f"{layer}: lora_A and lora_B do not fit each other")
    if (b.shape[0], a.shape[1]) != shape:
        raise ServingError(
            f"{folder}: the adapter does not fit the base, whose layer {layer} is of shape "
            f"{list(shape)}, not {[b.shape[0], a.shape[1]]}",
            remedy="use the model that it was trained on",
        )
    for part in (a, b):
        if not bool(torch.isfinite(part).all()):
            raise damaged(folder / _WEIGHTS, f"{layer} has numbers that are not finite")
    rank = a.shape[0]
    alpha = _of_pattern(config.get("alpha_pattern"), layer, config.get("lora_alpha", rank))
    root = bool(config.get("use_rslora"))
    return Lowrank(a, b, float(alpha) / (math.sqrt(rank) if root else rank))


def _of_pattern(patterns: Any, layer: str, default: Any) -> Any:
    """peft's rule: the first pattern that matches the whole name or what follows a dot."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return default


class AdapterStore:
    """Adapters by name, their weights in one pool of pages.

    Attributes:
        pool: The pages.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        dtype: torch.dtype = torch.float16,
        page_size: int | None = None,
        limit: int | None = None,
    ) -> None:
        """An empty store.

        Args:
            architecture: Of the base.
            dtype: How weights are kept: float16, bfloat16 or float32.
            page_size: Elements per page; None takes what divides the model's widths.
            limit: Most pages; None grows.
        """
        self._architecture = architecture
        self._shapes = architecture.linear_shapes()
        self.pool = PagePool(page_size or usual_page_size(architecture), dtype, limit)
        self._loaded: dict[str, LoadedAdapter] = {}
        self._last: tuple[tuple[tuple[str, int], ...], LoraBatch] | None = None
        self._joined: tuple[tuple[str, ...], Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters in the order in which they were loaded."""
        return tuple(self._loaded)

    def __getitem__(self, name: str) -> LoadedAdapter:
        """An adapter.

        Raises:
            ServingError: There is none of this name.
        """
        if name not in self._loaded:
            known = ", ".join(self._loaded) or "none"
            raise ServingError(f"no adapter {name!r}", remedy=f"loaded are: {known}")
        return self._loaded[name]

    def load(self, name: str, adapter: AdapterWeights) -> LoadedAdapter:
        """Put an adapter into pages; all of it or nothing.

        Layers of a smaller rank than the largest point to the page of zeros for the rest, and so
        do layers that the adapter leaves out.

        Raises:
            ServingError: The name is taken or the pool is full.
        """
        if name in self._loaded:
            raise ServingError(f"an adapter {name!r} is loaded already", remedy="unload it first")
        scale = max((part.scale for part in adapter.layers.values()), key=abs)
        used = {target for _, target in adapter.layers}
        a_pages = {t: self._empty(adapter.rank, self._shape(t)[1]) for t in TARGETS if t in used}
        b_pages = {t: self._empty(adapter.rank, self._shape(t)[0]) for t in TARGETS if t in used}
        try:
            for (number, target), part in adapter.layers.items():
                rank = part.a.shape[0]
                a_pages[target][number, :rank] = self.pool.store(part.a)
                b = part.b if part.scale == scale else part.b.float() * (part.scale / scale)
                b_pages[target][number, :rank] = self.pool.store(b.T)
        except ServingError:
            for pages in (*a_pages.values(), *b_pages.values()):
                self.pool.release(pages)
            raise
        loaded = LoadedAdapter(name, adapter.rank, scale, a_pages, b_pages)
        self._loaded[name] = loaded
        # The pool may have moved to larger memory.
        self._forget()
        return loaded

    def unload(self, name: str) -> None:
        """Free an adapter's pages.

        Raises:
            ServingError: There is none of this name.
        """
        loaded = self[name]
        for pages in (*loaded.a_pages.values(), *loaded.b_pages.values()):
            self.pool.release(pages)
        del self._loaded[name]
        self._forget()

    def batch(self, runs: Sequence[tuple[str, int]]) -> LoraBatch:
        """Adapters of the first tokens of a step; the same object as long as nothing changes.

        Args:
            runs: Adapter and number of tokens, in the order of the tokens.

        Raises:
            ServingError: There is no such adapter.
        """
        key = tuple(runs)
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        loaded = [self[name] for name, _ in runs]
        ends = list(accumulate((count for _, count in runs), initial=0))
        ranks = list(accumulate((one.rank for one in loaded), initial=0))
        batch = LoraBatch(
            indptr=torch.tensor(ends, dtype=torch.int32),
            rank_indptr=torch.tensor(ranks, dtype=torch.int32),
            scales=torch.tensor([one.scale for one in loaded], dtype=torch.float32),
            pool=self.pool.data,
            pages=self._tables(loaded),
        )
        self._last = key, batch
        return batch

    def _tables(
        self, loaded: Sequence[LoadedAdapter]
    ) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Page tables of all layers, by the kernels' names of targets."""
        names = tuple(one.name for one in loaded)
        if self._joined is not None and self._joined[0] == names:
            return self._joined[1]
        tables: list[dict[str, tuple[torch.Tensor, torch.Tensor]]]
        tables = [{} for _ in range(self._architecture.layers)]
        for target in TARGETS:
            if not any(target in one.a_pages for one in loaded):
                continue
            out, width = self._shape(target)
            a = torch.cat([self._of(one.a_pages, target, one.rank, width) for one in loaded], dim=1)
            b = torch.cat([self._of(one.b_pages, target, one.rank, out) for one in loaded], dim=1)
            for number, table in enumerate(tables):
                table[target.removesuffix("_proj")] = a[number], b[number]
        self._joined = names, tables
        return tables

    def _of(
        self, pages: Mapping[str, torch.Tensor], target: str, rank: int, width: int
    ) -> torch.Tensor:
        found = pages.get(target)
        return self._empty(rank, width) if found is None else found

    def _forget(self) -> None:
        self._last = self._joined = None

    def _shape(self, target: str) -> tuple[int, int]:
        block = "self_attn" if target in ATTENTION else "mlp"
        return self._shapes[f"model.layers.0.{block}.{target}"]

    def _empty(self, rank: int, width: int) -> torch.Tensor:
        pages = self.pool.pages_of(width)
        return torch.full((self._architecture.layers, rank, pages), ZERO_PAGE, dtype=torch.int32)


def usual_page_size(architecture: Architecture) -> int:
    """Elements per page so that rows of all layers fill whole pages, if that is not too small."""
    widths = {size for shape in architecture.linear_shapes().values() for size in shape}
    common = math.gcd(*widths)
    while common > 1024 and common % 32 == 0:
        common //= 2
    return common if common >= 64 and common % 16 == 0 else 64
