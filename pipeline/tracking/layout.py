"""Finished stages of a run folder, as far as tracking needs to know them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.yaml_files import load_mapping

STAGES = ("generate", "verify", "repair", "rank", "train", "evaluate")
"""The stages of a round, in the order in which they are logged."""

ENDING = ("select", "quantize")
"""The stages after the rounds; the last only in runs that have it."""

_ROUND = re.compile(r"round-(\d+)")


@dataclass(frozen=True)
class Place:
    """A finished stage.

    Attributes:
        path: Within the run folder: ``round-01/train``, ``variants/no_sft/train``, ``select``.
        folder: Its folder.
        stage: ``train``, ...
        round: Whose step its numbers have.
        variant: Name of the ablation that it belongs to, or None.
        manifest: Its manifest.
    """

    path: str
    folder: Path
    stage: str
    round: int
    variant: str | None
    manifest: Mapping[str, Any]

    @property
    def title(self) -> str:
        """``round-01 train``, ``no_sft train``, ``select``."""
        return " ".join(part for part in self.path.split("/") if part != "variants")

    @property
    def hash(self) -> str:
        """Of the outputs and the configuration that made them."""
        said = [self.manifest.get("outputs", {}), self.manifest.get("config_hash")]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def started(self) -> int:
        """Milliseconds since 1970."""
        return _milliseconds(self.manifest.get("started"))

    @property
    def ended(self) -> int:
        """Milliseconds since 1970."""
        return self.started + int(1000 * float(self.manifest.get("seconds") or 0))

    @property
    def finished_at(self) -> str:
        """When it ended, in UTC: ``2026-01-31 10:20:30``."""
        return datetime.fromtimestamp(self.ended / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

    def beside(self, stage: str) -> Path:
        """Folder of another stage of the same round or variant."""
        return self.folder.parent / stage


@dataclass(frozen=True)
class RunFolder:
    """A run's folder with its description and resolved configuration."""

    folder: Path
    description: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.description.get("name") or self.folder.name)

    @property
    def key(self) -> str:
        """Tells runs apart in a store, also those of one name."""
        said = [self.name, str(self.description.get("created"))]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @property
    def created(self) -> int:
        """Milliseconds since 1970."""
        return _milliseconds(self.description.get("created"))

    @property
    def last_stage(self) -> str:
        """The stage with which the run is complete."""
        return ENDING[1] if self.setting("quantize", "enabled", False) else ENDING[0]

    def setting(self, section: str, key: str, default: Any = None) -> Any:
        """One value of the configuration."""
        value = (self.config.get(section) or {}).get(key)
        return default if value is None else value


def open_run(folder: Path) -> RunFolder:
    """Read ``run.json`` and ``config.yaml``.

    Raises:
        InputError: Not the folder of a run.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise InputError("not the folder of a run", file=folder, remedy="it lacks run.json")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", file=file) from None
    config = folder / "config.yaml"
    return RunFolder(folder, description, load_mapping(config) if config.is_file() else {})


def finished(folder: Path) -> list[Place]:
    """All finished stages, in the order in which a run makes them."""
    groups = [*sorted(folder.glob("round-*")), *sorted(folder.glob("variants/*"))]
    found = [group / stage for group in groups for stage in STAGES]
    found += [folder / stage for stage in ENDING]
    return [place for path in found if (place := _place(folder, path)) is not None]


def _place(root: Path, folder: Path) -> Place | None:
    """None if the stage has not finished."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    path = folder.relative_to(root).as_posix()
    parts = path.split("/")
    found = _ROUND.fullmatch(parts[0])
    number = int(found[1]) if found else int(manifest.get("round") or 1)
    variant = parts[1] if parts[0] == "variants" else None
    return Place(path, folder, parts[-1], number, variant, manifest)


def _milliseconds(moment: object) -> int:
    if isinstance(moment, int | float):
        return int(1000 * moment)
    try:
        return int(1000 * datetime.fromisoformat(str(moment)).timestamp())
    except ValueError:
        return 0
