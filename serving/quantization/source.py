"""The model that is quantized: its tensors, in float32, checked as they are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from serving.architecture import (
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    Architecture,
    read_architecture,
)
from serving.errors import ServingError
from serving.folders import CONFIG, read_json, read_tensors
from serving.quantization.layer import DecoderLayer


@dataclass(frozen=True)
class DenseModel:
    """A model that is not quantized.

    Attributes:
        folder: Where it is.
        config: Content of its config.json.
        architecture: What that says.
        tensors: Weights in their own format, by name.
    """

    folder: Path
    config: Mapping[str, Any]
    architecture: Architecture
    tensors: Mapping[str, torch.Tensor]

    def tensor(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """One tensor in float32.

        Raises:
            ServingError: It is missing, has another shape, or numbers that are not finite.
        """
        if name not in self.tensors:
            raise ServingError(f"the model has no tensor {name}", remedy="get the weights again")
        tensor = self.tensors[name]
        if tuple(tensor.shape) != shape:
            raise ServingError(
                f"{name} has shape {list(tensor.shape)}, not {list(shape)}",
                remedy="get the weights again",
            )
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            raise ServingError(f"weights of {name} are not finite", remedy="get the weights again")
        return tensor

    def layer(self, number: int) -> DecoderLayer:
        """A decoder layer in float32; see `tensor` for errors."""
        place = f"model.layers.{number}."
        shapes: dict[str, tuple[int, ...]] = {
            f"{name}.weight": shape for name, shape in self.architecture.linear_shapes().items()
        }
        shapes |= self.architecture.vector_shapes()
        return DecoderLayer(
            self.architecture,
            {
                name.removeprefix(place): self.tensor(name, shape)
                for name, shape in shapes.items()
                if name.startswith(place)
            },
        )

    @property
    def embedding(self) -> torch.Tensor:
        """float32 [vocab, hidden]; see `tensor` for errors."""
        return self._end(EMBEDDING)

    @property
    def head(self) -> torch.Tensor:
        """float32 [vocab, hidden]: the embedding, if that is the head; see `tensor` for errors."""
        return self._end(EMBEDDING if self.architecture.tied else HEAD)

    @property
    def final_norm(self) -> torch.Tensor:
        """float32 [hidden]; see `tensor` for errors."""
        return self.tensor(f"{FINAL_NORM}.weight", (self.architecture.hidden,))

    def _end(self, name: str) -> torch.Tensor:
        sizes = self.architecture
        return self.tensor(f"{name}.weight", (sizes.vocab, sizes.hidden))


def open_dense(folder: Path) -> DenseModel:
    """The model in a Hugging Face folder.

    Raises:
        ServingError: An unsupported architecture, files that are missing or damaged, or a model
            that is quantized already.
    """
    config = read_json(folder / CONFIG)
    if config.get("quantization_config"):
        raise ServingError(
            "the model is quantized already", file=folder, remedy="name the original one"
        )
    return DenseModel(folder, config, read_architecture(config), read_tensors(folder))


def content_hash(model: DenseModel) -> str:
    """``sha256:...`` over the configuration and weights in a model's folder."""
    digest = hashlib.sha256()
    for path in sorted([model.folder / CONFIG, *model.folder.glob("*.safetensors")]):
        with path.open("rb") as stream:
            digest.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
