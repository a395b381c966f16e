"""The shared library of CPU kernels: found, loaded once, its errors made into exceptions."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib.util import find_spec

import torch

LEVELS = ("plain", "avx2", "avx512", "avx512bf16")
"""Instruction-set levels, slowest first."""

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""Codes of number formats in the C interface."""


@cache
def native() -> ctypes.CDLL:
    """The library, its level chosen (``SPECDRIVE_ISA`` forces one).

    Raises:
        RuntimeError: It is not built, or this processor lacks the level asked for.
    """
    spec = find_spec("kernels.cpu._native")
    if spec is None or spec.origin is None:
        raise RuntimeError("the CPU kernels are not built: run pip install -e . in the repository")
    library = ctypes.CDLL(spec.origin)
    library.sd_last_error.restype = ctypes.c_char_p
    library.sd_level.restype = ctypes.c_char_p
    asked = os.environ.get("SPECDRIVE_ISA", "")
    if library.sd_select(asked.encode()):
        raise RuntimeError(f"SPECDRIVE_ISA={asked}: {library.sd_last_error().decode()}")
    if not asked and library.sd_level() == b"plain" and sys.stderr.isatty():
        print("this processor has no AVX2: the plain CPU kernels are slow", file=sys.stderr)
    return library


def check(code: int) -> None:
    """Raise what a C function reported.

    Raises:
        ValueError: ``code`` is 2: an argument is wrong.
        RuntimeError: ``code`` is another one but 0.
    """
    if code == 2:
        raise ValueError(native().sd_last_error().decode())
    if code:
        raise RuntimeError(native().sd_last_error().decode())


def isa() -> str:
    """The instruction-set level in use."""
    return native().sd_level().decode()


def select_isa(level: str) -> None:
    """Use another level from now on; weights packed before stay valid.

    Raises:
        RuntimeError: There is no such level, or this processor lacks it.
    """
    check(native().sd_select(level.encode()))


def available_isas() -> tuple[str, ...]:
    """The levels that this processor runs, slowest first."""
    return tuple(level for level in LEVELS if native().sd_runs(level.encode()))


def set_num_threads(threads: int) -> None:
    """Threads of every kernel; at first the cores that the process may use.

    Raises:
        ValueError: ``threads`` is not positive.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    native().sd_set_num_threads(threads)


def num_threads() -> int:
    """Threads of every kernel."""
    return native().sd_num_threads()
