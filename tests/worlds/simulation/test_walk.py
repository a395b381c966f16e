"""The random walk: exactly the hand-written world's labels and steps."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.learned.tracking import Tracker
from worlds.load import load_world, shipped_worlds
from worlds.simulation.interface import Simulator
from worlds.simulation.registry import make_simulator, scenario_of, simulated_worlds

VOCABULARY = load_vocabulary()


@pytest.mark.parametrize("world", [w for w in shipped_worlds() if w != "free"])
def test_every_walk_is_one_of_the_world(world: str) -> None:
    simulator = make_simulator(f"walk/{world}", VOCABULARY)
    assert isinstance(simulator, Simulator)
    tracker = Tracker(load_world(world, VOCABULARY))
    for seed in range(3):
        simulator.reset(seed)
        labels = [simulator.observe()]
        for _ in range(40):
            simulator.step()
            labels.append(simulator.observe())
        assert tracker.breaks(labels) == []


def test_every_label_and_step_comes() -> None:
    simulator = make_simulator("walk/pedestrian_crossing", VOCABULARY)
    world = load_world("pedestrian_crossing", VOCABULARY)
    simulator.reset(0)
    labels = [simulator.observe()]
    for _ in range(2000):
        simulator.step()
        labels.append(simulator.observe())
    steps = {
        (world.labels[i], world.labels[j]) for i, row in enumerate(world.successors) for j in row
    }
    assert set(itertools.pairwise(labels)) == steps


def test_straight_on_is_made_from_the_line() -> None:
    simulator = make_simulator("walk/two_way_stop", VOCABULARY)
    simulator.reset(0)
    for progress, done in ((0.5, False), (1.0, True)):
        simulator.apply("go_straight")
        simulator.step()
        assert (simulator.status().progress, simulator.done) == (progress, done)
    assert simulator.status().manoeuvre == "go_straight"
    assert simulator.observe() == frozenset()


def test_pictures_tell_labels_apart() -> None:
    simulator = make_simulator("walk/light_with_left_arrow", VOCABULARY)
    pictures: dict[frozenset[str], np.ndarray] = {}
    simulator.reset(0)
    for _ in range(300):
        picture = pictures.setdefault(simulator.observe(), simulator.render())
        assert np.array_equal(picture, simulator.render())
        simulator.step()
        if len(pictures) == 20:
            break
    assert len({picture.tobytes() for picture in pictures.values()}) == 20


def test_refusals() -> None:
    simulator = make_simulator("walk/two_way_stop", VOCABULARY)
    with pytest.raises(InputError, match="walk/two_way_stop has not been reset"):
        simulator.observe()
    with pytest.raises(InputError, match="has no action 'fly'; use stop, turn_left"):
        simulator.apply("fly")


def test_names() -> None:
    assert scenario_of("walk/some/file.yaml") == "some/file.yaml"
    assert "walk/free" in simulated_worlds()
    assert "sumo/free" not in simulated_worlds()
    for name in ("traffic_light", "walk/", "moon/traffic_light"):
        with pytest.raises(InputError, match="name one as KIND/SCENARIO with KIND highway or sumo"):
            scenario_of(name)
    with pytest.raises(InputError, match="the world 'free' is not simulated"):
        make_simulator("sumo/free", VOCABULARY)


def test_walks_do_not_share_random_numbers() -> None:
    one, other = (make_simulator("walk/free", VOCABULARY) for _ in range(2))
    one.reset(1)
    other.reset(1)
    one.step()
    random.random()
    other.step()
    assert one.observe() == other.observe()
