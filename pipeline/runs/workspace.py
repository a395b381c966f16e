"""The life of a stage's folder: worked on beside its place, then moved there in one step.

A kill at any moment leaves one of four states, and each is continued from without repeating what
was finished: nothing; ``.STAGE.partial`` at work (``partial/`` in it holds saved state); the same
with its manifest written (only the move is left); the finished folder.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.files import write_text
from pipeline.runs.manifest import (
    MANIFEST,
    Manifest,
    Recipe,
    artefacts,
    damaged,
    manifest_text,
    read_manifest,
)
from pipeline.runs.surroundings import host, versions
from pipeline.stages.context import PARTIAL
from verifier.errors import InputError

_RECIPE = "recipe"
_STARTED = "started"
_SPENT = "seconds"
_SAVE_EVERY = 5.0


class Workspace:
    """Where one stage works until it is finished.

    Args:
        target: The stage's folder.
        recipe: What it is made from: saved state of another recipe is discarded.
    """

    def __init__(self, target: Path, recipe: Recipe) -> None:
        self.target, self.recipe = target, recipe
        self.work = target.with_name(f".{target.name}.partial")
        self._old = target.with_name(f".{target.name}.old")
        self._began = self._saved = time.monotonic()
        self._before = 0.0

    def recover(self) -> bool:
        """Finish a move that was interrupted; True if that completes the stage."""
        with suppress(InputError):
            manifest = read_manifest(self.work)
            if manifest and manifest.recipe == self.recipe and not damaged(self.work, manifest):
                self._move()
                return True
        if self._old.is_dir():
            # Whatever was to replace it is not there: it counts again (and may be outdated).
            if self.target.exists():
                shutil.rmtree(self._old)
            else:
                self._old.rename(self.target)
        return False

    def begin(self) -> bool:
        """Make the folder ready; True if it holds saved state of an interrupted attempt."""
        saved = self.work / PARTIAL
        resumed = _text(saved / _RECIPE) == self.recipe.hash
        if resumed:
            for path in self.work.iterdir():
                if path.name != PARTIAL:
                    _remove(path)
        else:
            _remove(self.work)
            saved.mkdir(parents=True)
            write_text(saved / _STARTED, datetime.now(UTC).isoformat(timespec="seconds"))
            write_text(saved / _RECIPE, self.recipe.hash)
        self._before = float(_text(saved / _SPENT) or 0.0)
        self._began = self._saved = time.monotonic()
        return resumed

    @property
    def seconds(self) -> float:
        """Time spent so far, earlier attempts included (up to their last save)."""
        return self._before + time.monotonic() - self._began

    def keep_time(self) -> None:
        """Save the time spent, every few seconds; call often."""
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self._saved = time.monotonic()
            write_text(self.work / PARTIAL / _SPENT, f"{self.seconds:.1f}")

    def finish(self, seed: int, device: str) -> Manifest:
        """Write the manifest, flush everything to disk and move the folder to its place."""
        for path in self.work.rglob("*"):
            if path.is_file() and PARTIAL not in path.relative_to(self.work).parts[:1]:
                _flush(path)
        manifest = Manifest(
            recipe=self.recipe,
            outputs=artefacts(self.work, without=PARTIAL),
            seed=seed,
            started=_text(self.work / PARTIAL / _STARTED) or "",
            seconds=round(self.seconds, 2),
            versions=versions(),
            host=host(device),
        )
        write_text(self.work / MANIFEST, manifest_text(manifest))
        self._move()
        return manifest

    def _move(self) -> None:
        _remove(self.work / PARTIAL)
        for folder in (self.work, *(path for path in self.work.rglob("*") if path.is_dir())):
            _flush(folder)
        if self.target.exists():
            _remove(self._old)
            self.target.rename(self._old)
        self.work.rename(self.target)
        _flush(self.target.parent)
        _remove(self._old)


def discard_saved(target: Path) -> None:
    """Remove what an interrupted attempt at a stage's folder has saved."""
    _remove(target.with_name(f".{target.name}.partial"))


def timed(report: Callable[[str, int, int], None], space: Workspace) -> Callable[..., None]:
    """Progress that also keeps the time of an attempt that may be killed."""

    def both(what: str, done: int, total: int) -> None:
        space.keep_time()
        report(what, done, total)

    return both


def _text(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
