"""What the quality of quantization is measured on: weights, methods, grids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from serving.quantization import QuantizeSettings
from serving.quantization.settings import Method as QuantizationMethod

Weights = Literal["original", "tuned"]
"""The embedded model; the same with the champion's adapter merged into it."""
Method = Literal["bf16"] | QuantizationMethod

NARROW = 192
"""Group of matrices with 576 columns where 128, which does not divide them, is asked for."""


@dataclass(frozen=True)
class Cell:
    """One quantized model, and what is measured of it.

    Attributes:
        weights: What is quantized.
        method: How; ``bf16`` is not quantized.
        group: Weights that share a scale; of ``exact`` 32, as they were.
        symmetric: Without zero points.
        head_bits: Of embedding and head.
        adapter: Whether the champion's adapter runs beside the quantized weights; then answers
            are measured, else perplexity.
        answers: Whether answers to held-out tasks are measured beside perplexity.
        core: Whether it is one of those that are measured first.
    """

    weights: Weights
    method: Method
    group: int = 64
    symmetric: bool = False
    head_bits: Literal[4, 8] = 8
    adapter: bool = False
    answers: bool = field(default=False, compare=False)
    core: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """``tuned/awq-g64-asym``."""
        if self.method in ("bf16", "exact"):
            how = self.method
        else:
            head = "" if self.head_bits == 8 else f"-head{self.head_bits}"
            how = f"{self.method}-{self.grid}{head}"
        return f"{self.weights}/{how}{'+adapter' if self.adapter else ''}"

    @property
    def grid(self) -> str:
        """``g64-asym``."""
        return f"g{self.group}-{'sym' if self.symmetric else 'asym'}"

    @property
    def kv(self) -> Literal["bf16", "int4"]:
        """How keys and values are kept: Atom's method has them in 4 bits."""
        return "int4" if self.method == "atom" else "bf16"

    def settings(self, base: str) -> QuantizeSettings | None:
        """For the quantizer; None if there is nothing to quantize.

        Args:
            base: What the model is called.
        """
        if self.method == "bf16":
            return None
        exact = self.method == "exact"
        return QuantizeSettings(
            method=self.method,
            group=32 if exact else self.group,
            symmetric=self.symmetric,
            head_bits=self.head_bits,
            narrow_group=NARROW if self.group == 128 and not exact else None,
            base=base,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"name": self.name, **asdict(self)}


def all_cells() -> list[Cell]:
    """In the order of their measurement."""
    return list(_cells())


def _cells() -> Iterator[Cell]:
    methods: tuple[QuantizationMethod, ...] = ("rtn", "awq", "gptq", "awq-gptq")
    for weights in ("original", "tuned"):
        tuned = weights == "tuned"
        yield Cell(weights, "bf16", answers=tuned, core=True)
        if not tuned:  # merging an adapter leaves the grid of the file
            yield Cell(weights, "exact", group=32, core=True)
        for symmetric in (False, True):
            for method in methods[:2]:
                yield Cell(weights, method, symmetric=symmetric, answers=tuned, core=True)
        for method in methods[2:]:
            yield Cell(weights, method, answers=tuned, core=True)
        yield Cell(weights, "atom", symmetric=True, answers=tuned, core=True)
    for method in ("bf16", "rtn", "awq"):
        yield Cell("original", method, adapter=True, answers=True, core=True)
    for weights in ("original", "tuned"):
        for method in methods[:3]:
            yield Cell(weights, method, group=128)
        for method in methods[:2]:
            yield Cell(weights, method, group=128, symmetric=True)
        for method in methods[2:]:
            yield Cell(weights, method, symmetric=True)
    for method in methods[:2]:
        yield Cell("original", method, group=32)
    for method in methods:
        yield Cell("original", method, head_bits=4)


def digest(*parts: object) -> str:
    """A short key of anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
