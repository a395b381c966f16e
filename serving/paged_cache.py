"""Keys and values of all layers in blocks, with room that grows and sequences that share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kernels.kv_cache import Kind, KVCache, allocate_kv_cache
from serving.blocks import BlockAllocator


class PagedCache:
    """One cache per layer; a block's number means the same place in each.

    Attributes:
        layers: The caches, in the order of layers; other ones after `reserve`.
        allocator: Which blocks are in use.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        *,
        kind: Kind = "bf16",
        block_size: int = 16,
        blocks: int = 256,
        limit: int | None = None,
    ) -> None:
        """Take memory for some blocks.

        Args:
            layers: Of the decoder.
            kv_heads: Heads of keys and values.
            head_dim: Width of a head.
            kind: Number format.
            block_size: Tokens per block.
            blocks: How many at the start.
            limit: How many there may be; None grows without end.
        """
        self.block_size = block_size
        self.allocator = BlockAllocator(blocks, limit)
        self._count = layers
        # All layers in one piece of memory: copying blocks is one operation.
        whole = allocate_kv_cache(layers * blocks, kv_heads, block_size, head_dim, kind)
        self._kind: Kind = kind
        self._parts = [
            None if part is None else part.unflatten(0, (layers, blocks))
            for part in (whole.keys, whole.values, whole.key_params, whole.value_params)
        ]
        self.layers = self._views()

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens fill or begin."""
        return -(-tokens // self.block_size)

    def reserve(self, blocks: int) -> None:
        """See to it that so many blocks are free; the caches double when they must grow.

        Raises:
            ServingError: Beyond the limit.
        """
        missing = blocks - self.allocator.free
        if missing <= 0:
            return
        more = max(missing, self.allocator.blocks)
        if (limit := self.allocator.limit) is not None:
            more = max(missing, min(more, limit - self.allocator.blocks))
        self.allocator.grow(more)
        for place, part in enumerate(self._parts):
            if part is not None:
                room = part.new_zeros(part.shape[0], more, *part.shape[2:])
                self._parts[place] = torch.cat([part, room], dim=1)
        self.layers = self._views()

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy blocks, in all layers."""
        if not sources:
            return
        come_from, go_to = torch.tensor(sources), torch.tensor(targets)
        for part in self._parts:
            if part is not None:
                part[:, go_to] = part[:, come_from]

    def _views(self) -> list[KVCache]:
        keys, values, key_params, value_params = self._parts
        assert keys is not None
        assert values is not None
        return [
            KVCache(
                keys[layer],
                values[layer],
                None if key_params is None else key_params[layer],
                None if value_params is None else value_params[layer],
                self._kind,
            )
            for layer in range(self._count)
        ]
