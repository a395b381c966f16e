"""Wilson intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worlds.statistics import wilson


def test_textbook_value() -> None:
    """81 of 263: [0.2553, 0.3662] (Newcombe 1998, table I, method 3)."""
    rate = wilson(81, 263)
    assert rate.low == pytest.approx(0.2553, abs=1e-4)
    assert rate.high == pytest.approx(0.3662, abs=1e-4)


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0).to_json() == {"value": None, "low": 0.0, "high": 1.0}
    assert wilson(0, 0).percent() == "–"


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_rate_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    rate, mirrored = wilson(successes, trials), wilson(trials - successes, trials)
    assert rate.value is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate.low == pytest.approx(1 - mirrored.high)
