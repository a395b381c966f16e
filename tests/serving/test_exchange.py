"""Any layout in, any layout out, and the command that does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from made_models import CONFIGS, dense_weights, make_tokenizer, quantized_model, random_atom
from safetensors.torch import save_file

from pipeline.cli import run
from pipeline.commands.convert import command
from serving.checkpoint import load_checkpoint, save_checkpoint
from serving.errors import ServingError
from serving.exchange import LAYOUTS, convert, opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    model = quantized_model("llama", "symmetric", head_bits=16)
    for name, tensor in model.tensors.items():
        if isinstance(tensor, torch.Tensor):
            # What every layout holds exactly.
            model.tensors[name] = tensor.bfloat16().half() if tensor.dim() == 1 else tensor
    save_checkpoint(tmp_path / "source", model, companions=make_tokenizer(tmp_path / "t"))
    return tmp_path / "source"


def test_a_journey_through_all_layouts_changes_nothing(tmp_path: Path, source: Path) -> None:
    wanted = dense_weights(load_checkpoint(source))
    here = source
    for number, layout in enumerate([*LAYOUTS, *reversed(LAYOUTS)]):
        there = tmp_path / f"{number}"
        convert(here, layout, there)
        with opened(there) as model:
            found = dense_weights(model)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), layout
        here = there


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tokenizer_comes_along(tmp_path: Path, source: Path, layout: str) -> None:
    from transformers import AutoTokenizer

    convert(source, layout, tmp_path / "out")  # type: ignore[arg-type]
    with opened(tmp_path / "out") as model:
        assert model.folder is not None
        tokenizer = AutoTokenizer.from_pretrained(str(model.folder))
        wanted = AutoTokenizer.from_pretrained(str(source))
        text = "turn right at the traffic light"
        assert tokenizer(text).input_ids == wanted(text).input_ids


def test_plain_weights_are_taken_in_half_precision(tmp_path: Path) -> None:
    weights = dense_weights(quantized_model("qwen2"))
    save_file(weights, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["qwen2"]))
    with opened(tmp_path, base="made/tiny") as model:
        assert (model.header.method, model.header.base) == ("none", "made/tiny")
        assert model.dense("model.layers.0.mlp.up_proj.weight").dtype == torch.bfloat16
        assert model.dense("model.norm.weight").dtype == torch.float32


def test_what_cannot_be_converted_leaves_nothing(tmp_path: Path) -> None:
    model = quantized_model("llama")
    model.tensors["model.layers.0.mlp.up_proj"] = random_atom(96, 64, 32, 32)
    save_checkpoint(tmp_path / "atom", model, companions=make_tokenizer(tmp_path / "t"))
    for layout in LAYOUTS[1:]:
        with pytest.raises(ServingError, match="Atom"):
            convert(tmp_path / "atom", layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ServingError, match="no model"):
        convert(tmp_path / "nowhere", "specdrive", tmp_path / "out")


def test_the_command(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    arguments = [str(source), "--to", "autoawq", "--out", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert result.output == (
        f"{out}: method rtn, bits 4, group 32, grid symmetric, head bits 16, base made/tiny\n"
    )
    result = CliRunner().invoke(command, [*arguments, "--overwrite", "--json"])
    assert json.loads(result.output) == {
        "out": str(out),
        "layout": "autoawq",
        "method": "rtn",
        "bits": 4,
        "group": 32,
        "grid": "symmetric",
        "head_bits": 16,
        "base": "made/tiny",
    }


def test_the_command_complains_in_one_line(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert run(["convert", str(source), "--to", "gguf", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"specdrive: {file} is damaged")
    assert not (tmp_path / "out").exists()
    assert run(["convert", str(tmp_path / "none"), "--to", "gguf", "--out", str(tmp_path)]) == 2
    assert "no model" in capsys.readouterr().err
