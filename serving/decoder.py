"""A model folder made ready to decode on the CPU kernels, quantized or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

KVKind = Literal["bf16", "int8", "int4"]
"""How keys and values are kept."""


@dataclass(frozen=True)
class ServedDecoder:
    """A decoder with all that a session needs to know about its model.

    Attributes:
        folder: Where the model is; its tokenizer too.
        vocab: Width of the logits.
        max_positions: Longest sequence the model was made for, in tokens.
        stop_ids: Token ids that end an answer.
        activation_bits: 16 (weight-only) or 8 (activations quantized on the fly).
        kv: How keys and values are kept.
    """

    folder: Path
    vocab: int
    max_positions: int
    stop_ids: frozenset[int]
    activation_bits: Literal[16, 8]
    kv: KVKind

    @property
    def tokenizer(self) -> Any:
        """The model's fast tokenizer (transformers), loaded when first asked for."""
        raise NotImplementedError

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Adapters that rows of a session can use."""
        raise NotImplementedError

    def load_adapter(self, name: str, folder: Path) -> None:
        """Read a LoRA adapter (peft folder) into the pool's pages under a name.

        Raises:
            ServingError: The name is taken, or the adapter does not fit this base.
        """
        raise NotImplementedError

    def unload_adapter(self, name: str) -> None:
        """Free an adapter's pages.

        Raises:
            ServingError: There is no adapter of this name.
        """
        raise NotImplementedError


def load_decoder(
    folder: str | Path,
    *,
    activation_bits: Literal[16, 8] = 16,
    kv: KVKind = "bf16",
    adapters: dict[str, Path] | None = None,
) -> ServedDecoder:
    """Make the model in a folder ready: a quantized checkpoint or a plain Hugging Face folder.

    Llama, Mistral, Qwen2 and Qwen3 are understood. Weights of a plain folder are kept in bfloat16.

    Args:
        folder: Checkpoint of `serving.checkpoint`, or config.json and safetensors.
        activation_bits: 8 quantizes activations on the fly, which is faster for many rows.
        kv: How keys and values are kept.
        adapters: LoRA adapters to load, by name.

    Raises:
        ServingError: No model there, an architecture or a feature of it that is not supported,
            damaged files, or an adapter that does not fit.
    """
    raise NotImplementedError
