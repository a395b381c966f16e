"""The judges are judged: the tableau against known verdicts, direct evaluation and NuSMV."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import brute_force, components, product_graph

from verifier.controller import Controller, Transition
from verifier.lasso_evaluation import holds
from verifier.rules import load_rules
from verifier.semantics import Semantics
from verifier.transition_system import make_transition_system
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
GREEN = "green_traffic_light"
WORLD = make_transition_system(
    "paper_traffic_light",
    {
        "p0": [GREEN],
        "p1": ["car_from_left"],
        "p2a": [GREEN, "opposite_car"],
        "p2b": [GREEN, "pedestrian_at_left"],
        "p3": [GREEN, "pedestrian_at_right"],
        "p4": [],
    },
    assumptions=[
        "GF(green_traffic_light & !pedestrian_at_left & !pedestrian_at_right & "
        "!pedestrian_in_front & !stop_sign & !car_from_left & !opposite_car)"
    ],
)
BEFORE = Controller(
    0,
    5,
    (
        Transition(0, "true", "epsilon", 1),
        Transition(1, "!green_traffic_light", "epsilon", 1),
        Transition(1, "green_traffic_light", "go_straight", 2),
        Transition(2, "true", "epsilon", 3),
        Transition(3, "car_from_left", "epsilon", 3),
        Transition(3, "!car_from_left", "epsilon", 4),
        Transition(4, "pedestrian_at_right", "epsilon", 4),
        Transition(4, "!pedestrian_at_right", "turn_right", 5),
    ),
)
AFTER = Controller(
    0,
    3,
    (
        Transition(0, "true", "epsilon", 1),
        Transition(1, "true", "epsilon", 2),
        Transition(2, "car_from_left | pedestrian_at_right", "epsilon", 2),
        Transition(2, "!car_from_left & !pedestrian_at_right", "turn_right", 3),
    ),
)
PAPER = Semantics("paper", conditional="wait")
STUTTER = Semantics("stutter", on_finish="stutter", assumptions="none")
NOOP = Semantics("noop", epsilon="noop")
GOLDEN = [
    (BEFORE, PAPER, {5, 9, 11}),
    (AFTER, PAPER, set()),
    (BEFORE, STUTTER, {5, 7, 9, 10, 11}),
    (AFTER, STUTTER, {7, 10}),
    (BEFORE, NOOP, {1, 5, 6, 8, 9, 11}),
    (AFTER, NOOP, {1, 6, 8}),
]
NAMES = ["before-paper", "after-paper", "before-stutter", "after-stutter"]
NAMES += ["before-noop", "after-noop"]


@pytest.mark.parametrize(("controller", "semantics", "violated"), GOLDEN, ids=NAMES)
def test_the_papers_example(controller, semantics, violated):
    found = {
        int(s.id.removeprefix("phi_"))
        for s in load_rules("paper", VOCABULARY).specifications
        if not brute_force(controller, WORLD, s.formula, semantics, VOCABULARY)
    }
    assert found == violated


letters = st.frozensets(st.sampled_from(["a", "b"]))
formulas = st.recursive(
    st.sampled_from(["a", "b", "true", "false"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["!", "X ", "F ", "G "]), inner).map("".join),
        st.tuples(
            st.just("("),
            inner,
            st.sampled_from([" & ", " | ", " -> ", " <-> ", " U ", " W ", " R ", " M "]),
            inner,
            st.just(")"),
        ).map("".join),
    ),
    max_leaves=4,
)


@settings(max_examples=600, deadline=None)
@given(formulas, st.lists(letters, max_size=3), st.lists(letters, min_size=1, max_size=3))
def test_on_a_single_path_the_tableau_agrees_with_evaluation(formula, prefix, cycle):
    labels = {str(i): letter for i, letter in enumerate(prefix + cycle)}
    last = len(labels) - 1
    after = {str(i): [str(i + 1)] for i in range(last)} | {str(last): [str(len(prefix))]}
    world = make_transition_system("lasso", labels, after, initial=["0"])
    idle = Controller(0, 1, ())
    silent = Semantics("silent", epsilon="noop")
    expected = holds(formula, prefix, cycle)
    assert brute_force(idle, world, formula, silent, VOCABULARY) == expected


def test_all_initial_states_and_all_transitions_count():
    world = make_transition_system("w", {"x": ["a"], "y": ["b"]}, {"x": ["x"], "y": ["y"]})
    careless = Controller(
        0, 1, (Transition(0, "a", "stop", 0), Transition(0, "a", "go_straight", 0))
    )

    def verdict(formula):
        return brute_force(careless, world, formula, PAPER, VOCABULARY)

    assert not verdict("a")
    assert not verdict("G(a -> stop)")
    assert not verdict("G(a -> go_straight)")
    assert verdict("G(a -> (stop xor go_straight))")
    assert verdict("G(b -> stop)")


def test_blocked_and_finished_controllers():
    world = make_transition_system("w", {"x": ["a"], "y": ["b"]})
    once = Controller(0, 1, (Transition(0, "a", "turn_left", 1), Transition(1, "a", "stop", 0)))
    stay = Semantics("stay", on_finish="stutter", epsilon="noop")
    again = Semantics("again", epsilon="noop")
    only_once = "G(turn_left -> X G !turn_left)"
    assert brute_force(once, world, only_once, stay, VOCABULARY)
    assert not brute_force(once, world, only_once, again, VOCABULARY)
    assert brute_force(once, world, "G(b -> !(turn_left | stop))", again, VOCABULARY)
    assert brute_force(once, world, "G !stop", stay, VOCABULARY)
    assert brute_force(once, world, "G(a -> turn_left)", again, VOCABULARY)


def test_a_world_that_ends_has_no_infinite_path():
    world = make_transition_system("w", {"x": ["a"], "y": []}, {"x": ["y"]})
    assert brute_force(Controller(0, 1, ()), world, "false", PAPER, VOCABULARY)


def test_product_letters_are_label_and_action():
    graph = product_graph(AFTER, WORLD, PAPER)
    assert len(graph.letters) == len(WORLD.states) * AFTER.num_states  # it is deterministic
    assert frozenset({GREEN, "turn_right"}) in graph.letters
    assert frozenset({"stop"}) in graph.letters


def test_components():
    edges = {0: [1], 1: [2], 2: [1, 3], 3: [], 4: [0]}
    found = components([4], edges.__getitem__)
    assert sorted(map(sorted, found)) == [[0], [1, 2], [3], [4]]
