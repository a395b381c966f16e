"""What can be chosen when a model is quantized."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from serving.errors import ServingError
from serving.quantization.grid import Grid

Method = Literal["rtn", "gptq", "awq", "awq-gptq", "atom", "exact"]
METHODS: tuple[Method, ...] = get_args(Method)

CALIBRATED: tuple[Method, ...] = ("gptq", "awq", "awq-gptq", "atom")
"""Methods that need calibration rows."""


@dataclass(frozen=True)
class QuantizeSettings:
    """How a model is quantized.

    Attributes:
        method: ``rtn`` rounds to nearest; ``gptq``, ``awq`` and ``atom`` as published, with the
            differences that their modules state; ``awq-gptq`` rounds as GPTQ does on the scaled
            weights and clipped grids of AWQ; ``exact`` takes over weights that lie on a 4-bit grid
            already, unchanged.
        bits: Of the layers' weights: 4 or 8.
        group: Neighbouring weights of a row that share a scale.
        symmetric: No zero points. ``atom`` and 8 bits are always so.
        head_bits: Of the embedding and the head: 4, 8 or 16 (float16).
        narrow_group: Group of matrices whose columns ``group`` does not divide; None: an error.
        base: What the model is called in the checkpoint.
        base_hash: ``sha256:...`` of the model's files; found out if empty.
    """

    method: Method = "awq"
    bits: int = 4
    group: int = 64
    symmetric: bool = False
    head_bits: int = 8
    narrow_group: int | None = None
    base: str = ""
    base_hash: str = ""

    def __post_init__(self) -> None:
        """Check that the choices go together.

        Raises:
            ServingError: They do not.
        """
        if self.method not in METHODS:
            raise ServingError(f"no method {self.method!r}", remedy=f"use {', '.join(METHODS)}")
        if self.head_bits not in (4, 8, 16):
            raise ServingError(
                f"a head of {self.head_bits} bits is not supported", remedy="use 4, 8 or 16"
            )
        if self.method == "atom" and self.bits != 4:
            raise ServingError("atom has 4 bits only", remedy="use 4, or another method")
        self.grid()
        if self.narrow_group is not None:
            Grid(self.bits, self.narrow_group)

    def grid(self, columns: int | None = None) -> Grid:
        """The grid of a layer's matrix with so many columns."""
        symmetric = self.symmetric or self.method == "atom" or self.bits == 8
        return Grid(self.bits, self._group(columns), symmetric)

    def head_grid(self, columns: int | None = None) -> Grid:
        """The grid of embedding and head, if they are quantized."""
        return Grid(self.head_bits, self._group(columns), self.symmetric or self.head_bits == 8)

    def _group(self, columns: int | None) -> int:
        narrow = self.narrow_group
        divides = columns is None or columns % self.group == 0
        return self.group if divides or narrow is None else narrow

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def key(self) -> str:
        """Text that is equal for equal settings."""
        return json.dumps(self.to_json(), sort_keys=True)
