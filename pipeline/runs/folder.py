"""A run's folder: made, opened, and kept to one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.config_files import CONFIG_FILE, load_config
from pipeline.files import write_text
from verifier.errors import InputError
from verifier.yaml_files import load_json

RUNS = Path("runs")
"""Where runs are made unless another place is named."""

_INFO = "run.json"
_LOCK = ".lock"
# Names of these files while they are being written (see `pipeline.files`).
_BEGUN = (f".{CONFIG_FILE}.", f".{_INFO}.")


@dataclass(frozen=True)
class RunFolder:
    """A run on disk.

    Attributes:
        path: The folder.
        config: Its resolved configuration.
        info: ``run.json``: name, created, config_hash, version.
    """

    path: Path
    config: RunConfig
    info: dict[str, Any]


def make_run(path: Path, config: RunConfig) -> RunFolder:
    """Make a new run's folder; call within `locked`.

    Raises:
        InputError: The folder cannot be written to.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return _write(path, config, {"name": config.name, "created": created})


def reconfigure(run: RunFolder, config: RunConfig) -> RunFolder:
    """Give a run another configuration; its stages then follow as far as they depend on it."""
    if run.config == config:
        return run
    return _write(run.path, config, run.info | {"name": config.name})


def _write(path: Path, config: RunConfig, info: dict[str, Any]) -> RunFolder:
    for pattern in _BEGUN:  # what a kill in here has left behind
        for file in path.glob(f"{pattern}*"):
            file.unlink()
    info = info | {"config_hash": config.hash, "version": version("specdrive")}
    write_text(path / CONFIG_FILE, config.to_yaml())
    write_text(path / _INFO, json.dumps(info, indent=1, ensure_ascii=False) + "\n")
    return RunFolder(path, config, info)


def open_run(path_or_name: str | Path) -> RunFolder:
    """The run in a folder, or called so in `RUNS`.

    Raises:
        InputError: There is none.
    """
    path = Path(path_or_name)
    if not is_run(path) and path.parent == Path() and is_run(RUNS / path):
        path = RUNS / path
    if not is_run(path):
        names = [run.name for run in find_runs(RUNS)]
        known = f" (in {RUNS}/: {', '.join(names)})" if names else ""
        raise InputError(
            f"no run {str(path_or_name)!r}", remedy=f"name a run's folder{known}; see: runs list"
        )
    return RunFolder(path, load_config(path), load_json(path / _INFO))


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / _INFO).is_file() and (path / CONFIG_FILE).is_file()


def find_runs(folder: Path) -> list[Path]:
    """The folders of runs in a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_run(path))


def is_empty(path: Path) -> bool:
    """Whether a new run can be made there: nothing, or what a kill leaves before a run is one."""
    if not path.exists():
        return True
    return path.is_dir() and all(
        entry.name in (_LOCK, CONFIG_FILE) or entry.name.startswith(_BEGUN)
        for entry in path.iterdir()
    )


def forget(path: Path) -> None:
    """Remove a folder in which no run has come about after all."""
    if path.is_dir() and not is_run(path) and is_empty(path):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder, which is made if it does not exist.

    The lock is the kernel's: it is free again when its holder ends, however that happens.

    Raises:
        InputError: Another process holds it, or the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"cannot be used for a run: {error.strerror}", file=path, remedy="choose another folder"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise InputError(
                f"another process{f' ({holder})' if holder else ''} is working in this run",
                file=path,
                remedy="wait until it has finished, or choose another folder with --dir",
            ) from None
        with suppress(OSError):  # only for the message above: a full disk must not matter here
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process is working in a run's folder right now."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
