"""Model folders: configuration, tensors in one file or several, tokenizer files, whole writing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from serving.errors import ServingError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"

GGUF_METADATA = "metadata.gguf"
"""Metadata and vocabulary of the GGUF file that a model came from; exports copy it."""

_COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
    GGUF_METADATA,
)


def read_json(file: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        ServingError: Missing, unreadable, or something else than an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ServingError(f"{file}: no such file", remedy="name a complete model folder") from None
    except (OSError, ValueError) as error:
        raise damaged(file, str(error)) from None
    if not isinstance(content, dict):
        raise damaged(file, "not a JSON object")
    return content


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """A JSON object, indented; on disk when this returns."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with file.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a Hugging Face folder (safetensors, one file or several).

    Raises:
        ServingError: None there, one missing, or a damaged file.
    """
    if (folder / _INDEX).is_file():
        weight_map = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(weight_map, dict):
            raise damaged(folder / _INDEX, "no weight_map")
        files = [folder / str(name) for name in sorted(set(weight_map.values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ServingError(
            f"{folder}: no weights in safetensors format",
            remedy="name a folder that holds config.json and *.safetensors",
        )
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors.update(read_safetensors(file)[0])
    return tensors


def read_safetensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of one file.

    Raises:
        ServingError: Missing or damaged.
    """
    try:
        with safe_open(str(file), framework="pt") as stream:
            metadata = stream.metadata() or {}
            return {name: stream.get_tensor(name) for name in stream.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise ServingError(f"{file}: no such file", remedy="name a complete model folder") from None
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise damaged(file, str(error)) from None


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata in a safetensors file's header; tensors are not read.

    Raises:
        ServingError: Missing or damaged.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            metadata = json.loads(stream.read(length)).get("__metadata__", {})
            return {str(key): str(value) for key, value in metadata.items()}
    except FileNotFoundError:
        raise ServingError(f"{file}: no such file", remedy="name a complete model folder") from None
    except (OSError, ValueError, AttributeError, struct.error) as error:
        raise damaged(file, str(error)) from None


def damaged(file: Path, why: str) -> ServingError:
    """What to raise about a file that is not as it was written."""
    return ServingError(f"{file} is damaged: {' '.join(why.split())}", remedy="get it again")


def copy_companions(source: Path, target: Path) -> None:
    """Copy tokenizer, generation settings and the like, those that are there."""
    for name in _COMPANIONS:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


@contextmanager
def new_folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill beside ``target`` that takes its name when all went well.

    Args:
        target: Must not exist, or be empty, or hold a model and ``overwrite`` be set.
        overwrite: Replace a model.

    Raises:
        ServingError: Something is in the way, or the place cannot be written to.
    """
    taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if taken and not (overwrite and ((target / CONFIG).is_file() or _only_gguf(target))):
        raise ServingError(f"{target} is not empty", remedy="choose another place or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise unwritable(target, error) from None
    try:
        yield beside
        beside.chmod(0o755)
        for file in beside.iterdir():
            file.chmod(0o644)
        old = None
        if taken:
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(old / target.name)
        beside.rename(target)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(target, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def unwritable(target: Path, error: OSError) -> ServingError:
    """What to raise about a place that cannot be written to."""
    return ServingError(
        f"{target} cannot be written: {error.strerror or error}", remedy="choose another place"
    )


def _only_gguf(folder: Path) -> bool:
    files = list(folder.iterdir()) if folder.is_dir() else []
    return bool(files) and all(file.suffix == ".gguf" for file in files)
