"""Quantized models on disk.

A checkpoint is a folder: ``config.json`` (that of Hugging Face, with ``quantization_config``),
tokenizer files, and ``model.safetensors``. In it a quantized layer ``NAME`` (such as
``model.layers.0.mlp.up_proj``) is

=================  =========================  =====================================================
tensor             type and shape             meaning, for a matrix [N, K] in groups of g along K
=================  =========================  =====================================================
``NAME.codes``     uint8 [N, K/2]             4 bits: element 2j in the low nibble of byte j
``NAME.codes``     int8 [N, K]                8 bits: -127 to 127
``NAME.scales``    float16 [N, K/g]
``NAME.zeros``     absent                     w = scale * (code - 8); with 8 bits scale * code
``NAME.zeros``     uint8 [N, K/g]             w = scale * (code - zero)
``NAME.zeros``     float16 [N, K/g]           w = scale * code + zero
``NAME.low.*``     as 4 bits, symmetric       Atom: the first columns after reordering
``NAME.high.*``    as 8 bits                  Atom: the last ones
``NAME.order``     int32 [K]                  Atom: reordered column j was column ``order[j]``
=================  =========================  =====================================================

and everything else has its usual name (``model.norm.weight``). The metadata in the file's header,
all text: ``format`` (specdrive-quantized), ``version`` (1), ``method``, ``bits``, ``group``,
``symmetric``, ``head_bits``, ``base``, ``base_hash``, ``notes`` (JSON), ``config`` (SHA-256 of the
configuration) and ``sha256``, over all other metadata and every tensor's name, type, shape and
bytes (see `content_hash`), which loading verifies.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kernels.weights import AtomWeight, QuantizedWeight
from serving.architecture import EMBEDDING, HEAD, Architecture, read_architecture
from serving.errors import ServingError
from serving.folders import (
    CONFIG,
    WEIGHTS,
    copy_companions,
    damaged,
    new_folder,
    read_json,
    read_metadata,
    read_safetensors,
    write_json,
)

FORMAT = "specdrive-quantized"
"""``format`` in the header."""
VERSION = "1"
"""``version`` in the header."""
QUANT_METHOD = "specdrive"
"""``quant_method`` in config.json's ``quantization_config``."""

Weight = QuantizedWeight | AtomWeight | torch.Tensor
"""A matrix, quantized or not."""


@dataclass(frozen=True)
class Header:
    """How a model was quantized.

    Attributes:
        method: ``rtn``, ``awq``, ``gptq``, ``atom``, or the format it was imported from.
        bits: Of the layers' weights; 16 if they are not quantized.
        group: Columns that share a scale; 0 if layers differ or are not quantized.
        symmetric: Whether no layer has zero points or offsets.
        head_bits: Of the embedding and the head: 4, 8 or 16.
        base: What the model was before (``smollm2``, a Hugging Face id).
        base_hash: ``sha256:...`` of that model's files, empty if unknown.
        notes: Anything else worth keeping, by name.
    """

    method: str
    bits: int
    group: int
    symmetric: bool
    head_bits: int = 16
    base: str = ""
    base_hash: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QuantizedModel:
    """A model's weights in memory.

    Attributes:
        config: Content of config.json without ``quantization_config``.
        tensors: Quantized matrices under their layer's name (``model.layers.0.mlp.up_proj``), all
            other tensors under their own (``model.norm.weight``). A head that is the embedding is
            not in it.
        header: How it was quantized.
        folder: Where the tokenizer is, if anywhere.
    """

    config: dict[str, Any]
    tensors: dict[str, Weight]
    header: Header
    folder: Path | None = None

    @property
    def architecture(self) -> Architecture:
        """Sizes and features, from the configuration."""
        return read_architecture(self.config)

    def matrix(self, layer: str) -> Weight:
        """A layer's weight, quantized or dense; the head's may be the embedding's.

        Raises:
            KeyError: There is no such layer.
        """
        if layer in self.tensors:
            return self.tensors[layer]
        if f"{layer}.weight" in self.tensors:
            return self.tensors[f"{layer}.weight"]
        if layer == HEAD:
            return self.matrix(EMBEDDING)
        raise KeyError(layer)

    def dense(self, name: str) -> torch.Tensor:
        """A tensor that is not quantized.

        Raises:
            KeyError: There is none of this name.
        """
        tensor = self.tensors[name]
        if not isinstance(tensor, torch.Tensor):
            raise KeyError(name)
        return tensor


