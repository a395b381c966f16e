"""Labels: their geometry, their agreement with the scenarios' rules, and that all of them occur."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from highway_driving import SCENARIOS, VOCABULARY, act, simulator_of, standing

from worlds.highway.cars import OtherCar, free_arrival
from worlds.highway.labels import KERB, LOOK_AHEAD, at_kerb, comes, steps_on
from worlds.highway.objects import Pedestrian
from worlds.highway.signals import programme
from worlds.highway.simulator import HighwaySimulator
from worlds.load import load_world
from worlds.simulation.layout import layout_of


def _car(simulator: HighwaySimulator, front: float, speed: float) -> OtherCar:
    """A car from the left with its front at so many metres before the conflict area."""
    path = simulator.place.streams["car_from_left"][0]
    car = OtherCar(simulator._started(), path, path.enter - front - 2.5, speed, "car_from_left")
    car.committed = True
    return car


@pytest.fixture
def junction() -> HighwaySimulator:
    simulator = simulator_of("two_way_stop")
    simulator.reset(0)
    return simulator


def test_a_car_comes_within_the_seconds_of_look_ahead(junction: HighwaySimulator) -> None:
    speed = junction.place.streams["car_from_left"][0].limits[0]
    assert comes(_car(junction, speed * LOOK_AHEAD - 0.5, speed))
    assert not comes(_car(junction, speed * LOOK_AHEAD + 0.5, speed))


def test_a_car_that_has_to_wait_does_not_come(junction: HighwaySimulator) -> None:
    car = _car(junction, 10.0, 0.0)
    assert comes(car)
    car.committed = False
    assert not comes(car)


def test_a_car_comes_until_its_rear_has_left_the_square(junction: HighwaySimulator) -> None:
    car = _car(junction, 10.0, 8.0)
    for rear, expected in ((car.path.leave - 0.5, True), (car.path.leave + 0.5, False)):
        lane = junction.place.network.get_lane(car.path.lanes[-1])
        car.target_lane_index = car.path.lanes[-1]
        car.position = lane.position(rear + 2.5 - car.path.starts[-1], 0.0)
        assert comes(car) is expected


def test_free_arrival_is_that_of_uniform_acceleration() -> None:
    assert free_arrival(-1.0, 5.0, 9.0, 3.0) == 0.0
    assert free_arrival(18.0, 9.0, 9.0, 3.0) == pytest.approx(2.0)
    # From rest: 3 s and 13.5 m to reach 9 m/s, then 9 m in 1 s.
    assert free_arrival(13.5, 0.0, 9.0, 3.0) == pytest.approx(3.0)
    assert free_arrival(22.5, 0.0, 9.0, 3.0) == pytest.approx(4.0)
    assert free_arrival(1.5, 0.0, 9.0, 3.0) == pytest.approx(1.0)


def test_a_pedestrian_counts_from_the_decision_to_step_off_until_across(
    junction: HighwaySimulator,
) -> None:
    walk = junction.place.walks["E"]
    walker = Pedestrian(junction._started(), walk, 1, 1.0, False, 0.0, 3.0, 0.0)
    assert not steps_on(walker)
    for _ in range(40):
        walker.step(0.1)
    assert walker.to_kerb == pytest.approx(0.6)  # waits beside the road
    assert not steps_on(walker)
    walker.going = True
    assert steps_on(walker)
    while walker.on_road or walker.to_kerb > 0:
        assert steps_on(walker)
        walker.step(0.1)
    assert not steps_on(walker)
    assert walker.across > walk.half


def test_kerbs_of_a_crossing() -> None:
    simulator = simulator_of("pedestrian_crossing")
    simulator.reset(0)
    walk = simulator.place.walks["S"]
    walker = Pedestrian(simulator._started(), walk, 1, 1.0, False, 0.0, 3.0, 0.0)
    for u, left, right, road in (
        (-walk.half - KERB - 0.1, False, False, False),
        (-walk.half - KERB + 0.1, True, False, False),
        (0.0, False, False, True),
        (walk.half + 0.1, False, True, False),
        (walk.half + KERB + 0.1, False, False, False),
    ):
        walker.u = u
        assert (at_kerb(walker, -1), at_kerb(walker, 1), walker.on_road) == (left, right, road)


def test_sides_are_seen_from_our_car(junction: HighwaySimulator) -> None:
    """x points right, y down and we come from below."""
    place = junction.place
    assert place.walks["S"].centre[1] > 0
    assert place.walks["W"].centre[0] < 0
    assert place.walks["E"].centre[0] > 0
    start = {
        name: place.network.get_lane(paths[0].lanes[0]).position(0.0, 0.0)
        for name, paths in place.streams.items()
    }
    assert start["car_from_left"][0] < -50
    assert start["car_from_right"][0] > 50
    assert start["opposite_car"][1] < -50


def test_paths_are_continuous() -> None:
    for scenario in SCENARIOS:
        place = simulator_of(scenario).place
        paths = [
            *place.manoeuvres.values(),
            *(p for paths in place.streams.values() for p in paths),
        ]
        for path in paths:
            lanes = [place.network.get_lane(index) for index in path.lanes]
            for one, two in pairwise(lanes):
                assert np.allclose(one.position(one.length, 0), two.position(0, 0), atol=1e-6)
                turn = one.heading_at(one.length) - two.heading_at(0)
                assert abs((turn + np.pi) % (2 * np.pi) - np.pi) < 1e-6


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_that_can_be_observed_occurs(scenario: str) -> None:
    missing = set(simulator_of(scenario).propositions)
    for seed in range(4):
        for simulator in standing(scenario, seed, 100):
            missing -= simulator.observe()
            if not missing:
                return
    assert not missing


def _labels(scenario: str, seeds: range, seconds: int) -> list[list[frozenset[str]]]:
    return [[s.observe() for s in standing(scenario, seed, seconds)] for seed in seeds]


def _impossible(scenario: str, labels: list[frozenset[str]]) -> list[tuple[frozenset[str], ...]]:
    """Labels, and pairs of them in a row, that the hand-written scenario excludes."""
    world = load_world(scenario, VOCABULARY)
    found: list[tuple[frozenset[str], ...]] = []
    states = set(range(len(world.labels)))
    for before, now in pairwise([frozenset(), *labels]):
        here = {state for state, label in enumerate(world.labels) if label == now}
        if not here:
            found.append((now,))
            states = set(range(len(world.labels)))
            continue
        if not states & here:
            found.append((before, now))
        states = {after for state in (states & here or here) for after in world.successors[state]}
    return found


_DIFFERENT = {
    "paper_traffic_light",  # hazards come together; see the page of these worlds
}


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s not in _DIFFERENT])
def test_what_is_seen_is_possible_in_the_scenario(scenario: str) -> None:
    """While our car stands, and while it drives up to the line, which takes several seconds."""
    for labels in _labels(scenario, range(20, 21), 90):
        assert _impossible(scenario, labels) == []
    simulator = simulator_of(scenario)
    if "go_straight" not in simulator.actions:
        return
    for seed in range(7):
        simulator.reset(seed)
        labels = [simulator.observe()]
        for action in ("go_straight", "stop", "stop"):
            act(simulator, action)
            labels.append(simulator.observe())
        assert _impossible(scenario, labels) == []


@pytest.mark.parametrize("scenario", sorted(_DIFFERENT))
def test_the_differences_on_the_page_are_real(scenario: str) -> None:
    labels = _labels(scenario, range(1), 100)[0]
    assert _impossible(scenario, labels)
    assert all(len(pair) == 1 for pair in _impossible(scenario, labels))


def test_the_labels_keep_the_invariants_of_the_lights() -> None:
    for labels in _labels("light_with_left_arrow", range(2), 90):
        for before, now in pairwise(labels):
            assert not {"green_traffic_light", "green_left_turn_light"} <= now
            assert "opposite_car" not in now or "green_traffic_light" in now
            if "green_left_turn_light" in before:
                assert now & {"green_left_turn_light", "green_traffic_light"}
            elif "green_traffic_light" in before:
                assert "green_left_turn_light" not in now
            else:
                assert "green_traffic_light" not in now
    for labels in _labels("left_turn_light", range(1), 90):
        for before, now in pairwise(labels):
            assert not {"green_left_turn_light", "flashing_left_turn_light"} <= now
            assert not ("green_left_turn_light" in before and "flashing_left_turn_light" in now)
            assert not ("flashing_left_turn_light" in before and "green_left_turn_light" in now)


def test_opposite_cars_share_our_light() -> None:
    for scenario in ("traffic_light", "unprotected_left_turn"):
        for labels in _labels(scenario, range(5, 6), 90):
            assert any("opposite_car" in now for now in labels)
            assert all("green_traffic_light" in now for now in labels if "opposite_car" in now)


def test_cars_take_turns_where_all_have_to_stop() -> None:
    turns = 0
    for labels in _labels("all_way_stop", range(2), 100):
        for before, now in pairwise(labels):
            cars = now & {"opposite_car", "car_from_left", "car_from_right"}
            assert len(cars) <= 1
            turns += bool(cars - before)
    assert turns >= 6


@pytest.mark.parametrize("scenario", ["pedestrian_crossing", "signalised_crossing"])
def test_whoever_is_in_front_was_at_a_kerb(scenario: str) -> None:
    for labels in _labels(scenario, range(2), 90):
        for before, now in pairwise(labels):
            assert "pedestrian_in_front" not in now or before & {
                *("pedestrian_in_front", "pedestrian_at_left", "pedestrian_at_right"),
            }


def test_programmes_never_let_crossing_directions_go_together() -> None:
    for scenario in SCENARIOS:
        for phase in programme(layout_of(scenario, VOCABULARY)):
            ours = {phase.own, phase.opposite} - {"red"} or phase.arrow != "dark"
            assert not (ours and phase.crossing != "red")
            assert not (phase.arrow == "green" and phase.opposite != "red")
            assert not (phase.walk | phase.late) & {"S"} or not ours
            assert not (phase.walk | phase.late) & {"W", "E"} or phase.crossing == "red"
            assert "W" not in phase.walk or phase.arrow != "green"


def test_other_cars_never_touch_each_other_or_a_pedestrian() -> None:
    for scenario in ("traffic_light", "two_way_stop", "roundabout", "all_way_stop"):
        for simulator in standing(scenario, 1, 90):
            cars, people = simulator.traffic.all, simulator.walkers.all
            for i, car in enumerate(cars):
                for other in [*cars[:i], *people]:
                    touching, _, _ = car._is_colliding(other, 0.0)
                    assert not touching, scenario
