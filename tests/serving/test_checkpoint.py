"""Checkpoints: what is written is read, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_models import CONFIGS, quantized_model, random_atom, random_weight
from safetensors.torch import load_file, save_file

from kernels.weights import AtomWeight, QuantizedWeight
from serving.checkpoint import (
    Header,
    QuantizedModel,
    describe,
    is_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from serving.errors import ServingError


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, AtomWeight) and isinstance(right, AtomWeight):
        return (
            _equal(left.low, right.low)
            and _equal(left.high, right.high)
            and _equal(left.order, right.order)
        )
    if isinstance(left, QuantizedWeight) and isinstance(right, QuantizedWeight):
        return (
            (left.bits, left.group) == (right.bits, right.group)
            and _equal(left.codes, right.codes)
            and _equal(left.scales, right.scales)
            and ((left.zeros is right.zeros is None) or _equal(left.zeros, right.zeros))
        )
    return False


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("grid", ["symmetric", "zero_points", "offsets"])
def test_what_is_saved_is_loaded(tmp_path: Path, kind: str, grid: str) -> None:
    model = quantized_model(kind, grid, head_bits=16 if grid == "offsets" else 8)  # type: ignore[arg-type]
    save_checkpoint(tmp_path / "out", model)
    back = load_checkpoint(tmp_path / "out")
    assert back.header == model.header
    assert back.config == model.config
    assert back.tensors.keys() == model.tensors.keys()
    assert all(_equal(back.tensors[name], model.tensors[name]) for name in model.tensors)
    assert is_checkpoint(tmp_path / "out")


def test_mixed_precision_is_kept(tmp_path: Path) -> None:
    model = quantized_model("llama")
    name = "model.layers.1.self_attn.q_proj"
    model.tensors[name] = random_atom(64, 64, high=32, group=32)
    save_checkpoint(tmp_path / "out", model)
    assert _equal(load_checkpoint(tmp_path / "out").tensors[name], model.tensors[name])


def test_header_says_how_it_was_quantized(tmp_path: Path) -> None:
    model = quantized_model("llama", "zero_points")
    header = Header("awq", 4, 32, False, 8, "made/tiny", "sha256:12", {"alpha": "0.5"})
    save_checkpoint(tmp_path / "out", replace(model, header=header))
    assert read_header(tmp_path / "out") == header
    settings = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == "specdrive"
    assert (settings["bits"], settings["group_size"]) == (4, 32)


def test_hash_can_be_computed_by_others(tmp_path: Path) -> None:
    """From the file alone, in plain Python, as the documentation of the format says."""
    save_checkpoint(tmp_path / "out", quantized_model("qwen2", "zero_points"))
    content = (tmp_path / "out/model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    stated = metadata.pop("sha256")
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    names = {"F32": "float32", "F16": "float16", "U8": "uint8", "I8": "int8", "I32": "int32"}
    for name in sorted(header):
        entry = header[name]
        digest.update(f"\n{name} {names[entry['dtype']]} {entry['shape']}\n".encode())
        start, end = entry["data_offsets"]
        digest.update(content[8 + length + start : 8 + length + end])
    assert digest.hexdigest() == stated


def test_one_changed_bit_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "out", quantized_model("llama"))
    file = tmp_path / "out/model.safetensors"
    content = file.read_bytes()
    draw = random.Random(5)
    length = int.from_bytes(content[:8], "little")
    for _ in range(40):
        at = draw.randrange(8 + length, len(content))
        changed = bytearray(content)
        changed[at] ^= 1 << draw.randrange(8)
        file.write_bytes(bytes(changed))
        with pytest.raises(ServingError, match="does not match the hash") as error:
            load_checkpoint(tmp_path / "out")
        assert "\n" not in str(error.value)


def test_truncated_file_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "out", quantized_model("llama"))
    file = tmp_path / "out/model.safetensors"
    content = file.read_bytes()
    for size in (0, 3, 8, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(ServingError, match="damaged"):
            load_checkpoint(tmp_path / "out")


def test_changed_header_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "out", quantized_model("llama"))
    file = tmp_path / "out/model.safetensors"
    tensors = load_file(str(file))
    from safetensors import safe_open

    with safe_open(str(file), "pt") as stream:
        metadata = dict(stream.metadata())
    save_file(tensors, str(file), metadata={**metadata, "base": "another"})
    with pytest.raises(ServingError, match="does not match the hash"):
        load_checkpoint(tmp_path / "out")
    save_file(tensors, str(file), metadata={**metadata, "version": "2"})
    with pytest.raises(ServingError, match="version 2"):
        load_checkpoint(tmp_path / "out")


def test_changed_configuration_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "out", quantized_model("llama"))
    file = tmp_path / "out/config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "rms_norm_eps": 1e-4}))
    with pytest.raises(ServingError, match="not the one that the weights were written with"):
        load_checkpoint(tmp_path / "out")
    file.write_text("{")
    with pytest.raises(ServingError, match="damaged"):
        load_checkpoint(tmp_path / "out")


def test_only_whole_models_are_written(tmp_path: Path) -> None:
    def refuse(model: QuantizedModel, match: str) -> None:
        with pytest.raises(ServingError, match=match):
            save_checkpoint(tmp_path / "out", model)
        assert list(tmp_path.iterdir()) == []

    model = quantized_model("llama")
    name = "model.layers.0.mlp.up_proj"
    held = dict(model.tensors)
    del held[name]
    refuse(replace(model, tensors=held), "has no tensor model.layers.0.mlp.up_proj")
    refuse(replace(model, tensors={**model.tensors, "extra": torch.ones(1)}), "unknown tensor")
    wide = {**model.tensors, name: random_weight(96, 128, 32)}
    refuse(replace(model, tensors=wide), r"of shape \[96, 128\], not \[96, 64\]")
    norm = model.dense("model.norm.weight").clone()
    norm[3] = torch.nan
    refuse(replace(model, tensors={**model.tensors, "model.norm.weight": norm}), "not finite")
    weight = random_weight(96, 64, 32)
    weight.scales[5, 1] = torch.inf
    refuse(replace(model, tensors={**model.tensors, name: weight}), "not finite")


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.checkpoint.save_file", full)
    with pytest.raises(ServingError, match="No space left"):
        save_checkpoint(tmp_path / "out", quantized_model("llama"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    model = quantized_model("llama")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ServingError, match="not empty"):
            save_checkpoint(tmp_path / "out", model, overwrite=overwrite)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    save_checkpoint(tmp_path / "there", model)
    other = quantized_model("llama", "offsets")
    with pytest.raises(ServingError, match="not empty"):
        save_checkpoint(tmp_path / "there", other)
    save_checkpoint(tmp_path / "there", other, overwrite=True)
    assert load_checkpoint(tmp_path / "there").header == other.header
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "there"]


def test_other_folders_are_not_checkpoints(tmp_path: Path) -> None:
    assert not is_checkpoint(tmp_path)
    with pytest.raises(ServingError, match="no such file"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama"]))
    assert not is_checkpoint(tmp_path)
    with pytest.raises(ServingError, match="not a quantized checkpoint"):
        load_checkpoint(tmp_path)


def test_description_covers_layers_and_head() -> None:
    tensors = quantized_model("mistral", "zero_points", group=32, head_bits=4).tensors
    found = describe("gptq", tensors)
    assert (found.bits, found.group, found.symmetric, found.head_bits) == (4, 32, False, 4)
    dense = {name: t for name, t in tensors.items() if isinstance(t, torch.Tensor)}
    found = describe("none", dense)
    assert (found.bits, found.group, found.symmetric, found.head_bits) == (16, 0, True, 16)
