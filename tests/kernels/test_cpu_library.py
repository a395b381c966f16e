"""The CPU library: choice of instructions, threads, errors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.cpu import available_isas, isa, library, num_threads, select_isa, set_num_threads


def run(level: str) -> subprocess.CompletedProcess[str]:
    code = "import kernels.cpu as cpu; print(cpu.isa(), cpu.available_isas()[0])"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SPECDRIVE_ISA": level},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_level_can_be_forced_from_outside() -> None:
    assert run("plain").stdout.split() == ["plain", "plain"]


def test_an_unknown_level_is_an_error() -> None:
    done = run("sse9")
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: SPECDRIVE_ISA=sse9")


def test_levels() -> None:
    levels, before = available_isas(), isa()
    assert levels[0] == "plain"
    assert set(levels) <= set(library.LEVELS)
    assert before in levels
    try:
        for level in levels:
            select_isa(level)
            assert isa() == level
        with pytest.raises((RuntimeError, ValueError), match="sse9"):
            select_isa("sse9")
        assert isa() == levels[-1]
    finally:
        select_isa(before)


def test_threads() -> None:
    before = num_threads()
    assert before >= 1
    try:
        for threads in (3, 1, 2):
            set_num_threads(threads)
            assert num_threads() == threads
    finally:
        set_num_threads(before)
    with pytest.raises(ValueError, match="at least 1"):
        set_num_threads(0)


def test_a_library_that_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda _name: None)
    with pytest.raises(RuntimeError, match=r"^the CPU kernels are not built: run pip install"):
        library.native.__wrapped__()