def describe(
    method: str, tensors: Mapping[str, Weight], base: str = "", base_hash: str = "", **notes: str
) -> Header:
    """The header that fits a model's tensors."""
    ends = (EMBEDDING, HEAD)
    found = [w for name, w in tensors.items() if name not in ends]
    flat = [w.low if isinstance(w, AtomWeight) else w for w in found]
    weights = [w for w in flat if isinstance(w, QuantizedWeight)]
    groups = {w.group for w in weights}
    heads = [w.bits for name in ends if isinstance(w := tensors.get(name), QuantizedWeight)]
    return Header(
        method=method,
        bits=max((w.bits for w in weights), default=16),
        group=groups.pop() if len(groups) == 1 else 0,
        symmetric=all(w.zeros is None for w in weights),
        head_bits=max(heads, default=16),
        base=base,
        base_hash=base_hash,
        notes=notes,
    )


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of this format (it may be damaged)."""
    try:
        settings = json.loads((folder / CONFIG).read_text("utf-8")).get("quantization_config")
        return isinstance(settings, dict) and settings.get("quant_method") == QUANT_METHOD
    except (OSError, ValueError, AttributeError):
        return False


def save_checkpoint(
    folder: Path, model: QuantizedModel, *, companions: Path | None = None, overwrite: bool = False
) -> None:
    """Write a checkpoint; the folder is there whole or not at all.

    Args:
        folder: Must not exist yet, be empty, or hold a model if ``overwrite``.
        model: What to write.
        companions: Folder to copy the tokenizer and the like from; ``model.folder`` if None.
        overwrite: Replace what is there.

    Raises:
        ServingError: The model is not whole (see `check_tensors`) or the place not writable.
    """
    check_tensors(model)
    flat = {name: tensor.contiguous() for name, tensor in flattened(model.tensors)}
    config = {key: v for key, v in model.config.items() if key != "quantization_config"}
    header = model.header
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "method": header.method,
        "bits": str(header.bits),
        "group": str(header.group),
        "symmetric": json.dumps(header.symmetric),
        "head_bits": str(header.head_bits),
        "base": header.base,
        "base_hash": header.base_hash,
        "notes": json.dumps(dict(header.notes), sort_keys=True),
        "config": _config_hash(config),
    }
    metadata["sha256"] = content_hash(flat, metadata)
    settings = {
        "quant_method": QUANT_METHOD,
        "version": int(VERSION),
        "method": header.method,
        "bits": header.bits,
        "group_size": header.group,
        "symmetric": header.symmetric,
        "head_bits": header.head_bits,
    }
    with new_folder(folder, overwrite) as beside:
        if (source := companions or model.folder) is not None:
            copy_companions(source, beside)
        write_json(beside / CONFIG, {**config, "quantization_config": settings})
        # Slices of bigger tensors share memory, which safetensors refuses.
        owned = {name: tensor.clone() for name, tensor in flat.items()}
        save_file(owned, str(beside / WEIGHTS), metadata=metadata)
        _order_metadata(beside / WEIGHTS)


def _order_metadata(file: Path) -> None:
    """Sort the header's metadata, which safetensors writes in random order; flush to disk."""
    with file.open("r+b") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            stream.seek(8)
            stream.write(text.ljust(length))
        stream.flush()
        os.fsync(stream.fileno())


def load_checkpoint(folder: Path) -> QuantizedModel:
    """Read a checkpoint and verify its hash.

    Raises:
        ServingError: Not a checkpoint, of another version, damaged or altered, or not whole.
    """
    file = folder / WEIGHTS
    config = read_json(folder / CONFIG)
    settings = config.pop("quantization_config", None)
    if not isinstance(settings, dict) or settings.get("quant_method") != QUANT_METHOD:
        raise ServingError(
            f"{folder} is not a quantized checkpoint", remedy="make one with specdrive quantize"
        )
    header = read_header(folder)
    flat, metadata = read_safetensors(file)
    if content_hash(flat, metadata) != metadata.get("sha256"):
        raise damaged(file, "its content does not match the hash in its header")
    if _config_hash(config) != metadata.get("config"):
        raise damaged(folder / CONFIG, "it is not the one that the weights were written with")
    try:
        tensors = gathered(flat)
    except (ValueError, TypeError) as error:
        raise damaged(file, str(error)) from None
    model = QuantizedModel(config, tensors, header, folder)
    check_tensors(model)
    return model


