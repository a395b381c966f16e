"""Keys and values of one decoder layer in pages (blocks of token slots)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["bf16", "int8", "int4"]
"""bfloat16, or asymmetric integers with one scale and minimum per token and head."""


@dataclass(frozen=True)
class KVCache:
    """Keys and values of one layer.

    Slot ``block * block_size + offset`` is one token's place. Quantized numbers are
    ``scale * code + minimum`` with scale = (max - min) / 255 or / 15 over a token's head.

    Attributes:
        keys: bf16: bfloat16 [blocks, kv_heads, block_size, head_dim]. int8: uint8, the same shape.
            int4: uint8 [..., head_dim / 2], the even dimension in the low nibble.
        values: As keys.
        key_params: float16 [blocks, kv_heads, block_size, 2] (scale, minimum); None for bf16.
        value_params: As key_params.
        kind: The number format.
    """

    keys: torch.Tensor
    values: torch.Tensor
    key_params: torch.Tensor | None
    value_params: torch.Tensor | None
    kind: Kind

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.keys.shape[0]

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.keys.shape[1]

    @property
    def block_size(self) -> int:
        """Token slots of a block."""
        return self.keys.shape[2]

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.keys.shape[3] * (2 if self.kind == "int4" else 1)

    @property
    def bits(self) -> int:
        """Bits of one stored number: 16, 8 or 4."""
        return {"bf16": 16, "int8": 8, "int4": 4}[self.kind]


def allocate_kv_cache(
    blocks: int,
    kv_heads: int,
    block_size: int,
    head_dim: int,
    kind: Kind = "bf16",
    device: str | torch.device = "cpu",
) -> KVCache:
    """An empty (zeroed) cache.

    Raises:
        ValueError: An unknown kind, or an odd head_dim with int4.
    """
    if kind not in ("bf16", "int8", "int4"):
        raise ValueError(f"kind must be bf16, int8 or int4, not {kind!r}")
    if kind == "int4" and head_dim % 2:
        raise ValueError(f"int4 needs an even head_dim, not {head_dim}")
    shape = (blocks, kv_heads, block_size)
    width = head_dim // 2 if kind == "int4" else head_dim
    dtype = torch.bfloat16 if kind == "bf16" else torch.uint8

    def codes() -> torch.Tensor:
        return torch.zeros(*shape, width, dtype=dtype, device=device)

    def params() -> torch.Tensor | None:
        if kind == "bf16":
            return None
        return torch.zeros(*shape, 2, dtype=torch.float16, device=device)

    return KVCache(codes(), codes(), params(), params(), kind)
