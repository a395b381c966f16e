"""Checkpoints of a training that may be killed at any moment.

A checkpoint counts once its marker is there, which is written after everything else is on disk,
and only if the files still have the sizes that the marker names.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from pipeline.files import write_text

_MARKER = "complete.json"
_PREFIX = "checkpoint-"


def mark_complete(checkpoint: Path) -> None:
    """Flush all files of a checkpoint to disk, then write its marker."""
    files = sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != _MARKER)
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sizes = {str(p.relative_to(checkpoint)): p.stat().st_size for p in files}
    write_text(checkpoint / _MARKER, json.dumps(sizes, indent=1) + "\n")


def latest_complete(folder: Path) -> Path | None:
    """The checkpoint with the most updates that is whole."""
    for _, checkpoint in sorted(_numbered(folder), reverse=True):
        if _is_complete(checkpoint):
            return checkpoint
    return None


def remove_others(folder: Path, kept: Path | None) -> None:
    """Delete every checkpoint but one, incomplete ones included."""
    for _, checkpoint in _numbered(folder):
        if checkpoint != kept:
            (checkpoint / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(checkpoint, ignore_errors=True)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = folder.glob(f"{_PREFIX}*") if folder.is_dir() else ()
    return [
        (int(number), path)
        for path in found
        if (number := path.name.removeprefix(_PREFIX)).isdigit()
    ]


def _is_complete(checkpoint: Path) -> bool:
    try:
        sizes = json.loads((checkpoint / _MARKER).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False
