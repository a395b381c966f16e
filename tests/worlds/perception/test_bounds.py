"""The coupling argument: pathwise, against exact probabilities, and for every specification."""

import numpy as np
import pytest
from golden import AFTER, BEFORE

from verifier.controller import Controller, Transition
from verifier.rules import load_rules
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary
from worlds.perception.bounds import Risk, letter_invariants
from worlds.perception.channels import Empirical
from worlds.perception.effect import (
    PERFECT,
    Setting,
    Sight,
    drive_all,
    effect_of,
    paired_difference,
)
from worlds.perception.effect_plots import band_picture, effect_picture
from worlds.perception.noise import NoiseModel, NoisyEyes, uniform_noise
from worlds.simulation.driver import Course
from worlds.simulation.registry import make_simulator

PAPER = SHIPPED["paper"]
VOCABULARY = load_vocabulary()
RULES = load_rules("paper", VOCABULARY)
UNDECIDED = Controller(
    0,
    2,
    (
        Transition(0, "!car_from_left", "turn_right", 2),
        Transition(0, "true", "stop", 1),
        Transition(1, "green_traffic_light | !pedestrian_at_right", "turn_right", 2),
        Transition(1, "green_traffic_light", "go_straight", 0),
    ),
)


@pytest.fixture(scope="module")
def simulator():
    return make_simulator("walk/traffic_light", VOCABULARY)


def setting(simulator, controller):
    return Setting(simulator, controller, "turn_right", Course(PAPER, 60), RULES, VOCABULARY)


@pytest.mark.parametrize("seconds", [0.0, 4.0])
@pytest.mark.parametrize("controller", [AFTER, BEFORE, UNDECIDED])
def test_runs_are_one_run_until_a_choice_differs(simulator, controller, seconds):
    where = setting(simulator, controller)
    truthful = drive_all(where, PERFECT, range(80))
    model = uniform_noise(simulator.propositions, 0.9, seconds)
    noisy = drive_all(where, Sight("x", NoisyEyes(model), model=model), range(80))
    assert any(a.errors and not a.differs for a in noisy)
    for seen, true in zip(noisy, truthful, strict=True):
        if not seen.differs:
            assert seen.episode.trace == true.episode.trace
            assert seen.violated == true.violated


@pytest.mark.parametrize("controller", [AFTER, BEFORE, UNDECIDED])
@pytest.mark.parametrize("accuracy", [0.8, 0.95])
def test_the_bound_holds_for_every_specification(simulator, controller, accuracy):
    where, seeds = setting(simulator, controller), range(400)
    truthful = drive_all(where, PERFECT, seeds)
    model = uniform_noise(simulator.propositions, accuracy)
    sight = Sight("x", NoisyEyes(model), model=model)
    noisy = drive_all(where, sight, seeds)
    found = effect_of(where, sight, noisy, truthful)
    bound = found.divergence
    assert bound is not None
    assert bound.independent <= bound.choice <= bound.relevant <= bound.any
    # The exact probability is measured: three standard deviations of 400 episodes.
    assert found.differs.value == pytest.approx(bound.independent, abs=3 * 0.5 / 20)
    for name, rate in found.satisfied.items():
        then = np.mean([name not in d.violated for d in truthful])
        assert abs((rate.value or 0) - then) <= (found.differs.value or 0) + 1e-12  # pathwise
        assert (rate.value or 0) >= found.lowest[name] - 3 * 0.5 / 20
    for name, most in found.letters.items():
        assert 1 - (found.satisfied[name].value or 0) <= most + 3 * 0.5 / 20
    if controller is AFTER:  # errors that make it wait break no letter
        assert found.letters["phi_5"] < 0.7 * bound.choice


