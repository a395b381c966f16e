"""What can stop a run from outside: a full disk, too little memory, a signal."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from verifier.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that write files themselves (safetensors, SQLite) keep only the text of the error.
_FULL_TEXTS = ("no space left on device", "os error 28", "disk is full", "file too large")
_NEARLY_NOTHING = 1 << 20


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Within it, SIGTERM raises `Terminated` as Ctrl-C raises KeyboardInterrupt.

    Only the main thread can arrange that; elsewhere it changes nothing.
    """

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def as_input_error(error: BaseException, run: Path) -> InputError | None:
    """The one line for a failure that is not a mistake of ours; None for every other error."""
    again = f"continue with: specdrive run {run} --resume"
    if _is_full(error, run):
        return InputError(
            "no space left on the disk; everything finished so far is kept",
            file=run,
            remedy=f"free some space and {again}",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return InputError(
            "out of memory; everything finished so far is kept",
            file=run,
            remedy="lower generate.chunk or train.pairs_per_step with --set, or set "
            f"train.gradient_checkpointing=true, and {again}",
        )
    return None


def _is_full(error: BaseException, run: Path) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if any(text in str(seen).lower() for text in _FULL_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, InputError):
        return False
    # torch's writer says only that it failed.
    try:
        return shutil.disk_usage(run).free < _NEARLY_NOTHING
    except OSError:
        return False
