"""A decoder layer as plain functions of its weights, so that any of them can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from serving.architecture import Architecture, rope_tables

INPUT_NORM, POST_NORM = "input_layernorm.weight", "post_attention_layernorm.weight"
Q, K, V, O = (f"self_attn.{x}_proj" for x in "qkvo")  # noqa: E741
GATE, UP, DOWN = (f"mlp.{x}_proj" for x in ("gate", "up", "down"))

Activation = Callable[[torch.Tensor], torch.Tensor]
"""What happens to a linear map's input before the multiplication."""


@dataclass(frozen=True)
class DecoderLayer:
    """One layer of a Llama-type model.

    Attributes:
        architecture: Of the model.
        weights: float32 tensors under the names that they have within the layer in Hugging Face
            files (``self_attn.q_proj.weight``).
        activations: What quantizes the inputs of linear maps, by the map's name
            (``self_attn.q_proj``); the others take their inputs as they are.
    """

    architecture: Architecture
    weights: Mapping[str, torch.Tensor]
    activations: Mapping[str, Activation] = field(default_factory=dict)

    def matrix(self, name: str) -> torch.Tensor:
        """The weight of a linear map (``self_attn.q_proj``), [N, K]."""
        return self.weights[f"{name}.weight"]

    def with_tensors(self, tensors: Mapping[str, torch.Tensor]) -> DecoderLayer:
        """The layer with some tensors replaced."""
        return replace(self, weights={**self.weights, **tensors})

    def with_matrices(self, matrices: Mapping[str, torch.Tensor]) -> DecoderLayer:
        """The layer with some linear maps' weights replaced."""
        return self.with_tensors({f"{name}.weight": m for name, m in matrices.items()})

    def normed(self, hidden: torch.Tensor, norm: str) -> torch.Tensor:
        """Hidden states [..., hidden] through `INPUT_NORM` or `POST_NORM`."""
        return rms_norm(hidden, self.weights[norm], self.architecture.rms_eps)

    def project(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A linear map, with its bias if it has one."""
        if name in self.activations:
            x = self.activations[name](x)
        return linear(x, self.matrix(name), self.weights.get(f"{name}.bias"))

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        """Causal attention up to, not including, the output projection.

        Args:
            x: Normed hidden states of one text [T, hidden].

        Returns:
            [T, heads * head_dim].
        """
        sizes, length = self.architecture, x.shape[0]
        q = self.project(Q, x).view(length, sizes.heads, sizes.head_dim)
        k = self.project(K, x).view(length, sizes.kv_heads, sizes.head_dim)
        v = self.project(V, x).view(length, sizes.kv_heads, sizes.head_dim)
        if sizes.qk_norm:
            q = rms_norm(q, self.weights["self_attn.q_norm.weight"], sizes.rms_eps)
            k = rms_norm(k, self.weights["self_attn.k_norm.weight"], sizes.rms_eps)
        cos, sin = (table[:, None] for table in rope_tables(sizes, length))
        repeats = sizes.heads // sizes.kv_heads
        parts = (_rotated(q, cos, sin), _rotated(k, cos, sin), v)
        q, k, v = (part.transpose(0, 1)[None] for part in parts)
        k, v = (part.repeat_interleave(repeats, dim=1) for part in (k, v))
        out = scaled_dot_product_attention(q, k, v, is_causal=True)
        return out[0].transpose(0, 1).reshape(length, -1)

    def gated(self, x: torch.Tensor) -> torch.Tensor:
        """The MLP up to, not including, its down projection: [..., intermediate]."""
        return silu(self.project(GATE, x)) * self.project(UP, x)

    def attention_block(self, x: torch.Tensor) -> torch.Tensor:
        """Attention on normed hidden states of one text, without the residual."""
        return self.project(O, self.attended(x))

    def mlp_block(self, x: torch.Tensor) -> torch.Tensor:
        """The MLP on normed hidden states, without the residual."""
        return self.project(DOWN, self.gated(x))

    def after_attention(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states of one text [T, hidden] after the first half of the layer."""
        return hidden + self.attention_block(self.normed(hidden, INPUT_NORM))

    def after_mlp(self, hidden: torch.Tensor) -> torch.Tensor:
        """What becomes of the result of `after_attention` in the second half."""
        return hidden + self.mlp_block(self.normed(hidden, POST_NORM))

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """The whole layer on hidden states of one text [T, hidden]."""
        return self.after_mlp(self.after_attention(hidden))


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimension."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, half-rotation: [T, heads, head_dim] by [T, 1, head_dim / 2]."""
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
