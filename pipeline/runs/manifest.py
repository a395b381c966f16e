"""What a finished stage's folder holds, what it was made from, and whether it is still so."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.config import config_hash
from verifier.errors import InputError
from verifier.yaml_files import load_json

MANIFEST = "manifest.json"
SIDE_BY_SIDE = 0.95
"""Share of the stages' time: a run that took less of it had several at once."""


@dataclass(frozen=True)
class Recipe:
    """What a stage's results follow from; equal recipes need not be cooked twice.

    Attributes:
        stage: Name.
        round: 0 for the base model.
        inputs: Name of an input -> hash of its content (see `content_hash`).
        config: The sections of the configuration that matter for it.
    """

    stage: str
    round: int
    inputs: dict[str, str]
    config: dict[str, Any]

    @property
    def hash(self) -> str:
        """``sha256:...`` of everything."""
        return config_hash(dataclasses.asdict(self))


@dataclass(frozen=True)
class Manifest:
    """The ``manifest.json`` of a finished stage.

    Attributes:
        recipe: What it was made from.
        outputs: Relative path -> SHA-256 (hex) of every artefact.
        seed: The run's seed.
        started: When the first attempt began (UTC, ISO 8601).
        seconds: Time spent, interrupted attempts included.
        versions: Of Python and the packages that matter.
        host: Number of cores and the device.
    """

    recipe: Recipe
    outputs: dict[str, str]
    seed: int
    started: str
    seconds: float
    versions: dict[str, str]
    host: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "stage": self.recipe.stage,
            "round": self.recipe.round,
            "inputs": self.recipe.inputs,
            "config": self.recipe.config,
            "config_hash": config_hash(self.recipe.config),
            "outputs": self.outputs,
            "versions": self.versions,
            "seed": self.seed,
            "started": self.started,
            "seconds": self.seconds,
            "host": self.host,
        }

    def content_hash(self, below: str = "") -> str:
        """``sha256:...`` of the names and contents of the artefacts (in a sub-folder)."""
        prefix = f"{below}/" if below else ""
        chosen = {
            path.removeprefix(prefix): digest
            for path, digest in self.outputs.items()
            if path.startswith(prefix)
        }
        return config_hash(chosen)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a stage's folder; None if the folder does not exist.

    Raises:
        InputError: The folder has no manifest, or one that cannot be read.
    """
    if not folder.is_dir():
        return None
    path = folder / MANIFEST
    data = load_json(path)
    try:
        recipe = Recipe(data["stage"], data["round"], data["inputs"], data["config"])
        names = ("outputs", "seed", "started", "seconds", "versions", "host")
        return Manifest(recipe, *(data[name] for name in names))
    except (KeyError, TypeError):
        raise InputError("not a stage's manifest", file=path) from None


def damaged(folder: Path, manifest: Manifest) -> tuple[Path, str] | None:
    """The first artefact that is not as the manifest says, and what is wrong with it."""
    for name, digest in manifest.outputs.items():
        path = folder / name
        if not path.is_file():
            return path, "is missing"
        if file_hash(path) != digest:
            return path, "is damaged (it differs from what the stage wrote)"
    return None


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's content; not computed again for an untouched file."""
    status = path.stat()
    return _file_hash(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _file_hash(path: Path, _size: int, _mtime: int, _inode: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def elapsed(spans: Iterable[tuple[str, float]]) -> float:
    """Seconds in which at least one stage was at work; between two runs of a run none was.

    Args:
        spans: When each began (ISO 8601) and how many seconds it took. One that was interrupted
            counts as if it had not been; if the start of one is not known, all count for
            themselves.
    """
    spans = tuple(spans)
    try:
        known = sorted((datetime.fromisoformat(at).timestamp(), took) for at, took in spans)
    except ValueError:
        return sum(took for _, took in spans)
    total, until = 0.0, float("-inf")
    for began, seconds in known:
        total += max(0.0, began + seconds - max(began, until))
        until = max(until, began + seconds)
    return total


def artefacts(folder: Path, *, without: str) -> dict[str, str]:
    """Relative path -> SHA-256 of every file of a folder but the manifest and one sub-folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(relative): file_hash(path)
        for path in files
        for relative in [path.relative_to(folder)]
        if relative.parts[0] not in (MANIFEST, without)
    }


def manifest_text(manifest: Manifest) -> str:
    """JSON as it is stored."""
    return json.dumps(manifest.to_json(), indent=1, ensure_ascii=False) + "\n"
