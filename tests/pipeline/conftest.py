"""Models for the tests of this folder: the real one, and a tiny one with random weights."""

from pathlib import Path

import pytest
from small_run import make_small_model, small_config

from pipeline.models import LanguageModel, load_model, use_threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Where other work keeps the cores busy, two threads wait for each other most of the time."""
    use_threads(1)


@pytest.fixture(scope="session")
def smollm2() -> LanguageModel:
    """The embedded default on the CPU; tests that use it are marked ``model``."""
    return load_model(device="cpu")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> LanguageModel:
    """Two layers of random weights over 300 byte-level tokens, saved and loaded as any other."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<end>"]
    vocabulary = {token: i for i, token in enumerate(special + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=300,  # more than the tokenizer has, as in models that round up
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return load_model(folder, device="cpu")


@pytest.fixture(scope="session")
def tiny_adapter(tiny, tmp_path_factory) -> Path:
    """A LoRA adapter for `tiny` that changes what it says: random weights on both sides."""
    return save_adapter(tiny, tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """Folder of a model of random weights that knows the words of the shipped tasks."""
    return make_small_model(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="session")
def small_run(small_model, tmp_path_factory) -> Path:
    """A finished run of the real stages on `small_model`; copy it to change it."""
    from pipeline.runs.launch import carry_out

    folder = tmp_path_factory.mktemp("runs") / "small"
    carry_out(small_config(small_model), folder)
    return folder


def save_adapter(model: LanguageModel, folder: Path) -> Path:
    """A random adapter for a model, saved as peft saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_pretrained(str(model.folder))
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(network, config).save_pretrained(str(folder))
    return folder
