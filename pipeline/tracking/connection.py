"""Which store, whether it is there, and MLflow's client for it: quiet, bounded in time."""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
"""Relative to the working directory."""

_SQLITE = "sqlite:///"
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PATIENCE = 3.0
"""Seconds within which a server has to accept a connection."""

# Set before mlflow is imported, unless the user has set them: no usage data is sent, a server that
# stops answering holds a run up for seconds, not for the many minutes of mlflow's defaults, and
# nothing is printed among what the run itself shows.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

_NOISY = ("mlflow", "alembic", "urllib3.connectionpool", "git.cmd")


class StoreError(Exception):
    """The store cannot be used now; ``str(error)`` is a short reason."""


def resolve_uri(configured: str | None) -> str:
    """The store to use: as configured, else ``MLFLOW_TRACKING_URI``, else an SQLite file here.

    Paths of SQLite files become absolute, so that the same store always has the same name.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    if uri.startswith(_SQLITE):
        return _SQLITE + str(Path(uri.removeprefix(_SQLITE)).absolute())
    return uri.rstrip("/")


def without_password(uri: str) -> str:
    """The address as it may be shown and stored."""
    return re.sub(r"//[^/@]*@", "//", uri)


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def probe(uri: str) -> None:
    """Find out within seconds whether the store is there; mlflow itself would try for minutes.

    Raises:
        StoreError: It is not.
    """
    parts = urlsplit(uri)
    file = database_file(uri)
    if file is not None:
        _probe_file(file)
    elif parts.scheme in {"http", "https"}:
        _probe_server(uri)
    elif parts.hostname:
        port = _DATABASE_PORTS.get(parts.scheme.split("+")[0])
        if port is not None:
            _probe_port(parts.hostname, parts.port or port)


def _probe_file(file: Path) -> None:
    if not file.parent.is_dir():
        raise StoreError(f"there is no folder {file.parent}")
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{file}: {error}") from None


def _probe_server(uri: str) -> None:
    import requests

    try:
        # Any answer will do, also one that asks for a password; requests minds proxies.
        requests.get(f"{uri}/health", timeout=_PATIENCE)
    except requests.RequestException as error:
        raise StoreError(reason(error)) from None


def _probe_port(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as error:
        raise StoreError(f"{host}:{port}: {error.strerror or error}") from None


def prepare() -> None:
    """Import mlflow, which takes seconds and sets up its own logging.

    Raises:
        StoreError: It is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise StoreError("mlflow is not installed; pip install 'specdrive[train]'") from None


def make_client(uri: str) -> MlflowClient:
    """MLflow's client; its tables are made if the store is an empty database.

    Raises:
        StoreError: mlflow is not installed, or does not know such a store.
    """
    prepare()
    from mlflow import MlflowClient

    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:
        raise StoreError(reason(error)) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the log lines of mlflow and of what it uses; failures reach us as exceptions."""
    prepare()
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: BaseException) -> str:
    """What is wrong with the store, in one short line without passwords."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(one) for one in causes)
    for sign, said in (
        ("Connection refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("Name or service not known", "unknown host"),
        ("Temporary failure in name resolution", "unknown host"),
        ("No space left on device", "no space left on its disk"),
    ):
        if sign in text:
            return said
    lines = str(error).strip().splitlines()
    line = " ".join((lines[0] if lines else type(error).__name__).split())
    return without_password(line if len(line) <= 200 else f"{line[:199]}…")