def read_header(folder: Path) -> Header:
    """How the checkpoint in a folder was quantized, without reading its weights.

    Raises:
        ServingError: Not a checkpoint, of another version, or damaged.
    """
    file = folder / WEIGHTS
    metadata = read_metadata(file)
    if metadata.get("format") != FORMAT:
        raise ServingError(
            f"{file} is not a quantized checkpoint", remedy="make one with specdrive quantize"
        )
    if metadata.get("version") != VERSION:
        raise ServingError(
            f"{file} is of version {metadata.get('version')}, not {VERSION}",
            remedy="quantize the model again",
        )
    try:
        notes = json.loads(metadata["notes"])
        return Header(
            method=metadata["method"],
            bits=int(metadata["bits"]),
            group=int(metadata["group"]),
            symmetric=bool(json.loads(metadata["symmetric"])),
            head_bits=int(metadata["head_bits"]),
            base=metadata["base"],
            base_hash=metadata["base_hash"],
            notes={str(key): str(value) for key, value in notes.items()},
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise damaged(file, f"its header is not understood: {error}") from None


def content_hash(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 (hex) of metadata but ``sha256``, then of all tensors in the order of their names.

    Of each: a line ``NAME TYPE SHAPE`` (``model.norm.weight bfloat16 [576]``), then its bytes.
    """
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"\n{name} {kind} {list(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(model: QuantizedModel) -> None:
    """Compare all tensors with what the configuration asks for.

    Raises:
        ServingError: Something is missing, left over, of a wrong shape or not finite.
    """
    architecture = model.architecture
    wanted: dict[str, tuple[int, ...]] = dict(architecture.vector_shapes())
    for layer, shape in architecture.matrix_shapes().items():
        wanted[layer if layer in model.tensors else f"{layer}.weight"] = shape
    left = model.tensors.keys() - wanted.keys() - {HEAD, f"{HEAD}.weight"}
    for problem, names in (
        ("has no tensor", wanted.keys() - model.tensors.keys()),
        ("has an unknown tensor", left),
    ):
        if names:
            raise _unfit(f"{problem} {min(names)}")
    for name, weight in model.tensors.items():
        shape = tuple(weight.shape)
        if shape != wanted.get(name, (architecture.vocab, architecture.hidden)):
            raise _unfit(f"has {name} of shape {list(shape)}, not {list(wanted[name])}")
        for part in _float_parts(weight):
            if not bool(torch.isfinite(part).all()):
                raise _unfit(f"has numbers that are not finite in {name}")


def _unfit(why: str) -> ServingError:
    return ServingError(f"the model {why}", remedy="get the weights again")


def _float_parts(weight: Weight) -> Iterator[torch.Tensor]:
    if isinstance(weight, AtomWeight):
        yield from _float_parts(weight.low)
        yield from _float_parts(weight.high)
    elif isinstance(weight, QuantizedWeight):
        yield weight.scales
        if weight.zeros is not None and weight.zeros.is_floating_point():
            yield weight.zeros
    else:
        yield weight


def flattened(tensors: Mapping[str, Weight]) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices and other tensors as the file has them: the parts of quantized ones apart."""
    for name, weight in tensors.items():
        if isinstance(weight, AtomWeight):
            yield from flattened({f"{name}.low": weight.low, f"{name}.high": weight.high})
            yield f"{name}.order", weight.order
        elif isinstance(weight, QuantizedWeight):
            yield f"{name}.codes", weight.codes
            yield f"{name}.scales", weight.scales
            if weight.zeros is not None:
                yield f"{name}.zeros", weight.zeros
        else:
            yield name, weight


def gathered(flat: Mapping[str, torch.Tensor]) -> dict[str, Weight]:
    """The inverse of `flattened`."""
    tensors: dict[str, Weight] = {}
    for name, tensor in flat.items():
        base, _, end = name.rpartition(".")
        if end == "codes":
            tensors[base] = _quantized(flat, base)
        elif end not in ("scales", "zeros", "order"):
            tensors[name] = tensor
    for name, order in flat.items():
        if name.endswith(".order"):
            base = name.removesuffix(".order")
            low, high = tensors.pop(f"{base}.low", None), tensors.pop(f"{base}.high", None)
            if not isinstance(low, QuantizedWeight) or not isinstance(high, QuantizedWeight):
                raise ValueError(f"{base} lacks a part")
            tensors[base] = AtomWeight(low=low, high=high, order=order)
    return tensors


def _quantized(flat: Mapping[str, torch.Tensor], base: str) -> QuantizedWeight:
    codes, scales = flat[f"{base}.codes"], flat.get(f"{base}.scales")
    if scales is None or codes.dim() != 2 or scales.dim() != 2:
        raise ValueError(f"{base} lacks its scales")
    bits = 4 if codes.dtype == torch.uint8 else 8
    columns = codes.shape[1] * (2 if bits == 4 else 1)
    if scales.shape[1] == 0 or columns % scales.shape[1]:
        raise ValueError(f"{base} has {scales.shape[1]} scales for {columns} columns")
    return QuantizedWeight(
        codes=codes,
        scales=scales,
        zeros=flat.get(f"{base}.zeros"),
        bits=bits,
        group=columns // scales.shape[1],
    )


def _config_hash(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
