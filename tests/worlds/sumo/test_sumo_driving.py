"""Controllers driven in SUMO: right decisions are safe, wrong ones have consequences."""

from collections.abc import Callable

import pytest
from golden import AFTER, BEFORE
from reference_controllers import REFERENCE, reference_controller

from verifier.controller import Controller
from verifier.finite import check_trace
from verifier.rules import RuleBook, load_rules
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary
from worlds.simulation.driver import Course, drive
from worlds.simulation.episode import Episode
from worlds.simulation.interface import Simulator, Status
from worlds.simulation.registry import make_simulator, simulated_worlds
from worlds.statistics import wilson

VOCABULARY = load_vocabulary()
SIMULATED = [name.split("/")[1] for name in simulated_worlds() if name.startswith("sumo/")]
TASKS = [(world, action) for world, action in REFERENCE if world in SIMULATED]


def make(scenario: str) -> Simulator:
    return make_simulator(f"sumo/{scenario}", VOCABULARY)


@pytest.mark.parametrize(("world", "action"), TASKS)
def test_a_careful_driver_arrives_and_hits_nobody(world: str, action: str):
    simulator, controller = make(world), reference_controller(world, action)
    course = Course(SHIPPED["default"])
    episodes = [drive(simulator, controller, action, seed, course) for seed in range(6)]
    assert [e.seed for e in episodes if e.status.collision] == []
    assert sum(e.outcome == "finished" for e in episodes) >= 5
    assert all(e.status.hardest_braking < 3.1 for e in episodes)
    simulator.close()


@pytest.mark.parametrize(("world", "action"), TASKS)
def test_every_manoeuvre_ends_at_its_exit(world: str, action: str):
    simulator = make(world)
    statuses = [carelessly(simulator, action, lambda _: True, seed) for seed in range(5)]
    through = [status for status in statuses if status.manoeuvre]
    assert through
    assert all(s.manoeuvre == action and s.progress == 1.0 for s in through)
    simulator.close()


def carelessly(
    simulator: Simulator, action: str, when: Callable[[frozenset[str]], bool], seed: int
) -> Status:
    """Wait for a moment of a kind, and then do nothing but the action."""
    simulator.reset(seed)
    started = False
    while not simulator.done and simulator.status().seconds < 120:
        started = started or when(simulator.observe())
        simulator.apply(action if started else "stop")
        simulator.step()
        while not (simulator.ready or simulator.done):
            simulator.step()
    return simulator.status()


@pytest.mark.parametrize(
    ("world", "action", "danger"),
    [
        ("two_way_stop", "turn_left", "car_from_left"),
        ("two_way_stop", "turn_left", "car_from_right"),
        ("unprotected_left_turn", "turn_left", "opposite_car"),
        ("traffic_light", "go_straight", "car_from_left"),
        ("all_way_stop", "turn_left", "car_from_left"),
        ("roundabout", "turn_right", "car_from_left"),
        ("driveway_exit", "turn_left", "pedestrian_in_front"),
        ("t_junction", "turn_right", "pedestrian_at_right"),
        ("pedestrian_crossing", "go_straight", "pedestrian_in_front"),
    ],
)
def test_whoever_goes_into_danger_gets_hurt_at_times(world: str, action: str, danger: str):
    simulator = make(world)
    statuses = [carelessly(simulator, action, lambda seen: danger in seen, s) for s in range(15)]
    kind = "pedestrian" if danger.startswith("pedestrian") else "car"
    hurt = [s for s in statuses if s.collision == kind or s.others_hardest_braking > 4.0]
    assert hurt
    simulator.close()


def driven(controller: Controller, episodes: int) -> list[Episode]:
    simulator = make("traffic_light")
    course = Course(SHIPPED["paper"])
    found = [drive(simulator, controller, "turn_right", seed, course) for seed in range(episodes)]
    simulator.close()
    return found


def test_the_papers_controllers_differ_on_phi_5():
    before, after = phi_5_violations(BEFORE), phi_5_violations(AFTER)
    assert after == 0
    # Intervals that do not overlap.
    low, high = wilson(before, 60).low, wilson(after, 60).high
    assert low > high


def phi_5_violations(controller: Controller) -> int:
    """Of 60 episodes."""
    paper = load_rules("paper", VOCABULARY)
    phi_5 = RuleBook("phi_5", tuple(s for s in paper.specifications if s.id == "phi_5"))
    episodes = driven(controller, 60)
    assert sum(e.status.manoeuvre == "turn_right" for e in episodes) >= 50
    # The rule speaks about single letters, of which it sees three names: equal cases are one.
    names = {"car_from_left", "pedestrian_at_right", "turn_right"}
    cases = [tuple(sorted({letter & names for letter in e.trace}, key=sorted)) for e in episodes]
    verdict = {case: check_trace(case, phi_5, VOCABULARY)[0].value for case in set(cases)}
    return [verdict[case] for case in cases].count("violated")


def test_equal_seeds_give_equal_episodes():
    one, other = driven(BEFORE, 5), driven(BEFORE, 5)
    assert [e.hash for e in one] == [e.hash for e in other]
    assert len({e.hash for e in one}) == 5
