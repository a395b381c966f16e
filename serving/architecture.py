"""What a Llama-type model looks like: sizes, names of its layers, rotary angles.

Llama, Mistral, Qwen2 and Qwen3 differ only in biases, norms of queries and keys, and defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from serving.errors import ServingError

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
"""What is understood, as config.json calls it (SmolLM2 is of type llama)."""

EMBEDDING, HEAD, FINAL_NORM = "model.embed_tokens", "lm_head", "model.norm"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")

_KV_HEADS = {"mistral": 8}
_HEAD_DIMS = {"qwen3": 128}
_POSITIONS = {"llama": 2048, "mistral": 131072}


@dataclass(frozen=True)
class Architecture:
    """Sizes and features of a model, read from its config.json.

    Attributes:
        model_type: One of `MODEL_TYPES`.
        hidden: Width of the residual stream.
        layers: Number of decoder layers.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        intermediate: Width of the MLP.
        vocab: Entries of the vocabulary.
        rms_eps: Added to mean squares before the root.
        tied: Whether the head is the embedding.
        qk_norm: Whether queries and keys are normalised per head (Qwen3).
        qkv_bias: Whether the projections to queries, keys and values have biases.
        max_positions: Longest sequence; that of the attention's window if that is smaller, since
            a longer one would need a window.
        window: Whether ``max_positions`` is a window's.
        rope: Rotary settings: ``rope_type``, ``rope_theta`` and what the type needs.
    """

    model_type: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    rms_eps: float
    tied: bool
    qk_norm: bool
    qkv_bias: bool
    max_positions: int
    window: bool
    rope: Mapping[str, Any]

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Shape (out, in) of every layer with a weight matrix, embedding and head apart."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, int]] = {}
        for layer in range(self.layers):
            at = f"model.layers.{layer}"
            shapes[f"{at}.self_attn.q_proj"] = (q, self.hidden)
            shapes[f"{at}.self_attn.k_proj"] = (kv, self.hidden)
            shapes[f"{at}.self_attn.v_proj"] = (kv, self.hidden)
            shapes[f"{at}.self_attn.o_proj"] = (self.hidden, q)
            shapes[f"{at}.mlp.gate_proj"] = (self.intermediate, self.hidden)
            shapes[f"{at}.mlp.up_proj"] = (self.intermediate, self.hidden)
            shapes[f"{at}.mlp.down_proj"] = (self.hidden, self.intermediate)
        return shapes

    def matrix_shapes(self) -> dict[str, tuple[int, int]]:
        """`linear_shapes`, the embedding, and the head unless it is the embedding."""
        ends = {EMBEDDING: (self.vocab, self.hidden)}
        if not self.tied:
            ends[HEAD] = (self.vocab, self.hidden)
        return {**self.linear_shapes(), **ends}

    def vector_shapes(self) -> dict[str, tuple[int]]:
        """Shape of every norm's weight and every bias."""
        return dict(self._vectors())

    def _vectors(self) -> Iterator[tuple[str, tuple[int]]]:
        yield f"{FINAL_NORM}.weight", (self.hidden,)
        for layer in range(self.layers):
            at = f"model.layers.{layer}"
            yield f"{at}.input_layernorm.weight", (self.hidden,)
            yield f"{at}.post_attention_layernorm.weight", (self.hidden,)
            if self.qk_norm:
                yield f"{at}.self_attn.q_norm.weight", (self.head_dim,)
                yield f"{at}.self_attn.k_norm.weight", (self.head_dim,)
            if self.qkv_bias:
                yield f"{at}.self_attn.q_proj.bias", (self.heads * self.head_dim,)
                yield f"{at}.self_attn.k_proj.bias", (self.kv_heads * self.head_dim,)
                yield f"{at}.self_attn.v_proj.bias", (self.kv_heads * self.head_dim,)


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Understand a config.json.

    Raises:
        ServingError: Another kind of model, a feature that is not supported, or missing sizes.
    """
    kind = str(config.get("model_type"))
    if kind not in MODEL_TYPES:
        raise ServingError(
            f"models of type {kind!r} are not supported", remedy=f"use {', '.join(MODEL_TYPES)}"
        )
    _refuse(config, kind)
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        positions = int(config.get("max_position_embeddings") or _POSITIONS.get(kind, 32768))
        window = _window(config, kind)
        found = Architecture(
            model_type=kind,
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or _KV_HEADS.get(kind, heads)),
            head_dim=int(config.get("head_dim") or _HEAD_DIMS.get(kind, hidden // heads)),
            intermediate=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            rms_eps=float(config.get("rms_norm_eps", 1e-6)),
            tied=bool(config.get("tie_word_embeddings", False)),
            qk_norm=kind == "qwen3",
            qkv_bias=kind == "qwen2",
            max_positions=min(positions, window or positions),
            window=window is not None and window < positions,
            rope=_rope(config),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError(
            f"config.json is incomplete: {error}", remedy="get the model again"
        ) from None
    if min(found.kv_heads, found.head_dim, found.layers) < 1 or found.heads % found.kv_heads:
        raise ServingError(
            f"config.json is wrong: {found.heads} heads over {found.kv_heads} of keys and values",
            remedy="get the model again",
        )
    return found


def _refuse(config: Mapping[str, Any], kind: str) -> None:
    activation = config.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise ServingError(
            f"the activation {activation!r} is not supported", remedy="use a model with silu"
        )
    for name in ("attention_bias", "mlp_bias"):
        if kind != "qwen2" and config.get(name):
            raise ServingError(
                f"models of type {kind!r} with {name} are not supported",
                remedy="use a model without those biases",
            )


def _window(config: Mapping[str, Any], kind: str) -> int | None:
    """Tokens that attention looks back, if it does not look back to the start."""
    window = config.get("sliding_window")
    if window is None or (kind.startswith("qwen") and not config.get("use_sliding_window")):
        return None
    kinds = config.get("layer_types")
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return int(window)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings, in today's form or in the older one (rope_theta, rope_scaling)."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope["rope_type"] = rope.pop("type", None) or rope.get("rope_type") or "default"
    rope["rope_theta"] = float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise ServingError(
            f"rotary positions of type {rope['rope_type']!r} are not supported",
            remedy="use a model with default, linear or llama3 positions",
        )
    if float(rope.get("partial_rotary_factor", 1.0)) != 1.0:
        raise ServingError(
            "rotary positions over a part of each head are not supported",
            remedy="use a model that rotates whole heads",
        )
    if rope["rope_type"] != "default":
        rope["factor"] = float(rope["factor"])
    if rope["rope_type"] == "llama3":
        for name in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"):
            rope[name] = float(rope[name])
    return rope


def rope_frequencies(architecture: Architecture) -> torch.Tensor:
    """Radians per position, float32 [head_dim / 2].

    ``linear`` divides all by ``factor``; ``llama3`` (Llama 3.1) divides slow ones by it, leaves
    fast ones and goes smoothly from one to the other in between.
    """
    rope, width = architecture.rope, architecture.head_dim
    exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    plain = 1.0 / (rope["rope_theta"] ** exponents)
    if rope["rope_type"] == "linear":
        return plain / rope["factor"]
    if rope["rope_type"] == "llama3":
        return plain / llama3_divisors(plain, rope)
    return plain


def llama3_divisors(frequencies: torch.Tensor, rope: Mapping[str, Any]) -> torch.Tensor:
    """What Llama 3.1 divides each frequency by, float32, between 1 and ``factor``."""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    wavelength = 2 * math.pi / frequencies
    turns = rope["original_max_position_embeddings"] / wavelength
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return 1.0 / ((1 - smooth) / factor + smooth)


def rope_tables(architecture: Architecture, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, float32 [positions, head_dim / 2] each."""
    angles = torch.outer(torch.arange(positions).float(), rope_frequencies(architecture))
    return angles.cos(), angles.sin()
