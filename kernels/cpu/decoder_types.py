"""What a decoder on the CPU is made of and what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from kernels.kv_cache import KVCache
from kernels.packing import PackedAtomWeight, PackedWeight

AnyPacked = PackedWeight | PackedAtomWeight
"""A matrix in the CPU's layout."""

_MAX_HEAD_DIM = 256


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder.

    Attributes:
        hidden: Width of the residual stream.
        layers: Number of layers.
        heads: Query heads.
        kv_heads: Heads of keys and values; divides ``heads``.
        head_dim: Width of a head; even.
        intermediate: Width of the feed-forward.
        vocab: Entries of the vocabulary.
        rms_eps: Added to mean squares before the root.
        qk_norm: Whether queries and keys are normalised per head (Qwen3).
        qkv_bias: Whether queries, keys and values have biases (Qwen2).
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    rms_eps: float
    qk_norm: bool = False
    qkv_bias: bool = False

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: They cannot be computed with.
        """
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"{self.kv_heads} heads of keys do not divide {self.heads} of queries")
        if self.head_dim % 2 or not 2 <= self.head_dim <= _MAX_HEAD_DIM:
            raise ValueError(f"head_dim must be even and at most 256, not {self.head_dim}")

    @property
    def q_width(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all heads of keys, or of values."""
        return self.kv_heads * self.head_dim

    def target_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Input width, output width and first column within its matrix, for each of `TARGETS`."""
        h, i, q, kv = self.hidden, self.intermediate, self.q_width, self.kv_width
        return {
            "q": (h, q, 0), "k": (h, kv, q), "v": (h, kv, q + kv), "o": (q, h, 0),
            "gate": (h, i, 0), "up": (h, i, i), "down": (i, h, 0),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One layer. Matrices are packed for the CPU; vectors may be of any float type.

    Attributes:
        input_norm: [hidden].
        qkv: Queries, keys, values stacked: [q_width + 2 kv_width, hidden].
        qkv_bias: The same rows, or None.
        q_norm: [head_dim], or None.
        k_norm: [head_dim], or None.
        o: [hidden, q_width].
        post_norm: [hidden].
        gate_up: Gate, then up: [2 intermediate, hidden].
        down: [hidden, intermediate].
    """

    input_norm: torch.Tensor
    qkv: AnyPacked
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    o: AnyPacked
    post_norm: torch.Tensor
    gate_up: AnyPacked
    down: AnyPacked


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """All of a decoder.

    Attributes:
        embedding: [vocab, hidden]: packed (it may be the head), or a float32, bfloat16 or float16
            tensor.
        layers: In order.
        final_norm: [hidden].
        lm_head: [vocab, hidden].
        cos: Cosines of the rotary angles, float32 [positions, head_dim / 2].
        sin: Sines.
    """

    embedding: PackedWeight | torch.Tensor
    layers: Sequence[LayerWeights]
    final_norm: torch.Tensor
    lm_head: AnyPacked
    cos: torch.Tensor
    sin: torch.Tensor


@dataclass(frozen=True, eq=False)
class LoraBatch:
    """Adapters of the rows of a step; may be used for any number of steps.

    The tables are checked once: they must not change afterwards.

    Attributes:
        indptr: int32 [S + 1]: rows of segment s are indptr[s] to indptr[s + 1] of the step's
            tokens; rows before the first and after the last segment have no adapter.
        rank_indptr: int32 [S + 1], from 0 to R: the rank rows of each segment.
        scales: float32 [S].
        pool: [pages, P], float32, bfloat16 or float16; P a multiple of 16.
        pages: For every layer, by name of a target (`TARGETS`), its page tables: int32
            [R, at least ceil(in / P)] for A and [R, at least ceil(out / P)] for B. Tables may be
            column ranges of wider ones. Targets that no adapter changes are left out.
    """

    indptr: torch.Tensor
    rank_indptr: torch.Tensor
    scales: torch.Tensor
    pool: torch.Tensor
    pages: Sequence[Mapping[str, tuple[torch.Tensor, torch.Tensor]]]


@dataclass(frozen=True, eq=False)
class StepBatch:
    """Tokens of several sequences that one step computes.

    Attributes:
        ids: int32 [T].
        positions: int32 [T], places within their sequences.
        query_indptr: int32 [B + 1]: tokens of sequence b are query_indptr[b] to [b + 1].
        context_lens: int32 [B]: positions of each sequence, these tokens counted; they are its
            last ones.
        block_tables: int32 [B, X]: blocks of the cache that hold each sequence.
        slots: int64 [T]: where the keys and values of each token go, block * block_size + offset;
            negative: nowhere.
        kv: The cache of every layer, all of equal blocks and block size.
        rows: int32 [R]: tokens whose logits are wanted.
        lora: Adapters, or None.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    query_indptr: torch.Tensor
    context_lens: torch.Tensor
    block_tables: torch.Tensor
    slots: torch.Tensor
    kv: Sequence[KVCache]
    rows: torch.Tensor
    lora: LoraBatch | None = None
