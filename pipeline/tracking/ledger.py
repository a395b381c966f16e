"""``tracking.json`` in the run folder: what has been logged where.

It saves looking things up; the store's own tags decide what is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.files import write_text

LEDGER_FILE = "tracking.json"


@dataclass
class Entry:
    """What one store holds of a run.

    Attributes:
        parent: Id of the pipeline's run.
        stages: Path of the stage -> hash of what was logged, and id of its run.
        files: Artefact of the pipeline's run -> hash of what was logged.
        status: The last one that was logged.
    """

    parent: str
    stages: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"

    def to_json(self) -> dict[str, Any]:
        """The entry of the file."""
        return {
            "parent": self.parent,
            "status": self.status,
            "stages": self.stages,
            "files": self.files,
        }


class Ledger:
    """The ledger of a run folder.

    Args:
        folder: The run folder.
        store: Address of the store, without password.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self._file, self._store = folder / LEDGER_FILE, store
        mine = self._read().get(store)
        self.entry: Entry | None = Entry(**mine) if mine else None

    def save(self) -> None:
        """Write what is known of this store beside what is known of others."""
        if self.entry is not None:
            stores = self._read() | {self._store: self.entry.to_json()}
            write_text(self._file, json.dumps({"stores": stores}, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            stores = json.loads(self._file.read_text(encoding="utf-8"))["stores"]
            return {store: dict(entry) for store, entry in stores.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Lost or damaged: the store's tags say the same.
            return {}
