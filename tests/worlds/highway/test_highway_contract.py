"""Highway simulators keep the interface's promises."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env
from highway_driving import SCENARIOS, VOCABULARY, act, simulator_of

import worlds.highway
from verifier.errors import InputError
from worlds.highway.pictures import SIZE
from worlds.highway.simulator import make
from worlds.practice import practice_worlds
from worlds.simulation.check import check_simulator
from worlds.simulation.interface import STOP, Simulator
from worlds.simulation.layout import layout_of
from worlds.simulation.registry import make_simulator


@pytest.mark.parametrize("scenario", ["traffic_light", "pedestrian_crossing"])
def test_check_simulator_finds_no_error(scenario: str) -> None:
    findings = check_simulator(
        lambda: make_simulator(f"highway/{scenario}", VOCABULARY), VOCABULARY, seeds=(0, 1)
    )
    assert [str(f) for f in findings if f.severity == "error"] == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_a_simulator_that_can_be_seen(scenario: str) -> None:
    simulator = simulator_of(scenario)
    simulator.reset(0)
    assert isinstance(simulator, Simulator)
    assert simulator.observe() <= set(simulator.propositions)
    picture = simulator.render()
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def _history(seed: int) -> list[tuple[frozenset[str], float, float]]:
    simulator = make(layout_of("traffic_light", VOCABULARY), "highway/traffic_light")
    simulator.reset(seed)
    seen = []
    for action in ("stop", "go_straight", "stop", "stop", "stop", "stop"):
        act(simulator, action)
        cars = sum(float(car.position.sum()) for car in simulator.traffic.all)
        seen.append((simulator.observe(), float(simulator.own.position.sum()), cars))
    return seen


def test_equal_seeds_give_equal_simulations_to_the_last_bit() -> None:
    first = _history(5)
    np.random.seed(1)
    assert _history(5) == first
    assert _history(6) != first


def test_looking_changes_nothing() -> None:
    simulator = simulator_of("two_way_stop")
    histories = []
    for looks in (0, 1):
        simulator.reset(3)
        for _ in range(5):
            for _ in range(looks):
                simulator.render()
                simulator.observe()
                simulator.status()
            act(simulator, STOP)
        histories.append([car.position.tolist() for car in simulator.traffic.all])
    assert histories[0] == histories[1]


def test_the_picture_shows_what_the_light_shows() -> None:
    simulator = simulator_of("traffic_light")
    simulator.reset(0)
    light = next(
        f for f in simulator.fixtures if type(f).__name__ == "TrafficLight" and f.arm == "S"
    )
    pictures = {}
    for colour in ("red", "yellow", "green"):
        light.colour = colour  # type: ignore[attr-defined]
        pictures[colour] = simulator.render().astype(int)
    changed = np.argwhere(np.abs(pictures["red"] - pictures["green"]).sum(axis=2) > 100)
    assert 50 < len(changed) < 2000  # two lamps, nothing else
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    lamps = {
        c: p[top : bottom + 1, left : right + 1].mean(axis=(0, 1)) for c, p in pictures.items()
    }
    assert lamps["red"][0] > lamps["green"][0]
    assert lamps["green"][1] > lamps["red"][1]


@pytest.mark.parametrize("seed", [1])
def test_practice_worlds_are_simulated(tmp_path: Path, seed: int) -> None:
    for world in practice_worlds(8, seed, VOCABULARY):
        file = tmp_path / f"{world.name}.yaml"
        file.write_text(yaml.safe_dump(world.scenario))
        simulator = make_simulator(f"highway/{file}", VOCABULARY)
        simulator.reset(0)
        seen, always = set(), set(simulator.propositions)
        for _ in range(55):
            label = simulator.observe()
            seen |= label
            always &= label
            act(simulator, STOP)
        assert seen <= set(world.propositions)
        lights = {name for name in world.propositions if "light" in name}
        assert lights <= seen
        # A sign that stands there is seen always, one that is held up is not.
        junction = "stop_sign" in world.propositions and bool(simulator.traffic.streams)
        assert always == ({"stop_sign"} if junction else set())


def test_an_action_that_does_not_exist_is_refused() -> None:
    simulator = simulator_of("t_junction")
    simulator.reset(0)
    with pytest.raises(
        InputError, match=r"no action 'go_straight'; use stop, turn_left, turn_right"
    ):
        simulator.apply("go_straight")


def test_a_layout_without_lights_has_none_and_only_its_own_cars() -> None:
    simulator = simulator_of("driveway_exit")
    simulator.reset(0)
    assert set(simulator.traffic.streams) == {"car_from_left", "car_from_right"}
    assert not [f for f in simulator.fixtures if type(f).__name__ == "TrafficLight"]
    assert simulator.place.arms == "SWE"  # nobody comes from or goes to the north
    assert set(simulator.place.walks) == {"S"}


@pytest.mark.parametrize("name", list(worlds.highway.IDS))
@pytest.mark.filterwarnings("ignore")
def test_gymnasium_accepts_the_environments(name: str) -> None:
    environment = gymnasium.make(name, render_mode="rgb_array")
    check_env(environment.unwrapped)


def test_an_environment_is_the_simulator() -> None:
    environment = gymnasium.make("specdrive/highway-junction-v0", scenario="t_junction")
    observation, info = environment.reset(seed=1)
    plain = environment.unwrapped
    assert plain.actions == ("stop", "turn_left", "turn_right")  # type: ignore[attr-defined]
    assert [bool(x) for x in observation] == [
        name in info["label"]
        for name in plain.propositions  # type: ignore[attr-defined]
    ]
    _, reward, terminated, truncated, info = environment.step(2)
    assert terminated != truncated or not (terminated or truncated)
    assert info["seconds"] > 3  # a manoeuvre lasts until it is made
    assert (reward > 0) == (info["manoeuvre"] == "turn_right")


def test_an_environment_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="is a roundabout, not a junction"):
        gymnasium.make("specdrive/highway-junction-v0", scenario="roundabout")
