"""Random Llama-type networks of transformers, written as folders, and calibration rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 96
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = ("llama", "tied_llama", "mistral", "qwen2", "qwen3")


def make_network(kind: str, seed: int = 0, **changes: Any) -> Any:
    """A float32 network in evaluation mode whose weights, norms and biases are all random.

    Some input channels are much larger than others, as in real models.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = SIZES | changes
    if kind == "mistral":
        sizes["sliding_window"] = None
    if kind == "qwen3":
        sizes["head_dim"] = 32
    config = AutoConfig.for_model(
        kind.removeprefix("tied_"), **sizes, tie_word_embeddings=kind == "tied_llama"
    )
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            noise = torch.randn(parameter.shape, generator=draw)
            if name.endswith("norm.weight"):
                parameter.copy_((0.5 * noise).exp())
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise / parameter.shape[-1] ** 0.5)
    return network


def save_network(folder: Path, kind: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """The network in a folder."""
    make_network(kind, seed, **changes).save_pretrained(str(folder))
    return folder


def token_rows(count: int = 6, longest: int = 24, seed: int = 0) -> list[list[int]]:
    """Rows of different lengths."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        length = longest - number % 3
        rows.append(torch.randint(3, VOCABULARY, (length,), generator=draw).tolist())
    return rows


def correlated_inputs(tokens: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Inputs [tokens, columns] of a few common causes, with some large channels."""
    draw = torch.Generator().manual_seed(seed)
    causes = torch.randn(tokens, max(2, columns // 8), generator=draw)
    mixed = causes @ torch.randn(causes.shape[1], columns, generator=draw)
    sizes = torch.exp(0.8 * torch.randn(columns, generator=draw))
    return (mixed + 0.3 * torch.randn(tokens, columns, generator=draw)) * sizes
