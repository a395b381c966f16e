"""The step in C++ against transformers' own networks of every architecture, weights random."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from decoder_models import Paged

from kernels.cpu.decoder import Decoder, DecoderConfig, DecoderWeights, LayerWeights
from kernels.cpu.linear import pack_dense

transformers = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 101,
    "rms_norm_eps": 1e-5,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": None, "head_dim": 16},
    "qwen2": {"use_sliding_window": False, "rope_theta": 1000.0},
    "qwen3": {"head_dim": 24, "tie_word_embeddings": True},
}
PROMPTS = {0: [3, 1, 4, 1, 5, 9, 2, 6, 5], 1: [17], 2: [100, 0, 50, 25]}


def network(kind: str) -> Any:
    torch.manual_seed(len(kind))
    config = transformers.AutoConfig.for_model(kind, **SIZES, **NETWORKS[kind])
    made = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            centre = 1.0 if "norm" in name else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape))
    return made


def decoder_of(made: Any, dtype: torch.dtype) -> Decoder:
    """The network's weights as ``dtype``, packed."""
    c = made.config
    width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    first = made.model.layers[0].self_attn
    qk_norm, bias = hasattr(first, "q_norm"), first.q_proj.bias is not None
    config = DecoderConfig(
        c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.num_key_value_heads, width,
        c.intermediate_size, c.vocab_size, c.rms_norm_eps, qk_norm, bias,
    )  # fmt: skip

    def matrix(*layers: Any) -> Any:
        return pack_dense(torch.cat([layer.weight for layer in layers]).to(dtype))

    layers = [
        LayerWeights(
            input_norm=layer.input_layernorm.weight,
            qkv=matrix(a.q_proj, a.k_proj, a.v_proj),
            qkv_bias=torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias]) if bias else None,
            q_norm=a.q_norm.weight if qk_norm else None,
            k_norm=a.k_norm.weight if qk_norm else None,
            o=matrix(a.o_proj),
            post_norm=layer.post_attention_layernorm.weight,
            gate_up=matrix(layer.mlp.gate_proj, layer.mlp.up_proj),
            down=matrix(layer.mlp.down_proj),
        )
        for layer in made.model.layers
        for a in (layer.self_attn,)
    ]
    places = torch.arange(c.max_position_embeddings)[None]
    cos, sin = made.model.rotary_emb(made.lm_head.weight, places)
    half = width // 2
    weights = DecoderWeights(
        made.model.embed_tokens.weight.to(dtype), layers, made.model.norm.weight,
        matrix(made.lm_head), cos[0, :, :half], sin[0, :, :half],
    )  # fmt: skip
    return Decoder(config, weights)


class RoundedCache(transformers.DynamicCache):
    """Keys and values in bfloat16, as in ours."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *rest: Any, **more: Any
    ) -> Any:
        rounded = (part.bfloat16().float() for part in (key_states, value_states))
        return super().update(*rounded, *rest, **more)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_prompts_and_steps(kind: str, dtype: torch.dtype) -> None:
    made = network(kind).to(dtype).to(torch.float32)
    decoder = decoder_of(made, dtype)
    paged = Paged.empty(decoder.config, torch.Generator().manual_seed(1))
    caches = {number: RoundedCache() for number in PROMPTS}
    steps: list[dict[int, list[int]]] = [PROMPTS, {2: [7], 0: [8], 1: [9]}, {1: [3, 4, 5], 2: [6]}]
    for tokens in steps:
        got = decoder.step(paged.batch(tokens))
        wanted = torch.cat(
            [
                made(torch.tensor([new]), cache=caches[number]).logits[0]
                for number, new in tokens.items()
            ]
        )
        rows = (got - wanted).abs().amax(dim=1) / wanted.std()
        # Numbers between two of bfloat16 may be rounded either way, which later tokens read.
        assert rows.median() < 5e-3
        assert rows.max() < 2e-2
