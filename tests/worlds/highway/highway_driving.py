"""Helpers: simulators by scenario, and drivers that stand still or keep the rules."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache

from verifier.vocabulary import load_vocabulary
from worlds.highway.simulator import HighwaySimulator, make
from worlds.simulation.interface import STOP
from worlds.simulation.layout import layout_of

VOCABULARY = load_vocabulary()
SCENARIOS = (
    *("all_way_stop", "driveway_exit", "exit_ramp", "left_turn_light", "light_with_left_arrow"),
    *("paper_traffic_light", "pedestrian_crossing", "roundabout", "signalised_crossing"),
    *("t_junction", "traffic_light", "two_way_stop", "unprotected_left_turn"),
)

_IN_THE_WAY = {
    "turn_left": {
        *("opposite_car", "car_from_left", "car_from_right"),
        *("pedestrian_at_left", "pedestrian_in_front"),
    },
    "turn_right": {"car_from_left", "pedestrian_at_right", "pedestrian_in_front"},
    "go_straight": {"car_from_left", "car_from_right", "pedestrian_in_front"},
}


@lru_cache(maxsize=32)
def simulator_of(scenario: str) -> HighwaySimulator:
    return make(layout_of(scenario, VOCABULARY), f"highway/{scenario}")


def standing(scenario: str, seed: int, seconds: int) -> Iterator[HighwaySimulator]:
    """A simulation in which our car stands still, second by second."""
    simulator = simulator_of(scenario)
    simulator.reset(seed)
    for _ in range(seconds):
        yield simulator
        simulator.apply(STOP)
        simulator.step()


def act(simulator: HighwaySimulator, action: str) -> None:
    """Carry out a decision."""
    simulator.apply(action)
    simulator.step()
    while not (simulator.ready or simulator.done):
        simulator.step()


def allowed(simulator: HighwaySimulator, action: str, label: Set[str]) -> bool:
    """Whether a lawful driver begins a manoeuvre."""
    hazards = _IN_THE_WAY[action] & label
    if simulator.place.shape == "crossing":
        hazards |= {"pedestrian_at_left", "pedestrian_at_right"} & label
    if action == "turn_left" and "green_left_turn_light" in label:
        hazards -= {"opposite_car"}
    lights = set(simulator.layout.lights)
    if action != "turn_left":
        lights &= {"green_traffic_light"}
    return not hazards and (not lights or bool(lights & label))


def drive_lawfully(simulator: HighwaySimulator, action: str, seed: int, limit: float) -> None:
    """Make a manoeuvre as soon as it is allowed."""
    simulator.reset(seed)
    while not simulator.done and simulator.status().seconds < limit:
        up = action == "go_straight" and not simulator.own.at_line
        go = up or allowed(simulator, action, simulator.observe())
        act(simulator, action if go else STOP)
