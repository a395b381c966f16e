"""Adapters: merged exactly, and refused before anything is sampled if they do not fit."""

import json
import shutil

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipeline.adapters import adapter_hash, check_adapter, tensor_shapes
from pipeline.models import load_model
from verifier.errors import InputError

torch = pytest.importorskip("torch")


def test_a_merged_adapter_says_what_the_adapter_says(tiny, tiny_adapter):
    base = AutoModelForCausalLM.from_pretrained(str(tiny.folder)).eval()
    beside = PeftModel.from_pretrained(base, str(tiny_adapter)).eval()
    merged = load_model(tiny.folder, device="cpu", adapter=tiny_adapter)
    ids = torch.tensor([[5, 90, 33, 7]])
    with torch.inference_mode():
        said, expected = merged.model(ids).logits, beside(ids).logits
        unchanged = tiny.model(ids).logits
    torch.testing.assert_close(said, expected)
    assert (said - unchanged).abs().max() > 1e-3


def test_hash_follows_from_the_files(tiny_adapter, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_adapter, copy)
    assert adapter_hash(copy) == adapter_hash(tiny_adapter)
    (copy / "adapter_config.json").write_text("{}")
    assert adapter_hash(copy) != adapter_hash(tiny_adapter)


def test_shapes_come_from_the_header(tiny, tiny_adapter):
    shapes = tensor_shapes(tiny_adapter / "adapter_model.safetensors")
    assert shapes["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"] == (4, 64)
    assert shapes["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"] == (32, 4)
    assert tensor_shapes(tiny.folder / "model.safetensors")["model.norm.weight"] == (32,)


@pytest.fixture
def copies(tiny, tiny_adapter, tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(tiny.folder, base)
    shutil.copytree(tiny_adapter, adapter)
    return base, adapter


def test_an_adapter_of_another_base(copies):
    from transformers import LlamaConfig, LlamaForCausalLM

    base, adapter = copies
    config = LlamaConfig.from_pretrained(base)
    for change, message in (
        ({"num_hidden_layers": 1}, r"which has no layer model\.layers\.1\.\S+; name"),
        (
            {"hidden_size": 48, "head_dim": 8},
            r"whose layer \S+ is of shape \[48, 64\]: width 32 does",
        ),
    ):
        other = LlamaConfig(**{**config.to_dict(), **change})
        LlamaForCausalLM(other).save_pretrained(base)
        with pytest.raises(InputError, match=f"adapter: does not fit the base, {message}"):
            load_model(base, device="cpu", adapter=adapter)


def test_leading_names_may_be_missing_from_the_base(copies):
    from safetensors.torch import load_file, save_file

    base, adapter = copies
    weights = load_file(base / "model.safetensors")
    save_file({k.removeprefix("model."): v for k, v in weights.items()}, base / "model.safetensors")
    check_adapter(adapter, base)


def test_bases_in_other_formats_are_not_compared(copies):
    base, adapter = copies
    (base / "model.safetensors").unlink()
    check_adapter(adapter, base)


def test_what_is_no_adapter(copies):
    base, adapter = copies
    with pytest.raises(InputError, match=r"base: not a LoRA adapter; .*adapter_config\.json"):
        load_model(base, device="cpu", adapter=base)
    with pytest.raises(InputError, match=r"nowhere: not a LoRA adapter"):
        load_model(base, device="cpu", adapter=adapter / "nowhere")
    weights = adapter / "adapter_model.safetensors"
    content = weights.read_bytes()
    for damage in (b"", content[:100], b"\xff" * 50, b"\x02" + b"\0" * 7 + b"[]"):
        weights.write_bytes(damage)
        with pytest.raises(InputError, match=r"adapter_model\.safetensors: is damaged: .*; get it"):
            check_adapter(adapter, base)
    weights.unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: no such file"):
        check_adapter(adapter, base)
    config = adapter / "adapter_config.json"
    settings = json.loads(config.read_text())
    for text, message in (
        (json.dumps(settings | {"peft_type": "IA3"}), "of the kind 'IA3'; only LORA"),
        ("[]", "must be a JSON object"),
        ("{", "cannot be read"),
    ):
        config.write_text(text)
        with pytest.raises(InputError, match=message):
            check_adapter(adapter, base)
