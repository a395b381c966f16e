"""Small models of every architecture with random weights, plain and quantized."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from hypothesis import strategies as st

from kernels.weights import AtomWeight, QuantizedWeight, pack_nibbles
from serving.architecture import EMBEDDING, HEAD, read_architecture
from serving.checkpoint import QuantizedModel, Weight, describe

Grid = Literal["symmetric", "zero_points", "offsets"]

VOCABULARY = 320

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": VOCABULARY,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**_SIZES, "model_type": "llama", "tie_word_embeddings": True},
    "llama3": {
        **_SIZES,
        "model_type": "llama",
        "rope_parameters": _LLAMA3,
        "max_position_embeddings": 16384,
    },
    "linear": {
        **_SIZES,
        "model_type": "llama",
        "rope_theta": 1000.0,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "mistral": {**_SIZES, "model_type": "mistral", "sliding_window": None},
    "qwen2": {**_SIZES, "model_type": "qwen2", "use_sliding_window": False},
    "qwen3": {**_SIZES, "model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True},
}


def random_weight(
    n: int,
    k: int,
    group: int,
    grid: Grid = "symmetric",
    bits: int = 4,
    seed: int = 0,
    size: float = 0.02,
) -> QuantizedWeight:
    """Any codes; scales so that weights are about ``size``."""
    draw = torch.Generator().manual_seed(seed)
    scales = size / 2 ** (bits - 1) * (0.5 + torch.rand(n, k // group, generator=draw))
    if bits == 8:
        codes = torch.randint(-127, 128, (n, k), generator=draw, dtype=torch.int8)
        return QuantizedWeight(codes, scales.half(), None, bits=8, group=group)
    codes = torch.randint(0, 16, (n, k), generator=draw, dtype=torch.uint8)
    zeros = None
    if grid == "zero_points":
        zeros = torch.randint(0, 16, scales.shape, generator=draw, dtype=torch.uint8)
    if grid == "offsets":
        zeros = (-scales * 15 * torch.rand(scales.shape, generator=draw)).half()
    return QuantizedWeight(pack_nibbles(codes), scales.half(), zeros, bits=4, group=group)


def random_atom(n: int, k: int, high: int, group: int, seed: int = 0) -> AtomWeight:
    """A mixed-precision weight whose last ``high`` reordered columns are 8-bit."""
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed)).to(torch.int32)
    return AtomWeight(
        low=random_weight(n, k - high, group, seed=seed),
        high=random_weight(n, high, group, bits=8, seed=seed + 1),
        order=order,
    )


@st.composite
def weights(draw: st.DrawFn, grids: tuple[Grid, ...], eights: int = 8) -> QuantizedWeight:
    """Random 4-bit weights; rows are a multiple of ``eights``."""
    group = draw(st.sampled_from((32, 64, 96)))
    return random_weight(
        eights * draw(st.integers(1, 4)),
        group * draw(st.integers(1, 3)),
        group,
        draw(st.sampled_from(grids)),
        seed=draw(st.integers(0, 2**31)),
    )


def quantized_model(
    kind: str,
    grid: Grid = "symmetric",
    group: int = 32,
    head_bits: int = 8,
    seed: int = 0,
) -> QuantizedModel:
    """A model with all layers on a grid, its embedding and head of ``head_bits`` (16: dense)."""
    config = CONFIGS[kind]
    architecture = read_architecture(config)
    tensors: dict[str, Weight] = {}
    for number, (layer, (n, k)) in enumerate(architecture.matrix_shapes().items()):
        if layer in (EMBEDDING, HEAD) and head_bits == 16:
            draw = torch.Generator().manual_seed(seed + number)
            tensors[f"{layer}.weight"] = torch.randn(n, k, generator=draw).mul(0.1).half()
        elif layer in (EMBEDDING, HEAD):
            tensors[layer] = random_weight(
                n, k, group, bits=head_bits, seed=seed + number, size=0.3
            )
        else:
            tensors[layer] = random_weight(n, k, group, grid, seed=seed + number, size=0.3)
    for number, (name, (width,)) in enumerate(architecture.vector_shapes().items()):
        draw = torch.Generator().manual_seed(seed + 1000 + number)
        centre = 0.0 if name.endswith("bias") else 1.0
        tensors[name] = centre + 0.1 * torch.randn(width, generator=draw)
    return QuantizedModel(dict(config), tensors, describe("rtn", tensors, base="made/tiny"))


def dense_weights(model: QuantizedModel) -> dict[str, torch.Tensor]:
    """A network's parameters, float32, as the quantized ones stand for."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in model.tensors.items():
        if isinstance(weight, torch.Tensor):
            found[name] = weight.float()
        else:
            assert isinstance(weight, QuantizedWeight)
            found[f"{name}.weight"] = weight.dequantize(torch.float32)
    if f"{HEAD}.weight" not in found:
        found[f"{HEAD}.weight"] = found[f"{EMBEDDING}.weight"]
    return found


def dense_network(model: QuantizedModel) -> Any:
    """transformers' own network with the weights that the quantized ones stand for, float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {key: value for key, value in model.config.items() if key != "model_type"}
    config: Any = AutoConfig.for_model(model.config["model_type"], **settings)
    network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.load_state_dict(dense_weights(model), strict=True)
    return network.eval()


def random_tokens(count: int, seed: int = 0) -> list[int]:
    """Token ids that are not special."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (count,), generator=draw).tolist()


def network_logits(network: Any, ids: list[int]) -> torch.Tensor:
    """Logits [tokens, vocabulary] of a transformers network that keeps keys and values as ours.

    They are rounded to bfloat16 on their way into the cache.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer

    from pipeline.reading import cache_argument

    class Rounding(DynamicLayer):
        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            return super().update(
                key_states.bfloat16().float(), value_states.bfloat16().float(), *args, **kwargs
            )

    cache: Any = DynamicCache()
    cache.layer_class_to_replicate = Rounding
    kind = type(network.get_base_model() if hasattr(network, "get_base_model") else network)
    with torch.inference_mode():
        output = network(input_ids=torch.tensor([ids]), **{cache_argument(kind): cache})
    return output.logits[0]


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative, by the Euclidean norm."""
    return float((found - wanted).norm() / wanted.norm())


def make_tokenizer(folder: Path, digits: bool = True) -> Path:
    """A byte-level tokenizer of `VOCABULARY` entries; ``folder`` is made."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    parts = [pre_tokenizers.Digits(individual_digits=True), level] if digits else [level]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts) if digits else level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "stop at the sign, yield to the car from the left, turn right at the traffic light. "
    tokenizer.train_from_iterator([text * 20], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
