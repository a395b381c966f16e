"""Feedback by simulation: what it says, against the model checker, and what repair makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_controllers import ROAD, VOCABULARY

from pipeline.config import RunConfig, SimulateConfig
from pipeline.evaluation import Judge
from pipeline.feedback import can_be_judged, judging
from pipeline.repair.symbolic import repair
from pipeline.simulated_checker import Evidence, Limits, SimulatedChecker, as_lasso
from pipeline.tasks import Task
from verifier.controller import Controller, Transition
from verifier.lasso_evaluation import holds
from verifier.rules import progress_specification
from verifier.semantics import load_semantics
from verifier.steps import steps_to_controller
from worlds.load import load_world
from worlds.simulation.driver import Course, drive
from worlds.simulation.registry import make_simulator

WORLD = "two_way_stop"
PROPOSITIONS = load_world(WORLD, VOCABULARY).propositions
RULES = ROAD.with_specification(progress_specification("turn_right"))
SEMANTICS = load_semantics("default")
TASK = Task("t", "turn right at the stop sign", WORLD, "turn_right", "train")
GOOD = """\
1. Stop.
2. If there is no car from left and no pedestrian at right and no pedestrian in front, turn right.
"""
HASTY = "1. Stop.\n2. If there is no car from left, turn right.\n"
CONFIG = RunConfig(
    feedback="simulated", simulate=SimulateConfig(simulator="walk", episodes=12, workers=1)
)


def walks(scenario, controller, seeds):
    simulator = make_simulator(f"walk/{scenario}", VOCABULARY)
    course = Course(SEMANTICS)
    return [drive(simulator, controller, None, seed, course) for seed in seeds]


LIMITS = Limits(40, 3, 0.75)


def checker(limits=LIMITS, drive=walks) -> SimulatedChecker:
    return SimulatedChecker(
        WORLD, PROPOSITIONS, RULES, SEMANTICS, VOCABULARY, Evidence(drive, limits)
    )


def read(text: str) -> Controller:
    controller = steps_to_controller(text, VOCABULARY, SEMANTICS.conditional).controller
    assert controller is not None
    return controller


guards = st.lists(
    st.sampled_from([p for name in PROPOSITIONS for p in (name, f"!{name}")]), max_size=4
).map(lambda literals: " & ".join(literals) or "true")
actions = st.sampled_from(["epsilon", "stop", "turn_right", "turn_left", "go_straight"])


@st.composite
def controllers(draw) -> Controller:
    states = draw(st.integers(1, 3))
    moves = st.tuples(st.integers(0, states - 1), guards, actions, st.integers(0, states))
    rows = draw(st.lists(moves, min_size=1, max_size=5))
    return Controller(0, states, tuple(Transition(*row) for row in rows))


@given(controllers())
@settings(max_examples=60, deadline=None)
def test_what_walks_break_is_not_proven(controller):
    simulated = checker(Limits(8, 3, 0.75)).check(controller)
    formal = Judge(VOCABULARY, SEMANTICS).model_checker(WORLD, RULES).check(controller)
    for seen, proven in zip(simulated.verdicts[:-1], formal.verdicts[:-1], strict=True):
        assert not (seen.value == "violated" and proven.holds)
        assert (seen.value == "inapplicable") == (proven.value == "inapplicable")
        if seen.counterexample is not None:
            run = seen.counterexample
            letters = [[m.letter for m in part] for part in (run.prefix, run.cycle)]
            assert not holds(seen.formula, *letters)
            assert seen.explanation


def test_frequencies_are_told_and_bad_controllers_given_up():
    report = checker().check(read(GOOD))
    told = {v.id: (v.value, v.reason) for v in report.verdicts if v.value != "inapplicable"}
    assert told["yield_to_left"] == ("satisfied", "in 40 of 40 episodes")
    assert told["progress_turn_right"] == ("satisfied", "in 40 of 40 episodes")
    assert {reason for _, reason in told.values()} == {"in 40 of 40 episodes"}
    hasty = {v.id: v for v in checker().check(read(HASTY)).verdicts}
    assert hasty["pedestrian_right"].value == "violated"
    seen, _, episodes = str(hasty["pedestrian_right"].reason).removeprefix("in ").partition(" of ")
    assert 1 <= int(seen) <= 3
    assert int(episodes.removesuffix(" episodes")) < 40


def test_lost_episodes_verify_nothing():
    def lossy(scenario, controller, seeds):
        return [None if seed == 5 else walks(scenario, controller, [seed])[0] for seed in seeds]

    values = {v.value for v in checker(drive=lossy).check(read(GOOD)).verdicts}
    assert values == {"unknown", "inapplicable"}
    broken = {v.value for v in checker(drive=lossy).check(read(HASTY)).verdicts}
    assert "violated" in broken


def test_an_unfinished_episode_repeats_its_last_round():
    stuck = Controller(
        0, 2, (Transition(0, "true", "epsilon", 1), Transition(1, "true", "stop", 0))
    )
    (episode,) = walks(WORLD, stuck, [0])
    run = as_lasso(episode)
    assert episode.outcome == "unfinished"
    assert [m.state for m in run.cycle] in ([0, 1], [1, 0])


def test_repair_learns_from_simulated_counterexamples():
    with judging(CONFIG) as judge:
        judged = judge.judge(TASK, HASTY)
        assert not judged.strict_success
        assert "pedestrian_right" in judged.violated
        (repaired,) = repair(judge, TASK, HASTY)
    assert Judge(VOCABULARY, SEMANTICS).judge(TASK, repaired.text).strict_success


@pytest.mark.parametrize("kind", ["simulated", "both"])
def test_all_kinds_of_feedback_accept_what_is_right(kind):
    with judging(CONFIG.model_copy(update={"feedback": kind})) as judge:
        assert judge.judge(TASK, GOOD).strict_success
        assert not judge.judge(TASK, "1. Stop.\n").strict_success
        assert not judge.judge(TASK, "Turn now!").strict_success


def test_both_finds_what_either_finds():
    impatient = SimulateConfig(simulator="walk", episodes=3, workers=1, max_seconds=1.0)
    config = CONFIG.model_copy(update={"feedback": "both", "simulate": impatient})
    with judging(config) as judge:  # proven, and never done within a second
        judged = judge.judge(TASK, GOOD)
    assert judged.progress == "violated"
    assert not judged.violated


def test_only_worlds_that_can_be_simulated_are_asked_about():
    sumo = RunConfig(feedback="simulated")
    assert can_be_judged(TASK, sumo, VOCABULARY)
    universal = Task("u", "turn right", "universal", "turn_right", "train")
    assert not can_be_judged(universal, sumo, VOCABULARY)
    assert can_be_judged(universal, RunConfig(), VOCABULARY)
