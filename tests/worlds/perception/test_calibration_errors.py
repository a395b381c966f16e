"""Calibration: known errors are found, calibrated detectors are not accused, maps mend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from verifier.errors import InputError
from worlds.perception.bins import bin_numbers, counts_by_episode, edges_of, multiplicities
from worlds.perception.calibration import calibration_of
from worlds.perception.detections import detections_of
from worlds.perception.plots import reliability_diagram
from worlds.perception.quality import area_under_curve, average_precision, quality_of
from worlds.perception.recalibration import (
    fit_isotonic,
    fit_platt,
    fit_temperature,
    recalibrate,
    recalibration_from_json,
)


def detections(n=4000, sharpness=1.0, shift=0.0, seed=0, episodes=200):
    chance = np.random.default_rng(seed)
    confidence = chance.uniform(0.02, 0.98, (n, 1))
    truth = chance.random((n, 1)) < expit(sharpness * logit(confidence) + shift)
    return detections_of("made", ("a",), confidence, truth, np.arange(n) % episodes)


def test_by_hand():
    found = detections_of(
        "x",
        ("a",),
        np.array([[0.1], [0.3], [0.8], [0.9]]),
        np.array([[False], [True], [True], [True]]),
        np.array([0, 1, 2, 3]),
    )
    row = calibration_of(found, bins=2, binning="width")
    assert row.ece["width"] == pytest.approx((abs(1 - 0.4) + abs(2 - 1.7)) / 4)
    assert row.brier.value == pytest.approx((0.01 + 0.49 + 0.04 + 0.01) / 4)
    assert [(b.number, b.accuracy.value) for b in row.bins] == [(2, 0.5), (2, 1.0)]


def test_debiasing_takes_off_what_chance_adds():
    plain, debiased, covered = [], [], 0
    for seed in range(20):
        row = calibration_of(detections(600, seed=seed, episodes=600), replicates=300)
        plain.append(row.ece["mass"])
        debiased.append(row.debiased["mass"].value or 0)
        covered += row.debiased["mass"].low == 0
    assert np.mean(plain) > 0.04
    assert np.mean(debiased) < 0.65 * np.mean(plain)
    assert covered >= 17


def test_a_known_error_is_found():
    row = calibration_of(detections(20_000, sharpness=0.4), replicates=300)
    c = np.linspace(0.02, 0.98, 10_001)
    expected = np.abs(expit(0.4 * logit(c)) - c).mean()
    for kind in ("width", "mass"):
        assert row.debiased[kind].low < expected < row.debiased[kind].high
        assert row.debiased[kind].value == pytest.approx(expected, abs=0.015)


def test_episodes_that_repeat_themselves_widen_the_interval():
    once = detections(300, episodes=300)
    repeated = detections_of(
        "x",
        ("a",),
        np.repeat(once.confidence, 10)[:, None],
        np.repeat(once.truth, 10)[:, None],
        np.repeat(once.episode, 10),
    )
    few, many = calibration_of(once), calibration_of(repeated)
    assert many.brier.high - many.brier.low == pytest.approx(
        few.brier.high - few.brier.low, rel=0.15
    )


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.integers(1, 12),
    st.sampled_from(["width", "mass"]),
)
@settings(max_examples=60, deadline=None)
def test_every_confidence_has_one_bin(values, bins, binning):
    confidence = np.array(values)
    edges = edges_of(confidence, bins, binning)
    numbers = bin_numbers(confidence, edges)
    assert ((edges[numbers] <= confidence) & (confidence <= edges[numbers + 1])).all()
    made = detections_of(
        "x", ("a",), confidence[:, None], np.ones((len(values), 1), bool), np.arange(len(values))
    )
    assert counts_by_episode(made, edges).number.sum() == len(values)


def test_multiplicities_draw_as_many_as_there_are():
    drawn = multiplicities(7, 50, seed=0)
    assert (drawn.sum(axis=1) == 7).all()


@pytest.mark.parametrize("fit", [fit_temperature, fit_platt, fit_isotonic])
def test_maps_mend_an_overconfident_detector(fit):
    train, test = detections(sharpness=0.4), detections(sharpness=0.4, seed=1)
    mended = test.with_confidence(fit(train.confidence, train.truth)(test.confidence))
    before, after = calibration_of(test, replicates=200), calibration_of(mended, replicates=200)
    assert (after.debiased["width"].value or 0) < 0.3 * (before.debiased["width"].value or 0)
    assert (after.brier.value or 1) < (before.brier.value or 1)


def test_the_temperature_and_the_affine_map_are_found():
    train = detections(20_000, sharpness=0.5)
    assert fit_temperature(train.confidence, train.truth).slope == pytest.approx(0.5, abs=0.05)
    moved = detections(20_000, sharpness=0.7, shift=-1.0)
    found = fit_platt(moved.confidence, moved.truth)
    assert (found.slope, found.shift) == (pytest.approx(0.7, abs=0.06), pytest.approx(-1, abs=0.08))


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_isotonic_never_falls_and_is_no_worse_on_its_data(seed):
    chance = np.random.default_rng(seed)
    confidence, truth = chance.random(50).round(1), chance.random(50) < 0.5
    found = fit_isotonic(confidence, truth)
    after = found(np.sort(confidence))
    assert (np.diff(after) >= 0).all()
    assert ((found(confidence) - truth) ** 2).mean() <= ((confidence - truth) ** 2).mean() + 1e-12


def test_recalibration_round_trip_leaves_one_sided_propositions_alone():
    chance = np.random.default_rng(0)
    made = detections_of(
        "x",
        ("a", "never"),
        chance.random((100, 2)),
        np.column_stack([chance.random(100) < 0.5, np.zeros(100, bool)]),
        np.arange(100),
    )
    for method in ("temperature", "platt", "isotonic"):
        maps = recalibrate(made, method)
        assert set(maps.maps) == {"a"}
        again = recalibration_from_json(maps.to_json())
        assert again(made).confidence == pytest.approx(maps(made).confidence)
        assert (again(made).of("never").confidence == made.of("never").confidence).all()
    with pytest.raises(InputError, match="no recalibration 'x'"):
        recalibrate(made, "x")


def test_ranking_by_hand():
    confidence, truth = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, False])
    assert area_under_curve(confidence, truth) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert average_precision(confidence, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_quality_without_true_ones_has_no_value():
    made = detections_of(
        "x", ("a",), np.array([[0.4], [0.7]]), np.zeros((2, 1), bool), np.arange(2)
    )
    row = quality_of(made, replicates=10)[0]
    assert row.auc.value is None
    assert (row.misses, row.false_alarms) == (None, 0.5)


def test_the_diagram_is_a_picture():
    made = detections(300)
    picture = reliability_diagram(
        [("x", made, calibration_of(made, replicates=50))], "title", "confidence"
    )
    assert picture.startswith(b"\x89PNG")
    assert picture == reliability_diagram(
        [("x", made, calibration_of(made, replicates=50))], "title", "confidence"
    )
