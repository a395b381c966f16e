"""Following a run, and catching up later."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runs.folder import is_locked
from pipeline.tracking.connection import (
    probe,
    quiet,
    reason,
    resolve_uri,
    without_password,
)
from pipeline.tracking.layout import Place, RunFolder, finished, open_run
from pipeline.tracking.ledger import Entry, Ledger
from verifier.errors import InputError

_PAUSE = 120.0
"""Seconds after which a store that failed is tried again while the run goes on."""

_STOPPED = "KILLED"
_REPORT = "report/index.html"
_NOTE = "mlflow.note.content"
_FILES = ("config.yaml", "run.json", _REPORT)


@dataclass(frozen=True)
class SyncResult:
    """What `sync` did.

    Attributes:
        store: Address of the store.
        run_id: MLflow's id of the run.
        logged: Stages logged now.
        already: Stages that were there.
        failed: Stage -> why it could not be logged.
    """

    store: str
    run_id: str
    logged: tuple[str, ...]
    already: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)


class Tracker:
    """Logs a run while it goes on; never raises and never holds it up for long.

    What cannot be logged now is logged with a later stage, at the end, or by `sync`.

    Args:
        warn: Takes one line; it is printed on stderr by default.
    """

    def __init__(self, warn: Callable[[str], None] | None = None) -> None:
        self._warn = warn or (lambda line: print(f"specdrive: {line}", file=sys.stderr))
        self._projector: _Projector | None = None
        self._failed_at: float | None = None
        self._warned: set[str] = set()

    def start(self, folder: Path, config: Any = None) -> None:
        """Begin to follow a run.

        Args:
            folder: The run folder, with ``run.json`` and ``config.yaml``.
            config: A configuration whose section ``tracking`` overrides the folder's; it may be
                None.
        """
        try:
            run = open_run(Path(folder))
            section = getattr(config, "tracking", None)
            enabled = getattr(section, "enabled", run.setting("tracking", "enabled", True))
            uri = getattr(section, "uri", run.setting("tracking", "uri"))
            if enabled:
                self._projector = _Projector(run.folder, resolve_uri(uri))
        except Exception as error:
            self._complain("start", f"nothing is tracked: {reason(error)}")
        self._catch_up("RUNNING")

    def stage_done(self, round: int | None, stage: str, folder: Path) -> None:
        """A stage has finished: log it, and whatever else is missing."""
        del round, stage, folder  # the run folder says it all
        if self._projector is not None and self._projector.behind():
            self._catch_up(None)

    def finish(self, *, failed: bool = False) -> None:
        """The run has ended: log what is missing, its report and its end."""
        self._catch_up("FAILED" if failed else "FINISHED", again=True)

    def _catch_up(self, status: str | None, *, again: bool = False) -> None:
        projector = self._projector
        if projector is None or (self._resting() and not again):
            return
        try:
            result = projector.catch_up(status)
            self._failed_at = None
        except Exception as error:
            self._failed_at = time.monotonic()
            self._complain(
                "store",
                f"tracking: {without_password(projector.uri)} cannot be used ({reason(error)}); "
                "the run goes on, and what is missing is logged later "
                f"(or by: specdrive runs sync {projector.folder})",
            )
            return
        for place, why in result.failed.items():
            self._complain(place, f"tracking: {place} could not be logged ({why})")

    def _resting(self) -> bool:
        """Whether the store failed a moment ago: no waiting for it after every stage."""
        return self._failed_at is not None and time.monotonic() - self._failed_at < _PAUSE

    def _complain(self, subject: str, line: str) -> None:
        """Once per subject."""
        if subject not in self._warned:
            self._warned.add(subject)
            self._warn(line)


def sync(folder: Path | str, uri: str | None = None) -> SyncResult:
    """Log everything that a store lacks of a run.

    Args:
        folder: The run folder.
        uri: The store; by default as configured, then ``MLFLOW_TRACKING_URI``, then SQLite here.

    Raises:
        InputError: Not a run folder, the run is in progress, or the store cannot be used.
    """
    run = open_run(Path(folder))
    if is_locked(run.folder):
        raise InputError(
            "the run is in progress", file=run.folder, remedy="it logs by itself, wait for its end"
        )
    address = resolve_uri(uri or run.setting("tracking", "uri"))
    over = (run.folder / run.last_stage / "manifest.json").is_file()
    try:
        return _Projector(run.folder, address).catch_up("FINISHED" if over else _STOPPED)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be used ({reason(error)})",
            file=without_password(address),
            remedy="check --tracking-uri or MLFLOW_TRACKING_URI",
        ) from None


class _Projector:
    """Brings a store up to date with a run folder."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self._store: Any = None

    def behind(self) -> bool:
        """Whether a finished stage has not been logged, as far as the ledger knows."""
        entry = Ledger(self.folder, without_password(self.uri)).entry
        stages = entry.stages if entry is not None else {}
        return any(
            stages.get(place.path, {}).get("outputs") != place.hash
            for place in finished(self.folder)
        )

    def catch_up(self, status: str | None) -> SyncResult:
        """Log what is missing; the order is that of the stages.

        Args:
            status: Of the run as a whole, in MLflow's words; None leaves it as it is.

        Raises:
            StoreError, MlflowException, OSError: The store cannot be used. What was logged before
                stays logged.
        """
        run = open_run(self.folder)
        probe(self.uri)
        with quiet():
            store = self._connect(run)
            ledger = Ledger(self.folder, without_password(self.uri))
            entry = self._entry(store, run, ledger)
            logged, already, failed = self._stages(store, run, entry, ledger)
            self._files(store, entry, ledger)
            self._describe(store, entry, ledger)
            # Of a run that has stopped it may be known already that it failed.
            keep = status == _STOPPED and entry.status == "FAILED"
            if status is not None and status != entry.status and not keep:
                self._end(store, entry, status)
                ledger.save()
        return SyncResult(
            without_password(self.uri), entry.parent, tuple(logged), tuple(already), failed
        )

    def _connect(self, run: RunFolder) -> Any:
        from pipeline.tracking.store import Store

        if self._store is None:
            self._store = Store(self.uri, str(run.setting("tracking", "experiment", "specdrive")))
        return self._store

    def _entry(self, store: Any, run: RunFolder, ledger: Ledger) -> Entry:
        known = ledger.entry
        parent = store.parent(run, known.parent if known else None)
        if known is None or known.parent != parent:
            from pipeline.tracking.projection import flat

            ledger.entry = known = Entry(parent)
            store.params(parent, flat(run.config))
            ledger.save()
        return known

    def _stages(
        self, store: Any, run: RunFolder, entry: Entry, ledger: Ledger
    ) -> tuple[list[str], list[str], dict[str, str]]:
        logged, already = [], []
        failed: dict[str, str] = {}
        for place in finished(self.folder):
            if entry.stages.get(place.path, {}).get("outputs") == place.hash:
                already.append(place.path)
                continue
            child = store.logged(run.key, place)
            if child is None:
                try:
                    content = _project(run, place)
                except Exception as error:
                    failed[place.path] = f"{type(error).__name__}: {reason(error)}"
                    continue
                child = store.log(run, entry.parent, place, content)
                logged.append(place.path)
            else:
                already.append(place.path)
            if place.stage in ("select", "quantize"):
                self._register(store, run, place, entry.parent)
            entry.stages[place.path] = {"outputs": place.hash, "run_id": child}
            ledger.save()
        return logged, already, failed

    def _register(self, store: Any, run: RunFolder, place: Place, parent: str) -> None:
        if place.stage == "quantize":
            from pipeline.tracking.quantized import register_quantized

            store.tags(parent, {"quantized_version": register_quantized(store, run, place)})
            return
        from pipeline.tracking.registry import register

        version = register(store, run, place)
        if version is not None:
            store.tags(parent, {"model_version": version})

    def _files(self, store: Any, entry: Entry, ledger: Ledger) -> None:
        """The run's own files, whenever they have changed."""
        for artefact in _FILES:
            file = self.folder / artefact
            if file.is_file():
                mark = hashlib.sha256(file.read_bytes()).hexdigest()
                if entry.files.get(artefact) != mark:
                    store.file(entry.parent, artefact, file)
                    entry.files[artefact] = mark
                    ledger.save()

    def _describe(self, store: Any, entry: Entry, ledger: Ledger) -> None:
        from pipeline.tracking.description import describe

        text = describe(finished(self.folder))
        mark = hashlib.sha256(text.encode()).hexdigest()
        if text and entry.files.get(_NOTE) != mark:
            store.tags(entry.parent, {_NOTE: text})
            entry.files[_NOTE] = mark
            ledger.save()

    def _end(self, store: Any, entry: Entry, status: str) -> None:
        if status == "RUNNING":
            store.client.update_run(entry.parent, status="RUNNING")
        else:
            places = finished(self.folder)
            end = max((place.ended for place in places), default=0)
            store.client.set_terminated(entry.parent, status, end_time=end or None)
        entry.status = status


def _project(run: RunFolder, place: Place) -> Any:
    from pipeline.tracking.projection import project

    return project(run, place)
