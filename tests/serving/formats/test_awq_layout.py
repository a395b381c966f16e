"""AutoAWQ's layout: packed by hand, and whole checkpoints there and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from made_models import CONFIGS, dense_weights, quantized_model, random_atom, random_weight, weights
from safetensors.torch import load_file, save_file

from kernels.weights import QuantizedWeight, unpack_nibbles
from serving.architecture import read_architecture
from serving.errors import ServingError
from serving.formats.autoawq import from_awq, pack_order, read_autoawq, to_awq, write_autoawq

_EXACT = ("symmetric", "zero_points")


def test_order_is_that_of_autoawq() -> None:
    """The numbers were made by AutoAWQ 0.2.9 (WQLinear_GEMM.from_linear)."""
    codes = (torch.arange(16) * 7 % 16).to(torch.uint8).reshape(1, 16)
    assert pack_order(codes).tolist() == [[324512992, -1679874968]]


@given(weights(_EXACT))
@settings(max_examples=25, deadline=None)
def test_dequantized_as_autoawq_does(weight: QuantizedWeight) -> None:
    """Element by element, as its documentation of the layout says."""
    parts = to_awq(weight)
    n, k = weight.shape
    shifts = dict(zip((0, 2, 4, 6, 1, 3, 5, 7), range(0, 32, 4), strict=True))
    column = np.arange(n)
    shift = np.array([shifts[c % 8] for c in column])
    words = parts["qweight"].numpy().view(np.uint32)
    codes = (words[:, column // 8] >> shift) & 15
    zeros = (parts["qzeros"].numpy().view(np.uint32)[:, column // 8] >> shift) & 15
    scales = parts["scales"].numpy().astype(np.float32)
    row = np.arange(k) // weight.group
    theirs = (codes.astype(np.float32) - zeros.astype(np.float32)[row]) * scales[row]
    np.testing.assert_array_equal(theirs.T, weight.dequantize(torch.float32).numpy())


@given(weights(_EXACT))
@settings(max_examples=25, deadline=None)
def test_there_and_back(weight: QuantizedWeight) -> None:
    back = from_awq(to_awq(weight), weight.group)
    assert torch.equal(back.codes, weight.codes)
    assert torch.equal(back.scales, weight.scales)
    assert (back.zeros is None) == (weight.zeros is None)
    assert back.zeros is None or torch.equal(back.zeros, weight.zeros)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("grid", _EXACT)
def test_checkpoints_there_and_back(tmp_path: Path, kind: str, grid: str) -> None:
    model = quantized_model(kind, grid, head_bits=16)  # type: ignore[arg-type]
    write_autoawq(model, tmp_path / "out")
    back = read_autoawq(tmp_path / "out")
    wanted, found = dense_weights(model), dense_weights(back)
    assert wanted.keys() == found.keys()
    for name, weight in wanted.items():
        if weight.dim() == 1:
            weight = weight.half().float()
        assert torch.equal(found[name], weight), name
    assert back.header.symmetric == (grid == "symmetric")
    assert read_architecture(back.config) == model.architecture


def test_configuration_is_what_readers_expect(tmp_path: Path) -> None:
    from transformers import AwqConfig

    write_autoawq(quantized_model("llama", "zero_points"), tmp_path / "out")
    stated = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    understood = AwqConfig(**{k: v for k, v in stated.items() if k != "quant_method"})
    assert (understood.bits, understood.group_size, understood.zero_point) == (4, 32, True)
    assert stated["quant_method"] == "awq"
    assert stated["version"] == "gemm"


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="integer zero points only"):
        write_autoawq(quantized_model("llama", "offsets"), tmp_path / "out")
    model = quantized_model("llama")
    model.tensors["model.layers.0.mlp.up_proj"] = random_atom(96, 64, 32, 32)
    with pytest.raises(ServingError, match="Atom"):
        write_autoawq(model, tmp_path / "out")
    model = quantized_model("llama")
    model.tensors["model.layers.0.mlp.up_proj"] = random_weight(96, 64, 64)
    with pytest.raises(ServingError, match=r"one group size in all layers, not \[32, 64\]"):
        write_autoawq(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    write_autoawq(quantized_model("llama"), tmp_path / "out")
    file, settings_file = tmp_path / "out/model.safetensors", tmp_path / "out/config.json"
    tensors = load_file(str(file))
    name = "model.layers.0.mlp.up_proj"
    save_file({k: v for k, v in tensors.items() if k != f"{name}.qzeros"}, str(file))
    with pytest.raises(ServingError, match=f"layer {name} is incomplete"):
        read_autoawq(tmp_path / "out")
    short = {**tensors, f"{name}.scales": tensors[f"{name}.scales"][:1].contiguous()}
    save_file(short, str(file))
    with pytest.raises(ServingError, match=f"layer {name} is incomplete or of a wrong shape"):
        read_autoawq(tmp_path / "out")
    config = json.loads(settings_file.read_text())
    config["quantization_config"]["version"] = "gemv"
    settings_file.write_text(json.dumps(config))
    with pytest.raises(ServingError, match="GEMM layout"):
        read_autoawq(tmp_path / "out")


def test_codes_keep_their_place() -> None:
    """One code alone, to see where it lands."""
    for column in range(8):
        codes = torch.zeros(1, 8, dtype=torch.uint8)
        codes[0, column] = 15
        word = int(pack_order(codes)[0, 0]) & 0xFFFFFFFF
        assert word == 15 << (4 * (0, 2, 4, 6, 1, 3, 5, 7).index(column))
    assert unpack_nibbles(torch.tensor([[0x21]], dtype=torch.uint8)).tolist() == [[1, 2]]
