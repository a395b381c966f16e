"""Clopper and Pearson's interval and what it is made of, against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from worlds.statistics import at_most, beta_cdf, beta_quantile, clopper_pearson, log_beta_cdf

trials_and_successes = st.integers(1, 3000).flatmap(
    lambda trials: st.tuples(st.just(trials), st.integers(0, trials))
)


@settings(max_examples=60, deadline=None)
@given(trials_and_successes, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval(counts: tuple[int, int], confidence: float) -> None:
    trials, successes = counts
    rate = clopper_pearson(successes, trials, confidence)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert rate.value == successes / trials


def test_interval_covers() -> None:
    """For every true probability, with the confidence promised (exactly, by summing)."""
    intervals = [clopper_pearson(k, 20) for k in range(21)]
    for p in (0.01, 0.1, 0.35, 0.5, 0.9):
        covered = sum(
            stats.binom.pmf(k, 20, p)
            for k, rate in enumerate(intervals)
            if rate.low <= p <= rate.high
        )
        assert covered >= 0.95


def test_edges() -> None:
    assert clopper_pearson(0, 0).value is None
    assert (clopper_pearson(0, 9).low, clopper_pearson(9, 9).high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="4 of 3"):
        clopper_pearson(4, 3)


def test_rule_of_three() -> None:
    assert at_most(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert at_most(0, 1000) == pytest.approx(3 / 1000, rel=0.01)
    assert at_most(3, 50) == pytest.approx(stats.beta.ppf(0.95, 4, 47))
    assert (at_most(0, 0), at_most(5, 5)) == (1.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0.2, 400), st.floats(0.2, 400))
def test_incomplete_beta(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(0.5, 200), st.floats(0.5, 200))
def test_quantile_inverts(probability: float, a: float, b: float) -> None:
    assert beta_cdf(beta_quantile(probability, a, b), a, b) == pytest.approx(probability, rel=1e-6)


def test_far_tails_keep_their_logarithm() -> None:
    assert log_beta_cdf(0.5, 3001, 1) == pytest.approx(3001 * math.log(0.5))
    assert (log_beta_cdf(0, 2, 3), log_beta_cdf(1, 2, 3)) == (-math.inf, 0.0)
