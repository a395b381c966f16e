"""Two domains: equal ones are equivalent, different ones are not, bands cover, floors are honest."""

import numpy as np
import pytest
from scipy.special import expit, logit

from verifier.errors import InputError
from worlds.perception.comparison import clopper_pearson, compare
from worlds.perception.detections import detections_of
from worlds.perception.plots import domain_picture


def domain(name, n=3000, shift=0.0, seed=0, episodes=300, sharpness=1.0):
    chance = np.random.default_rng(seed)
    confidence = chance.uniform(0, 1, (n, 1))
    odds = sharpness * logit(np.clip(confidence, 1e-6, 1 - 1e-6)) + shift
    truth = chance.random((n, 1)) < expit(odds)
    return detections_of(name, ("a",), confidence, truth, np.arange(n) % episodes)


def test_equal_domains_are_equivalent_at_a_fair_margin():
    found = compare(domain("a", 30_000), domain("b", 30_000, seed=1), margin=0.06, replicates=300)
    assert found.decision == "equivalent"
    assert found.p_value < 0.05
    assert (np.abs(found.gap_low) < 0.06).all()
    assert (found.gap_high < 0.06).all()


def test_few_data_decide_nothing():
    found = compare(domain("a", 200), domain("b", 200, seed=1), margin=0.05, replicates=300)
    assert found.decision == "undecided"


def test_a_shift_is_a_difference():
    found = compare(domain("a"), domain("b", shift=-1.5, seed=1), margin=0.05, replicates=300)
    assert found.decision == "different"
    assert found.distances["max_gap"].value.low > 0.15
    assert found.distances["max_gap"].p_value < 0.01
    # The confidences themselves are distributed alike.
    assert found.distances["total_variation"].p_value > 0.01
    assert found.distances["wasserstein"].p_value > 0.01


def test_other_confidences_with_equal_accuracy_are_found_by_the_other_distances():
    a = domain("a")
    high = domain("b", 6000, seed=1)
    kept = high.where((high.confidence > 0.4) | (high.episode % 4 == 0))
    found = compare(a, kept, margin=0.1, replicates=300)
    assert found.distances["wasserstein"].p_value < 0.01
    assert found.distances["wasserstein"].value.low > 0.03
    assert found.distances["total_variation"].value.low > 0.1
    assert found.decision != "different"


@pytest.mark.parametrize("bands", ["episodes", "exact"])
def test_bands_hold_everywhere_at_once(bands):
    covered = 0
    for seed in range(20):
        a, b = domain("a", 1500, seed=2 * seed), domain("b", 1500, seed=2 * seed + 1)
        found = compare(a, b, bands=bands, bins=6, binning="width", replicates=150)
        covered += all(
            ((c.low <= c.confidence) & (c.confidence <= c.high)).all() for c in found.curves
        )
    assert covered >= 16  # 95 % of 20, less three standard deviations


def test_the_equivalence_test_keeps_its_level_at_the_margin():
    """Where one gap is the margin, "equivalent" is said in at most 5 % of cases."""
    said = 0
    for seed in range(25):
        a = domain("a", 3000, seed=2 * seed)
        b = domain("b", 3000, seed=2 * seed + 1)
        worse = (b.confidence > 0.4) & (b.confidence < 0.6)
        chance = np.random.default_rng(seed)
        truth = b.truth & ~(worse & (chance.random(len(b)) < 0.2))  # 0.5 -> 0.4
        b = detections_of("b", ("a",), b.confidence[:, None], truth[:, None], b.episode)
        found = compare(a, b, margin=0.1, bins=5, binning="width", replicates=60)
        said += found.decision == "equivalent"
    assert said <= 4  # 1 expected, three standard deviations


def test_equal_domains_are_at_the_floor_and_intervals_reach_down_to_zero():
    rows = [
        compare(domain("a", seed=2 * s), domain("b", seed=2 * s + 1), replicates=200).distances
        for s in range(10, 18)
    ]
    for name in rows[0]:
        assert np.mean([r[name].value.value for r in rows]) == pytest.approx(
            np.mean([r[name].floor for r in rows]), rel=0.4
        )
        assert sum(r[name].value.low == 0 for r in rows) >= 6
        assert sum(r[name].p_value > 0.05 for r in rows) >= 5


def test_bins_with_few_detections_are_joined():
    a, b = domain("a"), domain("b", seed=1)
    sparse = b.where(b.confidence < 0.5)
    found = compare(a, sparse, bins=10, binning="width", replicates=50)
    assert all((c.number >= 20).all() for c in found.curves)
    assert found.edges[-1] == 1
    with pytest.raises(InputError, match="at least 20 of each"):
        compare(a, b.where(b.confidence < 0.002), replicates=50)


def test_clopper_pearson_against_known_values():
    low, high = clopper_pearson(np.array([0.0, 5.0, 10.0]), np.array([10.0, 10.0, 10.0]), 0.05)
    assert low == pytest.approx([0, 0.1871, 0.6915], abs=1e-4)
    assert high == pytest.approx([0.3085, 0.8129, 1], abs=1e-4)


def test_bad_margins():
    with pytest.raises(InputError, match="margin 2"):
        compare(domain("a"), domain("b"), margin=2)


def test_answers_begin_at_one_half_and_the_picture_is_one():
    a, b = domain("a").answers(), domain("b", seed=1).answers()
    found = compare(a, b, replicates=50)
    assert found.edges[0] == 0.5
    assert domain_picture(found, (a, b), "confidence").startswith(b"\x89PNG")
