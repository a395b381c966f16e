"""compressed-tensors' layout: unpacked bit by bit, and whole checkpoints there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from made_models import CONFIGS, dense_weights, quantized_model, random_atom, random_weight, weights
from safetensors.torch import load_file, save_file

from kernels.weights import QuantizedWeight, pack_nibbles
from serving.architecture import read_architecture
from serving.errors import ServingError
from serving.formats.compressed_tensors import (
    from_packed,
    pack_words,
    read_compressed_tensors,
    to_packed,
    unpack_words,
    write_compressed_tensors,
)

_EXACT = ("symmetric", "zero_points")


def test_words_are_those_of_compressed_tensors() -> None:
    """The numbers were made by compressed-tensors 0.20.0 (pack_to_int32)."""
    codes = (torch.arange(20) * 7 % 16).to(torch.uint8).reshape(2, 10)
    assert pack_words(codes, 4).tolist() == [[440163952, 248], [1888662742, 94]]
    along_rows = pack_words(codes.T.contiguous(), 4).T
    assert along_rows.tolist() == [[96, 215, 78, 181, 44, 147, 10, 113, 232, 95]]
    eight = ((codes.to(torch.int16) - 8) * 15 + 128).to(torch.uint8)
    assert pack_words(eight, 8).tolist() == [
        [1406824712, 396244412, 59776],
        [-1388000414, 1896386342, 21466],
    ]
    for bits, values in ((4, codes), (8, eight)):
        assert torch.equal(unpack_words(pack_words(values, bits), bits, 10), values)


def _element(words: list[int], bits: int, index: int) -> int:
    """Code ``index`` of a row of words, from its bits."""
    value = sum((word & 0xFFFFFFFF) << (32 * i) for i, word in enumerate(words))
    return (value >> (bits * index)) & ((1 << bits) - 1)


@given(weights(_EXACT, eights=3))
@settings(max_examples=15, deadline=None)
def test_elements_stand_where_the_format_says(weight: QuantizedWeight) -> None:
    parts = to_packed(weight)
    n, k = weight.shape
    assert parts["weight_shape"].tolist() == [n, k]
    wanted = weight.dequantize(torch.float32)
    for row, column in ((0, 0), (0, k - 1), (n - 1, 0), (n // 2, k // 3)):
        code = _element(parts["weight_packed"][row].tolist(), 4, column)
        scale = float(parts["weight_scale"][row, column // weight.group])
        zero = 8
        if "weight_zero_point" in parts:
            words = parts["weight_zero_point"][:, column // weight.group].tolist()
            zero = _element(words, 4, row)
        assert (code - zero) * scale == pytest.approx(float(wanted[row, column]), rel=1e-6)


@given(weights(_EXACT, eights=3))
@settings(max_examples=15, deadline=None)
def test_there_and_back(weight: QuantizedWeight) -> None:
    back = from_packed(to_packed(weight), 4, weight.zeros is None)
    assert isinstance(back, QuantizedWeight)
    assert torch.equal(back.dequantize(torch.float32), weight.dequantize(torch.float32))


def test_eight_bits_there_and_back() -> None:
    weight = random_weight(10, 96, 32, bits=8)
    back = from_packed(to_packed(weight), 8, True)
    assert isinstance(back, QuantizedWeight)
    assert torch.equal(back.codes, weight.codes)
    assert torch.equal(back.scales, weight.scales)


def test_eight_bits_that_ours_lacks_become_dense() -> None:
    codes = torch.randint(-128, 128, (4, 32), dtype=torch.int8)
    codes[0, 0] = -128
    scales, zeros = torch.full((4, 1), 0.5), torch.tensor([[-3], [0], [5], [7]], dtype=torch.int8)
    parts = {
        "weight_packed": pack_words((codes.to(torch.int16) + 128).to(torch.uint8), 8),
        "weight_scale": scales,
        "weight_shape": torch.tensor([4, 32]),
    }
    found = from_packed(parts, 8, True)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found.float(), codes.float() * 0.5)
    found = from_packed({**parts, "weight_zero_point": zeros}, 8, False)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found.float(), (codes.float() - zeros.float()) * 0.5)


def test_scales_of_whole_rows_and_old_zero_points() -> None:
    codes = torch.randint(0, 16, (8, 192), dtype=torch.uint8)
    zeros = torch.randint(0, 16, (8, 1), dtype=torch.uint8)
    scales = (0.01 + torch.rand(8, 1)).bfloat16()
    parts = {
        "weight_packed": pack_words(codes, 4),
        "weight_scale": scales,
        "weight_shape": torch.tensor([8, 192]),
        "weight_zero_point": (zeros.to(torch.int16) - 8).to(torch.int8),
    }
    found = from_packed(parts, 4, False)
    assert isinstance(found, QuantizedWeight)
    assert found.group == 64
    wanted = (codes.float() - zeros.float()) * scales.float()
    assert torch.equal(found.dequantize(torch.float32), wanted)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("grid", _EXACT)
def test_checkpoints_there_and_back(tmp_path: Path, kind: str, grid: str) -> None:
    model = quantized_model(kind, grid, head_bits=16)  # type: ignore[arg-type]
    write_compressed_tensors(model, tmp_path / "out")
    back = read_compressed_tensors(tmp_path / "out")
    wanted, found = dense_weights(model), dense_weights(back)
    assert wanted.keys() == found.keys()
    for name, weight in wanted.items():
        if weight.dim() == 1:
            weight = weight.half().float()
        assert torch.equal(found[name], weight), name
    assert read_architecture(back.config) == model.architecture


def test_layers_of_several_kinds(tmp_path: Path) -> None:
    model = quantized_model("qwen3", "zero_points")
    first, second = "model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj"
    model.tensors[first] = random_weight(96, 64, 32, bits=8)
    dense = random_weight(64, 96, 32).dequantize(torch.float32).half()
    del model.tensors[second]
    model.tensors[f"{second}.weight"] = dense
    write_compressed_tensors(model, tmp_path / "out")
    stated = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert sorted(g["weights"]["num_bits"] for g in stated["config_groups"].values()) == [4, 8]
    assert stated["ignore"] == ["lm_head", second]
    back = read_compressed_tensors(tmp_path / "out")
    found, wanted = back.tensors[first], model.tensors[first]
    assert isinstance(found, QuantizedWeight)
    assert isinstance(wanted, QuantizedWeight)
    assert torch.equal(found.codes, wanted.codes)
    assert torch.equal(back.dense(f"{second}.weight"), dense)


def test_a_few_symmetric_layers_make_no_kind_of_their_own(tmp_path: Path) -> None:
    model = quantized_model("llama", "zero_points")
    name = "model.layers.1.self_attn.k_proj"
    model.tensors[name] = random_weight(32, 64, 32)
    write_compressed_tensors(model, tmp_path / "out")
    stated = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    (group,) = stated["config_groups"].values()
    assert group["targets"] == ["Linear"]
    assert group["weights"]["symmetric"] is False
    found, wanted = read_compressed_tensors(tmp_path / "out").tensors[name], model.tensors[name]
    assert isinstance(found, QuantizedWeight)
    assert isinstance(wanted, QuantizedWeight)
    assert found.zeros is None
    assert torch.equal(found.codes, wanted.codes)


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="not offsets"):
        write_compressed_tensors(quantized_model("llama", "offsets"), tmp_path / "out")
    model = quantized_model("llama")
    model.tensors["model.layers.0.mlp.up_proj"] = random_atom(96, 64, 32, 32)
    with pytest.raises(ServingError, match="Atom"):
        write_compressed_tensors(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    write_compressed_tensors(quantized_model("llama"), tmp_path / "out")
    file, settings_file = tmp_path / "out/model.safetensors", tmp_path / "out/config.json"
    tensors, config = load_file(str(file)), json.loads(settings_file.read_text())
    name = "model.layers.0.mlp.up_proj"
    save_file({k: v for k, v in tensors.items() if k != f"{name}.weight_scale"}, str(file))
    with pytest.raises(ServingError, match=f"layer {name} is incomplete"):
        read_compressed_tensors(tmp_path / "out")
    save_file({**tensors, f"{name}.weight_g_idx": torch.arange(64)}, str(file))
    with pytest.raises(ServingError, match="out of order"):
        read_compressed_tensors(tmp_path / "out")
    save_file(tensors, str(file))
    group = config["quantization_config"]["config_groups"]["group_0"]
    group["weights"]["type"] = "float"
    settings_file.write_text(json.dumps(config))
    with pytest.raises(ServingError, match="not integers of 4 or 8 bits"):
        read_compressed_tensors(tmp_path / "out")


def test_zeros_that_are_all_eight_are_symmetric() -> None:
    codes = torch.randint(0, 16, (8, 64), dtype=torch.uint8)
    zeros = torch.full((8, 2), 8, dtype=torch.uint8)
    weight = QuantizedWeight(pack_nibbles(codes), torch.ones(8, 2).half(), zeros, bits=4, group=32)
    back = from_packed(to_packed(weight), 4, False)
    assert isinstance(back, QuantizedWeight)
    assert back.zeros is None
