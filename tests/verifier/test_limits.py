"""Calls that can be stopped."""

from __future__ import annotations

import os
import time

import pytest

from verifier.errors import TimeLimitError
from verifier.limits import call_with_limit


def test_results_and_errors_come_back() -> None:
    assert call_with_limit(lambda: {"pid": os.getpid()}, 10)["pid"] != os.getpid()
    assert len(call_with_limit(lambda: b"x" * 10_000_000, 10)) == 10_000_000
    with pytest.raises(ZeroDivisionError):
        call_with_limit(lambda: 1 // 0, 10)


def test_what_runs_too_long_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"time limit of 0\.2 s"):
        call_with_limit(lambda: time.sleep(60), 0.2)
    assert time.monotonic() - started < 5


def test_a_child_that_dies_is_no_result() -> None:
    with pytest.raises(TimeLimitError, match="died"):
        call_with_limit(lambda: os._exit(3), 10)
