"""The served decoder against transformers' networks with the same weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_models import (
    CONFIGS,
    dense_network,
    dense_weights,
    distance,
    make_tokenizer,
    network_logits,
    quantized_model,
    random_atom,
    random_tokens,
    random_weight,
)
from safetensors.torch import save_file

from kernels.weights import QuantizedWeight
from serving.checkpoint import QuantizedModel, save_checkpoint
from serving.decoder import load_decoder, make_decoder
from serving.decoder_weights import alike
from serving.errors import ServingError
from serving.generation import logits_of


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("grid", ["symmetric", "zero_points", "offsets"])
def test_logits_are_those_of_transformers(kind: str, grid: str) -> None:
    model = quantized_model(kind, grid, head_bits=4 if grid == "offsets" else 8)  # type: ignore[arg-type]
    ids = random_tokens(37, seed=len(kind))
    found = logits_of(make_decoder(model, Path("made")), [ids], chunk=16)[0]
    # Which way keys and values are rounded to bfloat16 may turn on the last bit of a float32.
    assert distance(found, network_logits(dense_network(model), ids)) < 2e-3


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_plain_folders_decode_in_bfloat16(tmp_path: Path, kind: str, sharded: bool) -> None:
    model = quantized_model(kind)
    rounded = {
        name: weight.bfloat16() if weight.dim() == 2 else weight
        for name, weight in dense_weights(model).items()
        if name != "lm_head.weight" or not model.architecture.tied
    }
    if sharded:
        names = sorted(rounded)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, held in halves.items():
            save_file({name: rounded[name] for name in held}, str(tmp_path / file))
        index = {name: file for file, held in halves.items() for name in held}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    else:
        save_file(rounded, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(model.config))
    decoder = load_decoder(tmp_path)
    assert (decoder.header.method, decoder.header.bits) == ("none", 16)
    ids = random_tokens(20)
    network = dense_network(model)
    network.load_state_dict(
        {name: weight.float() for name, weight in rounded.items()}, strict=False
    )
    # 16 significant bits of activations meet bfloat16 weights.
    found = logits_of(decoder, [ids])[0]
    assert distance(found, network_logits(network, ids)) < 2e-3


def test_checkpoints_decode_as_the_model_that_was_saved(tmp_path: Path) -> None:
    model = quantized_model("llama", "zero_points")
    save_checkpoint(tmp_path / "out", model, companions=make_tokenizer(tmp_path / "t"))
    loaded = load_decoder(tmp_path / "out")
    ids = random_tokens(12)
    before = logits_of(make_decoder(model, Path("made")), [ids])[0]
    assert torch.equal(logits_of(loaded, [ids])[0], before)
    assert loaded.tokenizer.decode(loaded.tokenizer("turn right").input_ids) == "turn right"
    assert loaded.stop_ids == {2}
    assert loaded.header.base == "made/tiny"


def test_generation_settings_name_the_tokens_that_end(tmp_path: Path) -> None:
    model = quantized_model("llama")
    (tmp_path / "t").mkdir()
    (tmp_path / "t/generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    save_checkpoint(tmp_path / "out", model, companions=tmp_path / "t")
    assert load_decoder(tmp_path / "out").stop_ids == {2, 7}


def test_gguf_files_decode(tmp_path: Path) -> None:
    from serving.exchange import convert

    model = quantized_model("llama", "offsets")
    save_checkpoint(tmp_path / "out", model, companions=make_tokenizer(tmp_path / "t"))
    convert(tmp_path / "out", "gguf", tmp_path / "m.gguf")
    ids = random_tokens(12)
    found = load_decoder(tmp_path / "m.gguf")
    # GGUF keeps the base of rotary angles in 32 bits, and the like.
    wanted = logits_of(load_decoder(tmp_path / "out"), [ids])[0]
    assert distance(logits_of(found, [ids])[0], wanted) < 1e-5
    assert (
        found.tokenizer("turn right").input_ids
        == load_decoder(tmp_path / "out").tokenizer("turn right").input_ids
    )


@pytest.mark.parametrize(("kv", "limit"), [("bf16", 0.05), ("int8", 0.05), ("int4", 0.3)])
def test_quantized_activations_and_keys_are_near(kv: str, limit: float) -> None:
    model = quantized_model("llama")
    ids = random_tokens(40)
    wanted = network_logits(dense_network(model), ids)
    decoder = make_decoder(model, Path("made"), activation_bits=8, kv=kv)  # type: ignore[arg-type]
    assert distance(logits_of(decoder, [ids])[0], wanted) < limit


def test_mixed_precision_decodes(tmp_path: Path) -> None:
    model = quantized_model("llama")
    for layer in range(2):
        at = f"model.layers.{layer}"
        for seed, names in enumerate(
            [("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)]
        ):
            order = None
            for name in names:
                place = f"{at}.{'self_attn' if seed < 2 else 'mlp'}.{name}"
                n, k = model.tensors[place].shape
                atom = random_atom(n, k, 32, 32, seed=10 * layer + seed)
                order = atom.order if order is None else order
                model.tensors[place] = replace(atom, order=order)
    save_checkpoint(tmp_path / "out", model)
    ids = random_tokens(30)
    found = logits_of(load_decoder(tmp_path / "out"), [ids])[0]
    dense = {
        name: weight if isinstance(weight, (torch.Tensor, QuantizedWeight)) else weight.dequantize()
        for name, weight in model.tensors.items()
    }
    plain = QuantizedModel(
        model.config,
        {
            f"{n}.weight" if isinstance(w, torch.Tensor) and n.endswith("proj") else n: w
            for n, w in dense.items()
        },
        model.header,
    )
    # Activations of 4 bits are coarse; weights in a wrong order would give a distance above 1.
    assert distance(found, network_logits(dense_network(plain), ids)) < 0.6
    place = "model.layers.0.self_attn.k_proj"
    model.tensors[place] = random_atom(32, 64, 32, 32, seed=99)
    with pytest.raises(ServingError, match="different orders"):
        make_decoder(model, Path("made"))


def test_layers_on_different_grids_are_joined_exactly() -> None:
    model = quantized_model("llama")
    q, k, v = (f"model.layers.0.self_attn.{x}_proj" for x in "qkv")
    model.tensors[q] = random_weight(64, 64, 64, "symmetric", seed=1, size=0.3)
    model.tensors[k] = random_weight(32, 64, 32, "zero_points", seed=2, size=0.3)
    up = "model.layers.1.mlp.up_proj"
    model.tensors[up] = random_weight(96, 64, 32, bits=8, seed=3, size=0.3)
    dense = random_weight(32, 64, 32, seed=4, size=0.3).dequantize().bfloat16()
    del model.tensors["model.layers.1.self_attn.v_proj"]
    model.tensors["model.layers.1.self_attn.v_proj.weight"] = dense
    ids = random_tokens(20)
    found = logits_of(make_decoder(model, Path("made")), [ids])[0]
    assert distance(found, network_logits(dense_network(model), ids)) < 2e-3
    parts = [model.tensors[name] for name in (q, k, v)]
    weights = [part for part in parts if isinstance(part, QuantizedWeight)]
    for before, after in zip(weights, alike(weights), strict=True):
        assert torch.equal(before.dequantize(), after.dequantize())


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no model"):
        load_decoder(tmp_path / "none")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIGS["llama"], "model_type": "gpt2"}))
    with pytest.raises(ServingError, match="type 'gpt2'"):
        load_decoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    with pytest.raises(ServingError, match="no weights in safetensors"):
        load_decoder(tmp_path)
    foreign = {**CONFIGS["llama"], "quantization_config": {"quant_method": "bitsandbytes"}}
    (tmp_path / "config.json").write_text(json.dumps(foreign))
    with pytest.raises(ServingError, match="bitsandbytes"):
        load_decoder(tmp_path)
    with pytest.raises(ServingError, match="int2"):
        make_decoder(quantized_model("llama"), tmp_path, kv="int2")  # type: ignore[arg-type]


@pytest.mark.model
def test_real_model_says_what_transformers_says(embedded: QuantizedModel) -> None:
    """The embedded model from its file, against transformers with the weights in float32."""
    from pipeline.models import load_model

    model = load_model("smollm2", device="cpu", dtype="float32")
    decoder = make_decoder(embedded, model.folder)
    ids = model.tokenizer("Turn right at the traffic light: 1. Observe the light. 2.").input_ids
    found = logits_of(decoder, [ids])[0]
    wanted = network_logits(model.model, ids)
    assert distance(found, wanted) < 5e-3
    assert torch.equal(found.argmax(-1), wanted.argmax(-1))
