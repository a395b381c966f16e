"""Any model folder or file in, any layout out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from serving.architecture import HEAD, read_architecture
from serving.checkpoint import (
    QuantizedModel,
    Weight,
    check_tensors,
    describe,
    is_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from serving.errors import ServingError
from serving.folders import read_json, read_tensors
from serving.formats.shared import take_dense

Layout = Literal["specdrive", "autoawq", "compressed-tensors", "gguf"]
"""What a model can be written as."""

LAYOUTS: tuple[Layout, ...] = ("specdrive", "autoawq", "compressed-tensors", "gguf")


@contextmanager
def opened(source: Path, *, base: str = "") -> Iterator[QuantizedModel]:
    """A model from a checkpoint of ours, AutoAWQ's or compressed-tensors', a GGUF file or a folder
    of plain weights; recognised by its content.

    Its ``folder`` holds a tokenizer as long as the context lasts.

    Args:
        source: Folder or file.
        base: What to call the model that it comes from, if the source does not say.

    Raises:
        ServingError: Nothing of these kinds, damaged, or of an unsupported architecture.
    """
    file = _gguf_file(source)
    if file is None:
        yield _named(_read_folder(source), base)
        return
    # Only these need the gguf package.
    from serving.formats.gguf import open_gguf, read_gguf, write_companions

    reader = open_gguf(file)
    model = read_gguf(file, base=base, reader=reader)
    check_tensors(model)
    with tempfile.TemporaryDirectory() as beside:
        write_companions(file, Path(beside), reader)
        yield replace(model, folder=Path(beside))


def convert(
    source: Path, to: Layout, out: Path, *, base: str = "", overwrite: bool = False
) -> QuantizedModel:
    """Write a model in another layout.

    Args:
        source: As `opened`.
        to: The layout.
        out: Folder to write; for ``gguf`` a file if its name ends so, else ``model.gguf`` in it.
        base: As `opened`.
        overwrite: Replace a model that is there.

    Returns:
        What was written; its ``folder`` is no longer there if it came from a GGUF file.

    Raises:
        ServingError: The source cannot be read or the layout cannot hold it; nothing is written.
    """
    with opened(source, base=base) as model:
        write_model(model, to, out, overwrite=overwrite)
    return model


def write_model(model: QuantizedModel, to: Layout, out: Path, *, overwrite: bool = False) -> None:
    """Write a model, tokenizer included, in a layout; see `convert`."""
    if to == "specdrive":
        save_checkpoint(out, model, overwrite=overwrite)
    elif to == "autoawq":
        from serving.formats.autoawq import write_autoawq

        write_autoawq(model, out, overwrite=overwrite)
    elif to == "compressed-tensors":
        from serving.formats.compressed_tensors import write_compressed_tensors

        write_compressed_tensors(model, out, overwrite=overwrite)
    elif to == "gguf":
        from serving.formats.gguf import write_gguf

        file = out if out.suffix == ".gguf" else out / "model.gguf"
        write_gguf(model, file, overwrite=overwrite)
    else:
        raise ServingError(f"no layout {to!r}", remedy=f"use {', '.join(LAYOUTS)}")


def read_plain(folder: Path) -> QuantizedModel:
    """A folder of plain weights (config.json and safetensors); matrices in bfloat16 or float16 stay
    so, wider ones become bfloat16.

    Raises:
        ServingError: Not such a folder, quantized in a way that is not understood, or incomplete.
    """
    config = read_json(folder / "config.json")
    settings: Any = config.pop("quantization_config", None)
    if settings is not None:
        method = settings.get("quant_method") if isinstance(settings, dict) else settings
        raise ServingError(
            f"{folder}: weights quantized by {method!r} cannot be read",
            remedy=f"use plain weights, or {', '.join(LAYOUTS)}",
        )
    architecture = read_architecture(config)
    tensors: dict[str, Weight] = {}
    take_dense(read_tensors(folder), tensors, architecture)
    matrices = {f"{layer}.weight" for layer in (*architecture.matrix_shapes(), HEAD)}
    for name, tensor in tensors.items():
        if name in matrices and isinstance(tensor, torch.Tensor) and tensor.element_size() > 2:
            tensors[name] = tensor.to(torch.bfloat16)
    return QuantizedModel(config, tensors, describe("none", tensors), folder)


def _read_folder(folder: Path) -> QuantizedModel:
    if not folder.is_dir():
        raise ServingError(f"no model {str(folder)!r}", remedy="name a model folder or a GGUF file")
    if is_checkpoint(folder):
        return load_checkpoint(folder)
    settings: Any = read_json(folder / "config.json").get("quantization_config") or {}
    method = settings.get("quant_method")
    if method == "awq":
        from serving.formats.autoawq import read_autoawq

        model = read_autoawq(folder)
    elif method == "compressed-tensors":
        from serving.formats.compressed_tensors import read_compressed_tensors

        model = read_compressed_tensors(folder)
    else:
        model = read_plain(folder)
    check_tensors(model)
    return model


def _gguf_file(source: Path) -> Path | None:
    """The GGUF file meant: itself, or the only one in a folder without config.json."""
    if source.suffix == ".gguf":
        return source
    if source.is_dir() and not (source / "config.json").exists():
        files = sorted(source.glob("*.gguf"))
        if len(files) == 1:
            return files[0]
    return None


def _named(model: QuantizedModel, base: str) -> QuantizedModel:
    if not base or model.header.base:
        return model
    return replace(model, header=replace(model.header, base=base))
