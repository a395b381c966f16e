"""What is drawn, and that real Graphviz accepts it."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from verifier.controller import Controller, Transition
from verifier.dot import controller_dot, counterexample_dot, world_dot
from verifier.dot_style import action_colour, guard_text, lines_of
from verifier.drawing import render
from verifier.rules import Specification
from verifier.transition_system import make_transition_system
from verifier.verdicts import Lasso, Moment
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
CONTROLLER = Controller(
    0,
    2,
    (
        Transition(0, "true", "epsilon", 1, step=1),
        Transition(1, "car_from_left | pedestrian_at_right", "epsilon", 1, step=2),
        Transition(1, "!car_from_left & !pedestrian_at_right", "turn_right", 2, step=2),
    ),
    ("Observe the traffic light.", "If there is no car from left, turn right."),
)


def texts(dot):
    """What can be read in the picture, in reading order."""
    tree = ElementTree.fromstring(render(dot, "svg"))
    return [element.text.strip() for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def moment(step, action, *propositions):
    return Moment("w", propositions, action, step, (step or 1) - 1)


def film(prefix, cycle, formula="G(car_from_left -> !turn_right)"):
    rule = Specification("phi", formula, "safety", "Never turn right into a car.")
    return counterexample_dot(
        Lasso(tuple(prefix), tuple(cycle)), rule, CONTROLLER.steps, VOCABULARY
    )


def test_a_controller_shows_its_steps_guards_and_actions():
    assert texts(controller_dot(CONTROLLER, VOCABULARY)) == [
        "1",
        "Observe the traffic light.",
        "2",
        "If there is no car from left, turn",
        "right.",
        "car from left",
        "∨ pedestrian at right",
        "wait",
        "turn right",
        "no car from left",
        "∧ no pedestrian at right",
        "done",
    ]


def test_the_final_state_has_a_double_border_and_the_initial_one_an_arrow():
    dot = controller_dot(CONTROLLER, VOCABULARY)
    assert re.search(r"q2 \[.*peripheries=2", dot)
    assert "start -> q0" in dot


def test_transitions_with_the_same_action_are_drawn_as_one():
    twice = Controller(
        0, 1, (Transition(0, "stop_sign", "stop", 1), Transition(0, "car_from_left", "stop", 1))
    )
    dot = controller_dot(twice, VOCABULARY)
    assert dot.count("-> q1") == 1
    assert "stop sign ∨ car from left" in texts(dot)


def test_controllers_without_text_and_with_loops_of_every_kind():
    transitions = tuple(
        Transition(source, guard, action, target)
        for source in range(4)
        for target in range(4)
        for guard, action in [("stop_sign", "stop"), ("!stop_sign", "epsilon"), ("0", "turn_left")]
    )
    assert render(controller_dot(Controller(1, 3, transitions), VOCABULARY), "png")
    assert render(controller_dot(Controller(0, 0, ()), VOCABULARY), "png")


def test_strange_texts_survive():
    steps = ('Say "hi" \\ {stop} <b> | $x & yes\n- ünïcödé 车', "x" * 300, "")
    rows = tuple(Transition(i, "true", "stop", i + 1, step=i + 1) for i in range(3))
    shown = texts(controller_dot(Controller(0, 3, rows, steps), VOCABULARY))
    assert 'Say "hi" \\ {stop} <b> | $x & yes -' in shown
    world = make_transition_system('a "b" \\ c', {'p"|{}': ["stop_sign"]})
    assert 'p"|{}' in texts(world_dot(world, VOCABULARY))


def test_a_complete_world_is_a_frame_without_transitions():
    world = make_transition_system("w", {f"p{i}": ["stop_sign"] * (i % 2) for i in range(10)})
    dot = world_dot(world, VOCABULARY)
    assert dot.count("->") == dot.count("style=invis")
    assert "any of these can follow any of these" in texts(dot)
    assert "10 states, 100 transitions, every state is initial" in texts(dot)


def test_a_small_world_shows_every_transition_and_its_initial_states():
    world = make_transition_system(
        "w", {"a": [], "b": ["stop_sign"]}, {"a": ["b"], "b": ["a", "b"]}, initial=["a"]
    )
    dot = world_dot(world, VOCABULARY)
    assert {"s0 -> s1", "s1 -> s0", "s1 -> s1", "i0 -> s0"} <= set(re.findall(r"\w+ -> \w+", dot))
    assert "nothing in sight" in texts(dot)


@pytest.mark.parametrize("complete", [True, False])
def test_large_worlds_are_summarised(complete):
    names = [f"p{i}" for i in range(1024)]
    after = None if complete else {name: names[i // 2 : i] for i, name in enumerate(names)}
    world = make_transition_system("w", {name: ["stop_sign"] for name in names}, after)
    dot = world_dot(world, VOCABULARY)
    assert len(dot) < 3000
    assert {"stop sign", "in 1,024"} <= set(texts(dot))


def test_the_film_ends_where_the_rule_is_broken():
    shown = texts(
        film(
            [moment(1, "stop"), moment(2, "turn_right", "car_from_left")],
            [moment(1, "go_straight", "stop_sign")],
        )
    )
    assert shown[0] == "phi: Never turn right into a car."
    assert "the rule is broken" in shown
    assert "+ car from left" in shown
    assert "stop sign" not in shown


def test_the_film_of_an_endless_run_leads_back():
    dot = film([moment(1, "stop")], [moment(2, "stop", "car_from_left")] * 2, "F turn_right")
    assert re.search(r"a2:s -> a1:s .*for ever", dot.replace("\u2002", " "))
    assert "the rule is broken" not in texts(dot)


def test_long_films_are_cut():
    shown = texts(film([moment(1, None)] * 40, [moment(None, "stop")], "F turn_right"))
    assert "32 more moments" in shown
    assert shown.count("step 1") == 8
    assert {"no action", "no condition holds"} <= set(shown)


def test_guards_in_words():
    assert lines_of(guard_text("!(car_from_left | stop_sign)", VOCABULARY), 99) == [
        "no car from left ∧ no stop sign"
    ]
    assert lines_of(guard_text("stop_sign & (car_from_left | !opposite_car)", VOCABULARY), 99) == [
        "stop sign ∧ (car from left ∨ no opposite car)"
    ]
    assert guard_text("true", VOCABULARY) == "always"
    assert guard_text("!1", VOCABULARY) == "never"


def test_actions_have_their_own_colours():
    colours = [action_colour(VOCABULARY, name) for name in VOCABULARY.action_names]
    assert len(set(colours)) == len(colours)


def test_pictures_are_the_same_every_time():
    dot = controller_dot(CONTROLLER, VOCABULARY)
    assert dot == controller_dot(CONTROLLER, VOCABULARY)
    assert render(dot, "dot") == dot.encode()
    assert render(dot, "svg") == render(dot, "svg")
    assert render(dot, "png") == render(dot, "png")
    assert render(dot, "png").startswith(b"\x89PNG")
