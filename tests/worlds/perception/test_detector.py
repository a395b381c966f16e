"""A tiny detector on a tiny simulator: it learns, is reproducible, is saved, and is used as eyes."""

import json

import numpy as np
import pytest
import torch
from golden import AFTER
from little_junction import PROPOSITIONS, LittleJunction

from verifier.errors import InputError
from verifier.semantics import SHIPPED
from worlds.perception.conditions import CONDITIONS, condition
from worlds.perception.detector import Network, load_detector, save_detector
from worlds.perception.detector_eyes import DetectorEyes
from worlds.perception.detector_training import Training, train_detector
from worlds.perception.eyes import seen_through
from worlds.perception.frames import collect, joined, shrink
from worlds.perception.quality import quality_of
from worlds.simulation.driver import Course, drive

TINY = Training(epochs=12, batch=16, channels=(4, 8), hidden=16, seed=1)


@pytest.fixture(scope="module")
def frames():
    return collect(LittleJunction(), range(200), 300, size=32)


@pytest.fixture(scope="module")
def detector(frames):
    return train_detector(frames, TINY)


def test_samples_know_the_picture_before(frames):
    assert len(frames) == 300
    first = np.r_[True, frames.episode[1:] != frames.episode[:-1]]
    assert (frames.before[first] == frames.now[first]).all()
    assert (frames.before[~first] == frames.now[~first] - 1).all()
    for i in (0, 100, 299):
        picture, label = frames.pictures[frames.now[i]], frames.labels[i]
        shown = [
            tuple(picture[t, left]) != (110, 110, 110) for t, left in ((4, 24), (14, 4), (20, 24))
        ]
        assert shown == label.tolist()


def test_it_learns(detector):
    fresh = collect(LittleJunction(), range(5000, 5200), 150, size=32)
    found = detector.detect(fresh)
    for row in quality_of(found, replicates=20):
        assert (row.auc.value or 0) > 0.99
        assert (row.misses or 0) < 0.05
    darker = fresh.under(CONDITIONS["night"], 0)
    assert darker.domain == "little/junction, night"
    worse = quality_of(detector.detect(darker), replicates=20)
    assert sum(r.misses or 0 for r in worse) > sum(
        r.misses or 0 for r in quality_of(found, replicates=20)
    )


def test_equal_seeds_equal_detectors(frames):
    short = Training(epochs=2, channels=(4, 8), hidden=16, seed=3)
    one, two = train_detector(frames, short), train_detector(frames, short)
    assert one.card["losses"] == two.card["losses"]
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_round_trip(detector, frames, tmp_path):
    save_detector(detector, tmp_path / "d")
    read = load_detector(tmp_path / "d")
    some = frames.samples(np.arange(len(frames)) < 20)
    assert (read.detect(some).confidence == detector.detect(some).confidence).all()
    card = json.loads((tmp_path / "d" / "detector.json").read_text())
    assert card["propositions"] == list(PROPOSITIONS)
    assert card["parameters"] == detector.parameters < 300_000


def test_the_full_network_is_small():
    assert sum(p.numel() for p in Network(10, 96).parameters()) < 200_000
    with pytest.raises(InputError, match="a multiple of 16"):
        Network(10, 100)


def test_as_eyes(detector):
    simulator = LittleJunction()
    right = total = 0
    for seed in range(10):
        course, gaze = seen_through(Course(SHIPPED["paper"], 20), DetectorEyes(detector), seed)
        episode = drive(simulator, AFTER, "turn_right", seed, course)
        again, _ = seen_through(Course(SHIPPED["paper"], 20), DetectorEyes(detector), seed)
        assert drive(simulator, AFTER, "turn_right", seed, again).hash == episode.hash
        right += sum(d.seen == d.label for d in episode.decisions)
        total += len(episode.decisions)
        assert set(gaze.confidences[0]) == set(PROPOSITIONS)
    assert right > 0.9 * total


def test_eyes_see_what_detection_of_frames_sees(detector, frames):
    eyes, simulator = DetectorEyes(detector), LittleJunction()
    expected = detector.detect(frames).confidence.reshape(-1, len(PROPOSITIONS))
    seed = int(frames.episode[0])
    simulator.reset(seed)
    eyes.open(seed)
    for row in expected[: int((frames.episode == seed).sum())]:
        assert list(eyes.look(simulator).values()) == pytest.approx(row.tolist(), abs=1e-5)
        simulator.step()
        eyes.watch(simulator)


def test_what_does_not_fit_is_refused(detector, frames, tmp_path):
    other = LittleJunction()
    other.propositions = ("green_traffic_light",)
    with pytest.raises(InputError, match="differ in what can be observed: car_from_left"):
        DetectorEyes(detector).look(other)
    with pytest.raises(InputError, match="16 pixels for a detector of 32"):
        detector.detect(collect(LittleJunction(), range(50), 10, size=16))
    with pytest.raises(InputError, match=r"detector\.json"):
        load_detector(tmp_path)
    save_detector(detector, tmp_path)
    (tmp_path / "detector.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"detector\.safetensors"):
        load_detector(tmp_path)
    with pytest.raises(InputError, match="1 episode of pictures"):
        train_detector(frames.samples(frames.episode == 0), TINY)
    with pytest.raises(InputError, match="pictures in 1 episodes"):
        collect(LittleJunction(), range(1), 100, size=32)


def test_pictures_are_cut_and_shrunk():
    wide = np.zeros((40, 80, 3), dtype=np.uint8)
    wide[:, 20:60] = 200
    wide[:, 50:60] = 100
    both = shrink(wide, 20)
    assert both.shape == (40, 20, 3)
    assert (both[:20, :15] == 200).all()
    assert (both[:20, 15:] == 100).all()
    assert (both[20:] == 200).all()  # the middle third
    with pytest.raises(InputError, match="smaller than 64"):
        shrink(wide, 64)
    with pytest.raises(InputError, match="of shape"):
        shrink(wide.astype(np.float64), 20)


def test_conditions():
    picture = np.full((8, 8, 3), 100, dtype=np.uint8)
    chance = np.random.default_rng(0)
    assert condition("day")(picture, chance) is picture
    assert condition("night")(picture, chance).mean() == pytest.approx(30, abs=3)
    assert condition("fog")(picture, chance).mean() == pytest.approx(160, abs=2)
    with pytest.raises(InputError, match="no condition 'snow'"):
        condition("snow")


def test_joined_parts_keep_their_pictures_and_episodes_apart(frames):
    both = joined([frames, frames])
    assert len(both) == 600
    assert (both.pictures[both.now[300:]] == frames.pictures[frames.now]).all()
    assert not set(both.episode[:300]) & set(both.episode[300:])
