"""What the engines load: one model in llama.cpp's format and in ours, adapters in both formats."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file

from kernels.weights import AtomWeight, QuantizedWeight
from serving.adapters import ATTENTION
from serving.architecture import EMBEDDING, HEAD, Architecture
from serving.checkpoint import QuantizedModel, Weight, describe, save_checkpoint
from serving.exchange import opened
from serving.folders import GGUF_METADATA
from serving.formats.gguf import their_name, write_gguf
from serving.quantization.grid import Grid, quantize_to_grid

RANK, ALPHA = 16, 32
GROUP = 64
_SIZE = 0.02
"""Standard deviation of B: an adapter then changes outputs by about a sixth."""


@dataclass(frozen=True)
class Files:
    """What the engines load.

    Attributes:
        q4_0: The model with 4-bit layers in blocks of 32, a scale each (GGUF).
        q4_1: The bundled file: blocks of 32 with a scale and an offset (GGUF).
        checkpoint: The model in groups of 64 with zero points (a folder of ours).
        adapters: Folders in peft's format.
        their_adapters: The same adapters as GGUF files.
        bytes: Of the matrices that a token needs, by file: layers and head.
    """

    q4_0: Path
    q4_1: Path
    checkpoint: Path
    adapters: tuple[Path, ...]
    their_adapters: tuple[Path, ...]
    bytes: dict[str, int]


def write_files(source: Path, folder: Path, adapters: int, layers: int | None = None) -> Files:
    """Write all of it.

    Args:
        source: The bundled model, a GGUF file.
        folder: Where to.
        adapters: How many.
        layers: Only so many of the model's layers, for tests.
    """
    with opened(source) as model:
        if layers is not None:
            model = _first_layers(model, layers)
        q4_1 = source if layers is None else folder / "q4_1.gguf"
        if q4_1 != source:
            write_gguf(model, q4_1)
        in_blocks = _rounded(model, Grid(4, 32, symmetric=True))
        in_groups = _rounded(model, Grid(4, GROUP, symmetric=False), Grid(8, GROUP))
        write_gguf(in_blocks, folder / "q4_0.gguf")
        save_checkpoint(folder / "checkpoint", in_groups)
        made = [_write_adapter(folder, number, model.architecture) for number in range(adapters)]
    sizes = {"q4_0": in_blocks, "q4_1": model, "checkpoint": in_groups}
    plain = 2 * sum(math.prod(shape) for shape in model.architecture.matrix_shapes().values())
    return Files(
        folder / "q4_0.gguf",
        q4_1,
        folder / "checkpoint",
        tuple(ours for ours, _ in made),
        tuple(theirs for _, theirs in made),
        {**{name: _bytes(one) for name, one in sizes.items()}, "bf16": plain},
    )


def dense_weights(model: QuantizedModel) -> dict[str, torch.Tensor]:
    """All tensors as bfloat16, under Hugging Face's names."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in model.tensors.items():
        dense = weight if isinstance(weight, torch.Tensor) else weight.dequantize()
        full = name if isinstance(weight, torch.Tensor) else f"{name}.weight"
        found[full] = dense.to(torch.bfloat16)
    return found


def _first_layers(model: QuantizedModel, layers: int) -> QuantizedModel:
    def kept(name: str) -> bool:
        parts = name.split(".")
        return parts[1] != "layers" or int(parts[2]) < layers

    if model.folder is not None:
        (model.folder / GGUF_METADATA).unlink(missing_ok=True)  # it counts the layers
    tensors = {name: weight for name, weight in model.tensors.items() if kept(name)}
    return replace(model, config={**model.config, "num_hidden_layers": layers}, tensors=tensors)


def _rounded(model: QuantizedModel, grid: Grid, head: Grid | None = None) -> QuantizedModel:
    """The layers' matrices to nearest on a grid; embedding and head too if ``head`` is given."""

    def one(name: str, weight: Weight) -> Weight:
        if not isinstance(weight, QuantizedWeight):
            return weight
        wanted = head if name in (EMBEDDING, HEAD) else grid
        return weight if wanted is None else quantize_to_grid(weight.dequantize(), wanted)

    tensors = {name: one(name, weight) for name, weight in model.tensors.items()}
    return replace(model, tensors=tensors, header=describe("rtn", tensors, base=model.header.base))


def _bytes(model: QuantizedModel) -> int:
    """Of all matrices that a token needs; an embedding that is not the head gives it one row."""
    total = 0.0
    for layer in (*model.architecture.linear_shapes(), HEAD):
        weight = model.matrix(layer)
        if isinstance(weight, QuantizedWeight | AtomWeight):
            rows, columns = weight.shape
            total += rows * columns * weight.bits_per_weight / 8
        else:
            total += weight.numel() * weight.element_size()
    return round(total)


def _write_adapter(folder: Path, number: int, architecture: Architecture) -> tuple[Path, Path]:
    """A random adapter of all seven linear maps of every layer, in float16, in both formats."""
    layers = dict(_random_layers(number, architecture))
    ours = folder / f"adapter-{number:02d}"
    ours.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    (ours / "adapter_config.json").write_text(json.dumps(config))
    tensors = {
        f"base_model.model.{layer}.lora_{side}.weight": part
        for layer, pair in layers.items()
        for side, part in zip("AB", pair, strict=True)
    }
    save_file(tensors, ours / "adapter_model.safetensors", metadata={"format": "pt"})
    theirs = folder / f"adapter-{number:02d}.gguf"
    writer = gguf.GGUFWriter(str(theirs), "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(ALPHA))
    for layer, (a, b) in layers.items():
        name = their_name(f"{layer}.weight")
        writer.add_tensor(f"{name}.lora_a", a.numpy())
        writer.add_tensor(f"{name}.lora_b", _their_rows(layer, b, architecture).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return ours, theirs


def _random_layers(
    number: int, architecture: Architecture
) -> Iterator[tuple[str, tuple[torch.Tensor, torch.Tensor]]]:
    draw = torch.Generator().manual_seed(number)
    for layer, (out, width) in architecture.linear_shapes().items():
        a = torch.randn(RANK, width, generator=draw) / width**0.5
        b = torch.randn(out, RANK, generator=draw) * _SIZE
        yield layer, (a.half(), b.half())


def _their_rows(layer: str, b: torch.Tensor, architecture: Architecture) -> torch.Tensor:
    """Rows of queries and keys as llama.cpp has them: the halves of each head in turns."""
    target = layer.rpartition(".")[2]
    if target not in _turned():
        return b
    heads = architecture.heads if target == "q_proj" else architecture.kv_heads
    rank = b.shape[1]
    return b.reshape(heads, 2, -1, rank).transpose(1, 2).reshape(-1, rank).contiguous()


def _turned() -> Sequence[str]:
    return ATTENTION[:2]
