"""Channels and noise: what they promise about errors, curves, streams and time."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from little_junction import PROPOSITIONS, LittleJunction
from scipy.special import expit

from verifier.errors import InputError
from worlds.perception.channels import (
    Binormal,
    Empirical,
    binormal_of_accuracy,
    fit_binormal,
    fit_empirical,
)
from worlds.perception.detections import detections_of
from worlds.perception.noise import (
    NoiseModel,
    NoisyEyes,
    correlation_time,
    estimate_noise,
    load_noise,
    uniform_noise,
)


@given(st.floats(0.51, 0.999), st.floats(0.3, 3))
@settings(max_examples=40, deadline=None)
def test_accuracy_is_the_share_of_right_answers(accuracy, sharpness):
    channel = binormal_of_accuracy(accuracy, sharpness=sharpness)
    assert channel.chance(True, 0.5) == pytest.approx(accuracy)
    assert channel.chance(False, 0.5) == pytest.approx(1 - accuracy)


@given(st.floats(0.55, 0.99), st.floats(0.05, 0.95))
@settings(max_examples=40, deadline=None)
def test_unit_sharpness_is_calibrated_at_its_base_rate(accuracy, base_rate):
    confidences = np.array([0.02, 0.3, 0.5, 0.9])
    channel = binormal_of_accuracy(accuracy, base_rate)
    assert channel.curve(confidences, base_rate) == pytest.approx(confidences)


def test_sharper_is_overconfident():
    channel = binormal_of_accuracy(0.9, sharpness=2)
    assert channel.curve([0.9], 0.5)[0] < 0.8


def test_the_curve_is_what_sampling_shows():
    channel, chance = Binormal(1.5, 2.0, -1.0, 1.0), np.random.default_rng(0)
    truth = chance.random(200_000) < 0.3
    z = chance.standard_normal(200_000)
    confidence = expit(np.where(truth, 1.5 + 2 * z, -1 + z))
    near = np.abs(confidence - 0.6) < 0.02
    assert truth[near].mean() == pytest.approx(channel.curve([0.6], 0.3)[0], abs=0.02)


def test_an_empirical_channel_draws_what_was_recorded():
    channel = Empirical((0.4, 0.8, 0.9), (0.1, 0.2))
    drawn = {channel.confidence(True, z) for z in np.linspace(-4, 4, 200)}
    assert drawn == {0.4, 0.8, 0.9}
    assert channel.chance(True, 0.5) == pytest.approx(2 / 3)
    assert channel.chance(True, 0.8) == pytest.approx(2 / 3)
    assert channel.chance(False, 0.15) == pytest.approx(0.5)


def test_fitted_channels_err_as_often_as_the_data():
    chance = np.random.default_rng(1)
    truth = chance.random(4000) < 0.4
    confidence = expit(np.where(truth, 2, -2) + 1.5 * chance.standard_normal(4000))
    missed = (confidence[truth] < 0.5).mean()
    assert fit_empirical(confidence, truth, "a").chance(True, 0.5) == pytest.approx(
        1 - missed, abs=2e-3
    )
    assert fit_binormal(confidence, truth, "a").chance(True, 0.5) == pytest.approx(
        1 - missed, abs=0.02
    )
    with pytest.raises(InputError, match="a never held among 5"):
        fit_empirical(confidence[:5], np.zeros(5, bool), "a")


def looks(eyes, seed, steps=40):
    simulator = LittleJunction()
    simulator.reset(seed)
    eyes.open(seed)
    found = []
    for _ in range(steps):
        found.append((simulator.observe(), eyes.look(simulator)))
        simulator.step()
    return found


def test_equal_seeds_equal_noise():
    eyes = NoisyEyes(uniform_noise(PROPOSITIONS, 0.8))
    assert looks(eyes, 5) == looks(eyes, 5)
    assert looks(eyes, 5) != looks(eyes, 6)


def test_a_better_model_errs_at_a_subset_of_the_looks_and_others_keep_their_noise():
    def errors(accuracy):
        rows = looks(NoisyEyes(uniform_noise(PROPOSITIONS, accuracy)), 3, 300)
        return {
            (i, p)
            for i, (label, c) in enumerate(rows)
            for p in PROPOSITIONS
            if (c[p] >= 0.5) != (p in label)
        }

    assert errors(0.95) < errors(0.8)
    alone = NoiseModel({PROPOSITIONS[1]: binormal_of_accuracy(0.8)})
    for (_, all_), (label, one) in zip(
        looks(NoisyEyes(uniform_noise(PROPOSITIONS, 0.8)), 3),
        looks(NoisyEyes(alone), 3),
        strict=True,
    ):
        assert one[PROPOSITIONS[1]] == all_[PROPOSITIONS[1]]
        assert one[PROPOSITIONS[0]] == float(PROPOSITIONS[0] in label)


def detections_of_looks(eyes, episodes, steps):
    rows = [(e, i, *row) for e in range(episodes) for i, row in enumerate(looks(eyes, e, steps))]
    return detections_of(
        "little",
        PROPOSITIONS,
        np.array([[c[p] for p in PROPOSITIONS] for _, _, _, c in rows]),
        np.array([[p in label for p in PROPOSITIONS] for _, _, label, _ in rows]),
        np.array([e for e, *_ in rows]),
        np.array([float(i) for _, i, *_ in rows]),
    )


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_correlation_in_time_is_what_was_asked_for_and_is_found_again(seconds):
    eyes = NoisyEyes(uniform_noise(PROPOSITIONS, 0.85, correlation_seconds=seconds))
    found = detections_of_looks(eyes, 40, 60)
    assert correlation_time(found) == pytest.approx(seconds, abs=0.5)
    model = estimate_noise(found)
    for name in PROPOSITIONS:
        assert model.error(name, True) == pytest.approx(0.15, abs=0.05)


def test_files_of_models(tmp_path):
    path = tmp_path / "noise.json"
    model = NoiseModel(
        {"a": binormal_of_accuracy(0.9), "b": Empirical((0.7,), (0.1, 0.2))}, 2.0, 0.4
    )
    path.write_text(json.dumps(model.to_json()))
    read = load_noise(path)
    assert (read.threshold, read.correlation_seconds) == (0.4, 2.0)
    for name in ("a", "b"):
        assert read.error(name, True) == pytest.approx(model.error(name, True), abs=1e-5)
    assert read.error("unknown", True) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "not a noise model"),
        ({"propositions": {"a": 3}}, "a: a channel is an object"),
        ({"propositions": {"a": {"kind": "x"}}}, "no kind of channel 'x'"),
        ({"propositions": {"a": {"kind": "binormal", "mean_true": 1}}}, "has the numbers"),
        (
            {"propositions": {"a": {"kind": "empirical", "when_true": [2], "when_false": [0]}}},
            "lists",
        ),
        ({"propositions": {}, "threshold": 1}, "threshold 1"),
        ({"propositions": {}, "threshold": "x"}, "threshold cannot be 'x'"),
        ({"propositions": {}, "correlation_seconds": -1}, "correlation time -1"),
    ],
)
def test_bad_models(tmp_path, data, message):
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as error:
        load_noise(path)
    assert str(path) in str(error.value)


def test_bad_numbers():
    with pytest.raises(InputError, match=r"accuracy 0\.4"):
        binormal_of_accuracy(0.4)
    with pytest.raises(InputError, match="standard deviations"):
        Binormal(0, 0, 0, 1)
