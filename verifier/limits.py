"""Time limits for calls into C++ that cannot be interrupted: run them in a child and kill it."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import TypeVar

from verifier.errors import TimeLimitError

T = TypeVar("T")


def call_with_limit(function: Callable[[], T], seconds: float) -> T:
    """``function()`` in a forked child; its result must be picklable.

    The child inherits everything the caller has built, so nothing else needs to be sent.

    Raises:
        TimeLimitError: No result within ``seconds``, or the child died (out of memory, say).
        Exception: Whatever ``function`` raised.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(function, writer)
    os.close(writer)
    try:
        payload = _read_all(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if payload is None:
        raise TimeLimitError(f"time limit of {seconds:g} s reached")
    if not payload:
        raise TimeLimitError("the check's process died (out of memory?)")
    succeeded, value = pickle.loads(payload)
    if succeeded:
        return value
    raise value


def _answer(function: Callable[[], object], writer: int) -> None:
    """Child side: write the pickled outcome and leave without any clean-up of the parent's."""
    try:
        try:
            outcome = (True, function())
        except Exception as error:
            outcome = (False, error)
        with os.fdopen(writer, "wb") as stream:
            pickle.dump(outcome, stream)
    finally:
        os._exit(0)


def _read_all(descriptor: int, deadline: float) -> bytes | None:
    chunks: list[bytes] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
