"""Differences of paired success rates: published values, symmetries, coverage, clusters."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.quantized.paired import Paired, clustered_interval, paired
from worlds.statistics import wilson

counts = st.builds(Paired, *(st.integers(0, 60) for _ in range(4))).filter(lambda p: p.count)


def test_published_example():
    """Airway hyper-responsiveness before and after transplantation, 21 children.

    Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33: -0.507 to -0.026 for before
    less after.
    """
    found = Paired(both=1, lost=1, gained=7, neither=12)
    assert found.difference == pytest.approx(6 / 21)
    assert found.interval() == pytest.approx((0.026, 0.507), abs=5e-4)


def test_counting():
    found = paired([True, True, False, False, True], [True, False, True, False, False])
    assert found == Paired(1, 2, 1, 1)
    assert found.to_json()["value"] == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="zip"):
        paired([True], [])


@given(counts)
def test_the_interval_holds_the_difference_and_turns_with_it(pairs):
    low, high = pairs.interval()
    assert -1 <= low <= pairs.difference <= high <= 1
    turned = Paired(pairs.both, pairs.gained, pairs.lost, pairs.neither).interval()
    assert turned == pytest.approx((-high, -low), abs=1e-12)


@given(counts)
def test_pairing_never_widens_it_where_outcomes_agree(pairs):
    """Without correlation it is Newcombe's interval of two independent rates."""
    if pairs.both * pairs.neither < pairs.lost * pairs.gained:
        return
    n = pairs.count
    p, q = wilson(pairs.both + pairs.lost, n), wilson(pairs.both + pairs.gained, n)
    low, high = pairs.interval()
    down = ((q.value - q.low) ** 2 + (p.high - p.value) ** 2) ** 0.5
    up = ((q.high - q.value) ** 2 + (p.value - p.low) ** 2) ** 0.5
    assert low >= max(-1, pairs.difference - down) - 1e-12
    assert high <= min(1, pairs.difference + up) + 1e-12


@given(counts)
def test_mcnemar_is_the_binomial_test(pairs):
    moved = pairs.lost + pairs.gained
    expected = stats.binomtest(pairs.lost, moved).pvalue if moved else 1.0
    assert pairs.mcnemar() == pytest.approx(expected)


def test_nothing_asked():
    found = Paired(0, 0, 0, 0)
    assert (found.difference, found.interval(), found.mcnemar()) == (None, (-1.0, 1.0), 1.0)
    assert clustered_interval({}) == (-1.0, 1.0)


def test_it_covers_the_truth():
    """95 % of samples of 80 pairs; the true drop is 4 points, outcomes nearly always agree."""
    chance, inside = random.Random(5), 0
    for _ in range(600):
        drawn = chance.choices(["both", "lost", "gained", "neither"], [0.8, 0.06, 0.02, 0.12], k=80)
        low, high = Paired(*map(drawn.count, ("both", "lost", "gained", "neither"))).interval()
        inside += low <= -0.04 <= high
    assert 0.92 <= inside / 600 <= 0.99


def test_answers_that_agree_within_a_task_count_as_few():
    outcomes = [1, 0, 0, -1, 0, 0, 0, -1, 0, 0, 1, 0]
    alone = {f"{task}": [value] for task, value in enumerate(outcomes)}
    repeated = {f"{task}": [value] * 9 for task, value in enumerate(outcomes)}
    spread = {f"{task}-{i}": [v] for task, v in enumerate(outcomes) for i in range(9)}
    assert clustered_interval(repeated) == clustered_interval(alone)
    width = [high - low for low, high in map(clustered_interval, (repeated, spread))]
    assert width[0] == pytest.approx(3 * width[1], rel=0.15)


def test_the_bootstrap_is_that_of_scipy():
    chance = random.Random(1)
    values = [chance.choice([-1, 0, 0, 0, 0, 0.5]) for _ in range(60)]
    ours = clustered_interval({str(i): [value] for i, value in enumerate(values)})
    theirs = stats.bootstrap(
        (values,), lambda x, axis: x.mean(axis), method="percentile", rng=0
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)