def test_correlated_noise_keeps_the_union_bound(simulator):
    where, seeds = setting(simulator, AFTER), range(300)
    truthful = drive_all(where, PERFECT, seeds)
    model = uniform_noise(simulator.propositions, 0.85, correlation_seconds=5)
    sight = Sight("x", NoisyEyes(model), model=model)
    found = effect_of(where, sight, drive_all(where, sight, seeds), truthful)
    assert found.divergence is not None
    assert (found.differs.value or 0) <= found.divergence.choice + 3 * 0.5 / 17
    # Errors that last come together: fewer runs have one.
    assert (found.differs.value or 0) < found.divergence.independent
    assert found.letters == {}


def test_chances_by_hand(simulator):
    never = NoiseModel(
        {
            "car_from_left": Empirical((0.1, 0.9, 0.9, 0.9), (0.1,)),  # a quarter is missed
            "pedestrian_at_right": Empirical((0.1, 0.9), (0.1,)),  # half are missed
            "opposite_car": Empirical((0.1,), (0.9,)),  # always wrong, and never asked for
        }
    )
    risk = Risk(AFTER, PAPER, never, simulator.propositions, RULES)

    def at(state, *label):
        return risk._work_out(state, frozenset(label))

    assert at(0, "car_from_left").choice == 0  # its guard is "true"
    assert at(0, "car_from_left").any == pytest.approx(0.25)
    assert at(2, "car_from_left").choice == pytest.approx(0.25)
    both = at(2, "car_from_left", "pedestrian_at_right")
    assert both.relevant == pytest.approx(1 - 0.75 * 0.5)
    assert both.choice == pytest.approx(0.25 * 0.5)
    assert both.bad["phi_5"] == pytest.approx(0.25 * 0.5)
    assert at(2).choice == 0


def test_letter_invariants_are_those_about_one_letter():
    found = letter_invariants(RULES)
    assert set(found) == {
        "phi_2",
        "phi_3",
        "phi_5",
        "phi_6",
        "phi_9",
        "phi_11",
        "phi_12",
        "phi_14",
        "phi_15",
    }
    assert found["phi_5"](frozenset({"car_from_left", "stop"}))
    assert not found["phi_5"](frozenset({"car_from_left", "turn_right"}))


def test_better_eyes_violate_less(simulator):
    where, seeds = setting(simulator, AFTER), range(300)
    truthful = drive_all(where, PERFECT, seeds)
    held = []
    for accuracy in (0.7, 0.9, 0.99):
        sight = Sight("x", NoisyEyes(uniform_noise(simulator.propositions, accuracy)))
        found = effect_of(where, sight, drive_all(where, sight, seeds), truthful)
        assert found.divergence is None
        held.append(found.satisfied["phi_5"].value or 0)
    assert held == sorted(held)
    assert held[0] < 0.8 < 0.95 < held[-1]
    assert all("phi_5" not in d.violated for d in truthful)


def test_stopping_when_unsure_buys_safety_with_time(simulator):
    where, seeds = setting(simulator, AFTER), range(200)
    truthful = drive_all(where, PERFECT, seeds)
    model = uniform_noise(simulator.propositions, 0.9)
    rows = []
    for band in (0.0, 0.3, 0.45):
        sight = Sight("x", NoisyEyes(model), band, model)
        rows.append(effect_of(where, sight, drive_all(where, sight, seeds), truthful))
    assert rows[0].hesitations == 0 < rows[1].hesitations < rows[2].hesitations
    assert rows[0].seconds[0] < rows[2].seconds[0]
    assert (rows[0].satisfied["phi_5"].value or 0) + 0.04 < (rows[2].satisfied["phi_5"].value or 0)
    assert rows[1].divergence is None
    assert band_picture(rows, "bands").startswith(b"\x89PNG")
    assert effect_picture({"AFTER": rows}, "effect").startswith(b"\x89PNG")


def test_paired_differences():
    same = paired_difference(0, 0, 100)
    assert same.value == 0
    assert same.low < 0 < same.high < 0.03
    lost = paired_difference(2, 30, 100)
    assert lost.value == pytest.approx(-0.28)
    assert -0.4 < lost.low < -0.28 < lost.high < -0.15
