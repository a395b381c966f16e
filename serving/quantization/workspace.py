"""What a quantization has finished, on disk: after a kill it goes on from there.

The workspace is a hidden folder beside the result. It belongs to one model, one choice of settings
and one set of calibration rows; what another has left there is thrown away.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from serving.errors import ServingError
from serving.folders import read_safetensors, unwritable, write_json

_KEY, _LOCK = "key.json", "lock"


@dataclass(frozen=True)
class Workspace:
    """A folder of finished parts.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def save(self, name: str, tensors: Mapping[str, torch.Tensor], **about: str) -> None:
        """Keep a part; it is there whole or not at all."""
        beside = self.folder / f".{name}"
        owned = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
        save_file(owned, str(beside), metadata=about)
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(self.folder / name)

    def load(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]] | None:
        """A part and what was said about it; None if it is not there or unreadable."""
        if not (self.folder / name).is_file():
            return None
        try:
            return read_safetensors(self.folder / name)
        except ServingError:
            return None


@contextmanager
def workspace(out: Path, key: str) -> Iterator[Workspace]:
    """The workspace of a result, removed when all went well.

    Args:
        out: Where the result will be.
        key: What must be equal for finished parts to be used.

    Raises:
        ServingError: Another process uses it, or the place cannot be written to.
    """
    folder = out.parent / f".{out.name}.quantizing"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ServingError(
                    f"{out} is being made by another process", remedy="wait for it, or stop it"
                ) from None
            _claim(folder, key)
            yield Workspace(folder)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from None


def _claim(folder: Path, key: str) -> None:
    """Empty the folder unless its parts are of the same key."""
    try:
        same = json.loads((folder / _KEY).read_text("utf-8")).get("key") == key
    except (OSError, ValueError, AttributeError):
        same = False
    if not same:
        for path in folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        write_json(folder / _KEY, {"key": key})
