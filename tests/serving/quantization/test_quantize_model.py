"""Whole models: what comes out, errors, determinism."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_networks import KINDS, make_network, save_network, token_rows

from kernels.weights import AtomWeight, QuantizedWeight
from serving.architecture import EMBEDDING, HEAD
from serving.checkpoint import QuantizedModel, load_checkpoint
from serving.errors import ServingError
from serving.quantization import Method, QuantizeSettings, quantize_model
from serving.quantization.exact import exact_grid
from serving.quantization.grid import Grid, quantize_to_grid


def dense_logits(kind: str, model: QuantizedModel, row: list[int]) -> torch.Tensor:
    """Logits of transformers' network with the numbers that a checkpoint's weights stand for."""
    network = make_network(kind)
    state = {}
    for name, weight in model.tensors.items():
        if isinstance(weight, torch.Tensor):
            state[name] = weight.float()
        else:
            state[f"{name}.weight"] = weight.dequantize()
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    with torch.inference_mode():
        return network(input_ids=torch.tensor([row])).logits[0]


def change_of_logits(kind: str, folder: Path, rows: list[list[int]]) -> float:
    """Relative squared change, over rows that were not calibrated on."""
    model, network = load_checkpoint(folder), make_network(kind)
    change = total = 0.0
    for row in rows:
        with torch.inference_mode():
            wanted = network(input_ids=torch.tensor([row])).logits[0]
        change += float((dense_logits(kind, model, row) - wanted).square().sum())
        total += float(wanted.square().sum())
    return change / total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["rtn", "awq"])
def test_every_architecture_gives_a_checkpoint_near_the_model(
    tmp_path: Path, kind: str, method: Method
) -> None:
    save_network(tmp_path / "dense", kind)
    settings = QuantizeSettings(method=method, group=32, base="made/tiny")
    report = quantize_model(tmp_path / "dense", tmp_path / "out", settings, token_rows())
    model = load_checkpoint(tmp_path / "out")
    assert model.header.method == method
    assert model.header.base == "made/tiny"
    assert model.header.base_hash.startswith("sha256:")
    assert (model.header.bits, model.header.group, model.header.symmetric) == (4, 32, False)
    assert model.header.head_bits == 8
    ends = [EMBEDDING] if kind in ("tied_llama",) else [EMBEDDING, HEAD]
    for name in ends:
        end = model.tensors[name]
        assert isinstance(end, QuantizedWeight)
        assert end.bits == 8
    assert (HEAD in model.tensors) == (kind != "tied_llama")
    assert change_of_logits(kind, tmp_path / "out", token_rows(3, seed=9)) < 0.2
    assert len(report.layers) == 2
    for layer in report.layers:
        assert 0 < layer.weight_error < 0.05
        assert layer.output_error is not None
        assert 0 < layer.output_error < 0.2
    assert report.layer_bits_per_weight == pytest.approx(4 + 20 / 32)
    assert report.bytes == (tmp_path / "out" / "model.safetensors").stat().st_size


def test_methods_in_the_order_of_their_quality(tmp_path: Path) -> None:
    save_network(tmp_path / "dense", "llama")
    changes: dict[str, float] = {}
    for method in ("rtn", "awq", "gptq", "awq-gptq"):
        settings = QuantizeSettings(method=method, group=32, symmetric=True, head_bits=16)
        rows = token_rows(20, longest=60)
        quantize_model(tmp_path / "dense", tmp_path / method, settings, rows)
        fresh = token_rows(4, longest=60, seed=9)
        changes[method] = change_of_logits("llama", tmp_path / method, fresh)
    assert changes["awq"] < 0.9 * changes["rtn"]
    assert changes["gptq"] < 0.8 * changes["rtn"]
    assert changes["awq-gptq"] < 0.9 * changes["awq"]


def test_atom_keeps_columns_and_says_how_to_run(tmp_path: Path) -> None:
    save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="atom", group=16)
    report = quantize_model(tmp_path / "dense", tmp_path / "out", settings, token_rows())
    model = load_checkpoint(tmp_path / "out")
    weight = model.tensors["model.layers.1.mlp.down_proj"]
    assert isinstance(weight, AtomWeight)
    assert weight.shape == (64, 96)
    assert model.header.symmetric
    assert model.header.notes == {"activation_bits": "4", "activation_clip": "0.9", "kv": "int4"}
    # The report's outputs are those with quantized activations.
    assert all(layer.output_error is not None for layer in report.layers)
    assert report.layers[0].choices == {
        "q k v": "16 of 64",
        "o": "16 of 64",
        "gate up": "16 of 64",
        "down": "16 of 96",
    }


def test_weights_on_a_grid_are_taken_over(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "tied_llama")
    tensors = load_file(str(dense / "model.safetensors"))
    for name, tensor in tensors.items():
        if tensor.dim() == 2:
            bits = 8 if name.startswith(EMBEDDING) else 4
            tensors[name] = quantize_to_grid(tensor, Grid(bits, 32, False)).dequantize()
    save_file(tensors, str(dense / "model.safetensors"), metadata={"format": "pt"})
    quantize_model(dense, tmp_path / "out", QuantizeSettings(method="exact", group=32))
    model = load_checkpoint(tmp_path / "out")
    for name, weight in model.tensors.items():
        if isinstance(weight, QuantizedWeight):
            assert torch.equal(weight.dequantize(), tensors[f"{name}.weight"])
    wrong = QuantizeSettings(method="exact", group=16, head_bits=16)
    assert exact_grid(tensors["model.layers.0.mlp.up_proj.weight"], 4, 16) is not None
    quantize_model(dense, tmp_path / "narrow", wrong)
    tensors["model.layers.1.self_attn.o_proj.weight"][5, 40] += 1e-5
    save_file(tensors, str(dense / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(ServingError, match=r"model\.layers\.1\.self_attn\.o_proj do not lie on"):
        quantize_model(dense, tmp_path / "x", QuantizeSettings(method="exact", group=32))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["tied_llama", "qwen2"])
@pytest.mark.parametrize("method", ["rtn", "gptq", "awq", "atom"])
@pytest.mark.parametrize("head_bits", [4, 16])
def test_heads(tmp_path: Path, kind: str, method: Method, head_bits: int) -> None:
    save_network(tmp_path / "dense", kind)
    settings = QuantizeSettings(method=method, group=16, head_bits=head_bits)
    quantize_model(tmp_path / "dense", tmp_path / "out", settings, token_rows())
    model = load_checkpoint(tmp_path / "out")
    assert model.header.head_bits == head_bits
    end = model.matrix(HEAD)
    assert end.dtype == torch.float16 if isinstance(end, torch.Tensor) else end.bits == 4  # type: ignore[union-attr]
    limit = 0.4 if method == "atom" else 0.2
    assert change_of_logits(kind, tmp_path / "out", token_rows(2, seed=5)) < limit


def test_matrices_that_the_group_does_not_divide_can_have_another(tmp_path: Path) -> None:
    save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="rtn", group=96, narrow_group=32)
    quantize_model(tmp_path / "dense", tmp_path / "out", settings)
    model = load_checkpoint(tmp_path / "out")
    groups = {
        name: model.tensors[f"model.layers.0.{name}"].group  # type: ignore[union-attr]
        for name in ("mlp.down_proj", "mlp.up_proj")
    }
    assert groups == {"mlp.down_proj": 96, "mlp.up_proj": 32}
    assert model.header.group == 0


def _bytes(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("method", ["awq-gptq", "atom"])
def test_the_same_bytes_again(tmp_path: Path, method: Method) -> None:
    save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method=method, group=16, head_bits=4)
    for name in ("one", "two"):
        quantize_model(tmp_path / "dense", tmp_path / name, settings, token_rows())
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_progress_counts_layers_and_ends(tmp_path: Path) -> None:
    save_network(tmp_path / "dense", "llama")
    seen: list[tuple[int, int]] = []
    quantize_model(
        tmp_path / "dense",
        tmp_path / "out",
        QuantizeSettings(method="rtn", group=32),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def _refused(dense: Path, out: Path, match: str, settings: QuantizeSettings | None = None) -> None:
    settings = settings or QuantizeSettings(method="gptq", group=16)
    with pytest.raises(ServingError, match=match) as caught:
        quantize_model(dense, out, settings, token_rows())
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    config = json.loads((dense / "config.json").read_text())
    (dense / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    _refused(dense, tmp_path / "out", r"'gpt2' are not supported; use llama, mistral, qwen2")
    (dense / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    _refused(dense, tmp_path / "out", "quantized already")


def test_groups_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    wide = QuantizeSettings(method="gptq", group=64)
    _refused(dense, tmp_path / "out", r"64 do not divide the 96 columns of .*down_proj.*32", wide)
    head = QuantizeSettings(method="gptq", group=24, head_bits=8)
    _refused(dense, tmp_path / "out", r"24 do not divide the 64 columns", head)
    atom = QuantizeSettings(method="atom", group=96)
    _refused(dense, tmp_path / "out", r"96 do not fit into the 64 columns of model\.layers", atom)


@pytest.mark.parametrize(
    "name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, name: str, value: float) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    tensors = load_file(str(dense / "model.safetensors"))
    tensors[name].view(-1)[3] = value
    save_file(tensors, str(dense / "model.safetensors"), metadata={"format": "pt"})
    _refused(dense, tmp_path / "out", f"{name} are not finite")


def test_activations_that_overflow_name_the_layer(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    tensors = load_file(str(dense / "model.safetensors"))
    tensors["model.layers.1.post_attention_layernorm.weight"] *= 1e15
    save_file(tensors, str(dense / "model.safetensors"), metadata={"format": "pt"})
    for method in ("rtn", "gptq", "awq", "atom"):
        settings = QuantizeSettings(method=method, group=16, head_bits=16)
        _refused(dense, tmp_path / "out", r"model\.layers\.1.* not finite", settings)


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    tensors = load_file(str(dense / "model.safetensors"))
    tensors["model.layers.1.mlp.up_proj.weight"][3] *= 1e7
    save_file(tensors, str(dense / "model.safetensors"), metadata={"format": "pt"})
    for method in ("rtn", "gptq", "awq", "atom"):
        settings = QuantizeSettings(method=method, group=16)
        _refused(dense, tmp_path / "out", r"layers\.1\.mlp\.up_proj are too large", settings)


def test_missing_tensors_and_wrong_rows_are_refused(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="awq", group=16)
    with pytest.raises(ServingError, match="row 1 has a token"):
        quantize_model(dense, tmp_path / "out", settings, [[5000]])
    with pytest.raises(ServingError, match="awq needs calibration rows"):
        quantize_model(dense, tmp_path / "out", settings, [[]])
    tensors = load_file(str(dense / "model.safetensors"))
    name = "model.layers.0.self_attn.o_proj.weight"
    save_file(
        {**tensors, name: tensors[name][:, :8].contiguous()}, str(dense / "model.safetensors")
    )
    _refused(dense, tmp_path / "out", r"o_proj\.weight has shape \[64, 8\]")
    del tensors[name]
    save_file(tensors, str(dense / "model.safetensors"))
    _refused(dense, tmp_path / "out", r"no tensor model\.layers\.0\.self_attn\.o_proj\.weight")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="rtn", group=16)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(ServingError, match="is not empty"):
        quantize_model(dense, tmp_path / "out", settings)
    assert (tmp_path / "out" / "precious").read_text() == "x"
    quantize_model(dense, tmp_path / "new", settings)
    narrow = QuantizeSettings(method="rtn", group=8)
    quantize_model(dense, tmp_path / "new", narrow, overwrite=True)
    assert load_checkpoint(tmp_path / "new").header.group == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "best"},
        {"bits": 3},
        {"group": 12},
        {"head_bits": 5},
        {"method": "atom", "bits": 8},
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ServingError):
        QuantizeSettings(**wrong)


def test_eight_bits_are_nearly_lossless(tmp_path: Path) -> None:
    save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="rtn", bits=8, group=32)
    quantize_model(tmp_path / "dense", tmp_path / "out", settings)
    assert change_of_logits("llama", tmp_path / "out", token_rows(2)) < 1e-2
    assert load_checkpoint(tmp_path / "out").header.bits == 8
