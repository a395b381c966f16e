"""A key-value cache that grows in place.

transformers' DynamicCache concatenates, which copies all keys and values for every new token.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

SPARE = 64
"""Tokens of room that a buffer gets whenever it must grow."""


class GrowingLayer(DynamicLayer):
    """Keys and values [rows, heads, tokens, width] as views of buffers with room to spare."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values of new tokens; returns all of them."""
        used = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        total = used + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < total:
            self._buffers = (
                _enlarged(self.keys, key_states, used, total),
                _enlarged(self.values, value_states, used, total),
            )
        keys, values = self._buffers
        keys[:, :, used:total] = key_states
        values[:, :, used:total] = value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows named, which may repeat; in place if none is needed after its place."""
        count = len(indices)
        moved = (indices != torch.arange(count, device=indices.device)).nonzero()[:, 0]
        if self._buffers is None or bool((indices[moved] < count).any()):
            super().batch_select_indices(indices)
            self._buffers = None
            return
        for buffer in self._buffers:
            buffer[moved] = buffer[indices[moved]]
        keys, values = (buffer[:count] for buffer in self._buffers)
        used = self.get_seq_length()
        self._buffers = keys, values
        self.keys, self.values = keys[:, :, :used], values[:, :, :used]


def growing_cache(config: Any) -> DynamicCache:
    """An empty cache for a model; layers of other kinds (sliding windows) stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [
        GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def _enlarged(held: Any, new: torch.Tensor, used: int, total: int) -> torch.Tensor:
    rows, heads, _, width = new.shape
    buffer = new.new_empty(rows, heads, total + SPARE, width)
    if used:
        buffer[:, :, :used] = held
    return buffer
