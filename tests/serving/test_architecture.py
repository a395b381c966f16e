"""Configurations understood or refused; rotary tables against transformers' own."""

from __future__ import annotations

import pytest
import torch
from made_models import CONFIGS, quantized_model

from serving.architecture import read_architecture, rope_tables
from serving.errors import ServingError


@pytest.mark.parametrize("kind", CONFIGS)
def test_shapes_are_those_of_the_network(kind: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {key: value for key, value in CONFIGS[kind].items() if key != "model_type"}
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(CONFIGS[kind]["model_type"], **config)
        )
    theirs = {name: tuple(p.shape) for name, p in network.named_parameters()}
    ours = read_architecture(CONFIGS[kind])
    matrices = {f"{name}.weight": shape for name, shape in ours.matrix_shapes().items()}
    assert {**matrices, **ours.vector_shapes()} == theirs


@pytest.mark.parametrize("kind", CONFIGS)
def test_rotary_tables_are_those_of_transformers(kind: str) -> None:
    from transformers import AutoConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = {key: value for key, value in CONFIGS[kind].items() if key != "model_type"}
    theirs = LlamaRotaryEmbedding(AutoConfig.for_model(CONFIGS[kind]["model_type"], **config))
    architecture = read_architecture(CONFIGS[kind])
    positions = torch.arange(architecture.max_positions)[None]
    wanted_cos, wanted_sin = theirs(torch.zeros(1), positions)
    cos, sin = rope_tables(architecture, architecture.max_positions)
    half = architecture.head_dim // 2
    torch.testing.assert_close(cos, wanted_cos[0, :, :half], rtol=0, atol=1e-6)
    torch.testing.assert_close(sin, wanted_sin[0, :, :half], rtol=0, atol=1e-6)


def test_defaults_of_short_configurations() -> None:
    short = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "intermediate_size": 96,
        "vocab_size": 10,
    }
    found = read_architecture(short)
    assert (found.kv_heads, found.head_dim, found.tied) == (4, 16, False)
    assert found.rope == {"rope_type": "default", "rope_theta": 10000.0}
    assert read_architecture({**short, "model_type": "qwen3"}).head_dim == 128


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_type": "gemma2"}, "type 'gemma2' are not supported"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"attention_bias": True}, "with attention_bias"),
        ({"mlp_bias": True}, "with mlp_bias"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "type 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "incomplete"),
        ({"hidden_size": None}, "incomplete"),
        ({"num_key_value_heads": 3}, "4 heads over 3"),
    ],
)
def test_what_is_not_supported_is_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(ServingError, match=match):
        read_architecture({**CONFIGS["llama"], **change})


def test_a_window_limits_the_length() -> None:
    config = {**CONFIGS["mistral"], "sliding_window": 48}
    found = read_architecture(config)
    assert (found.max_positions, found.window) == (48, True)
    wide = read_architecture({**config, "sliding_window": 4096})
    assert (wide.max_positions, wide.window) == (128, False)
    unused = {**CONFIGS["qwen2"], "sliding_window": 48, "use_sliding_window": False}
    assert read_architecture(unused).max_positions == 128
    used = {**unused, "use_sliding_window": True, "layer_types": ["full_attention"] * 2}
    assert read_architecture(used).max_positions == 128


def test_made_models_are_whole() -> None:
    from serving.checkpoint import check_tensors

    for kind in CONFIGS:
        check_tensors(quantized_model(kind))
