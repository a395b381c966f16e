"""``specdrive quantize`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.commands.quantize import METHODS
from pipeline.models import load_model

FEW = ("--calibration-rows", "4", "--calibration-tokens", "40")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path / "cache"))


def test_methods_are_those_of_serving() -> None:
    from serving import quantization

    assert set(METHODS) == set(quantization.METHODS)


@pytest.mark.parametrize("method", ["rtn", "awq"])
def test_a_model_becomes_a_checkpoint_that_answers(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    out = tmp_path / "small"
    command = ["quantize", str(tiny.folder), "--method", method, "--group", "16"]
    assert run([*command, *FEW, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""  # no bars off a terminal
    # Lines break where the width of the terminal and of the path want them to.
    assert "bits per weight" in " ".join(shown.out.split())
    assert str(out.name) in shown.out
    model = load_model(out, engine="native")
    assert model.quantized
    assert model.reader.vocabulary == 300
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "small"}


def test_json_and_settings(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["quantize", str(tiny.folder), "--method", "rtn", "--group", "32", "--symmetric"]
    more = ["--head-bits", "16", "--bits", "8", "--out", str(tmp_path / "out"), "--json"]
    assert run([*command, *more]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["folder"] == str(tmp_path / "out")
    assert report["settings"]["symmetric"] is True
    assert report["settings"]["head_bits"] == 16
    assert report["settings"]["base"] == tiny.folder.name
    assert report["layer_bits_per_weight"] == 8.5
    assert [layer["name"] for layer in report["layers"]] == ["model.layers.0", "model.layers.1"]


def test_an_adapter_is_merged_first(tiny: Any, tiny_adapter: Path, tmp_path: Path) -> None:
    command = ["quantize", str(tiny.folder), "--method", "gptq", "--group", "16", *FEW]
    merged = ["--adapter", str(tiny_adapter)]
    for name, more in (("plain", []), ("one", merged), ("two", merged)):
        assert run([*command, *more, "--out", str(tmp_path / name)]) == 0
    plain, one, two = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "one", "two")
    )
    assert one == two
    assert one != plain
    assert not list(tmp_path.glob(".*"))  # nothing of the merged weights is left


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["quantize", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def test_bad_input_is_one_line(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(tiny.folder), str(tmp_path / "out")
    line = _refused(capsys, folder, "--method", "rtn", "--group", "48", "--out", out)
    assert "groups of 48 do not divide the 32 columns of model.layers.0.self_attn.q_proj" in line
    assert "--group 16 or 32" in line
    assert not Path(out).exists()
    assert "no model" in _refused(capsys, str(tmp_path / "none"), "--out", out)
    assert "multiple of 8" in _refused(capsys, folder, "--group", "12", "--out", out)
    assert "atom has 4 bits" in _refused(capsys, folder, "-m", "atom", "--bits", "8", "-o", out)
    Path(out).mkdir()
    (Path(out) / "mine").write_text("x")
    line = _refused(capsys, folder, "--method", "rtn", "--group", "16", "--out", out)
    assert "is not empty" in line


def test_a_quantized_model_is_refused(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--method", "rtn", "--group", "16"]
    assert run(["quantize", str(tiny.folder), *command, "--out", str(tmp_path / "one")]) == 0
    capsys.readouterr()
    line = _refused(capsys, str(tmp_path / "one"), *command, "--out", str(tmp_path / "two"))
    assert "quantized already" in line
