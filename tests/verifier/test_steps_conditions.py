"""What conditions mean, and which texts are reported instead of being guessed."""

import pytest

from verifier.steps import read_steps, steps_to_controller
from verifier.vocabulary import load_vocabulary

DRIVING = load_vocabulary("driving")

GREEN = "green_traffic_light"
LEFT, RIGHT, OPPOSITE = "car_from_left", "car_from_right", "opposite_car"
CARS = f"{OPPOSITE} | {LEFT} | {RIGHT}"
PEDESTRIANS = "pedestrian_at_left | pedestrian_at_right | pedestrian_in_front"
NO_CARS = f"!{OPPOSITE} & !{LEFT} & !{RIGHT}"


def guard(condition: str) -> str:
    """The guard of "if <condition>, turn left"."""
    alignment = steps_to_controller(f"If {condition}, turn left.", DRIVING, "natural")
    assert alignment.controller is not None, [p.to_line() for p in alignment.problems]
    moves = (t for t in alignment.controller.transitions if t.action == "turn_left")
    return next(moves).guard


def problems(text: str) -> list[str]:
    return [problem.category for problem in read_steps(text, DRIVING).problems]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("the traffic light is green", GREEN),
        ("the green traffic light is on", GREEN),
        ("the signal turns green", GREEN),
        ("green traffic light", GREEN),
        ("the traffic light isn't green", f"!{GREEN}"),
        ("the light is red", f"!{GREEN}"),
        ("the light is yellow or red", f"!{GREEN}"),
        ("there is no green light", f"!{GREEN}"),
        ("the left-turn light is flashing", "flashing_left_turn_light"),
        ("the left-turn signal is green", "green_left_turn_light"),
        ("there's a stop sign ahead", "stop_sign"),
        ("car_from_left", LEFT),
        ("there is a car on the left", LEFT),
        ("a vehicle is approaching from your left", LEFT),
        ("you see a car coming from the left side", LEFT),
        ("there is oncoming traffic", OPPOSITE),
        ("a car comes from the opposite direction", OPPOSITE),
        ("no cars are coming", NO_CARS),
        ("there aren't any cars", NO_CARS),
        ("cars are present", CARS),
        ("a pedestrian is crossing", PEDESTRIANS),
        ("there is a person in front of you", "pedestrian_in_front"),
        ("there is a pedestrian standing on the left", "pedestrian_at_left"),
        ("the pedestrian on the right is gone", "!pedestrian_at_right"),
        ("the car from the left has passed", f"!{LEFT}"),
        ("the left is clear", f"!{LEFT} & !pedestrian_at_left"),
        ("the left is not clear", f"{LEFT} | pedestrian_at_left"),
        (
            "left and right are clear",
            f"!{LEFT} & !{RIGHT} & !pedestrian_at_left & !pedestrian_at_right",
        ),
        ("there is no car from left or pedestrian at right", f"!{LEFT} & !pedestrian_at_right"),
        ("there is no car from left and no pedestrian at right", f"!{LEFT} & !pedestrian_at_right"),
        ("no car from the left or the right is coming", f"!{LEFT} & !{RIGHT}"),
        ("neither a car from left nor a pedestrian at right", f"!{LEFT} & !pedestrian_at_right"),
        (
            "neither a car from left nor a pedestrian at right is present",
            f"!{LEFT} & !pedestrian_at_right",
        ),
        ("a car from left or from right", f"{LEFT} | {RIGHT}"),
        ("both a car from left and a car from right are present", f"{LEFT} & {RIGHT}"),
        (
            "the car from left and the pedestrian at right are not present",
            f"!{LEFT} & !pedestrian_at_right",
        ),
        ("the light is green and there is no car from left", f"{GREEN} & !{LEFT}"),
        (
            "the light is green and there is no car from left or pedestrian at right",
            f"{GREEN} & !{LEFT} & !pedestrian_at_right",
        ),
        (
            "there is no car from left, no car from right, and the light is green",
            f"{GREEN} & !{LEFT} & !{RIGHT}",
        ),
        (
            "there is a car from left or there is a car from right and the light is green",
            f"({GREEN} & {RIGHT}) | {LEFT}",
        ),
        (
            "the light is green and there is a car from left or a car from right",
            f"({GREEN} & {LEFT}) | ({GREEN} & {RIGHT})",
        ),
    ],
)
def test_conditions(condition, expected):
    assert guard(condition) == expected


def test_a_clear_way_has_no_cars_and_no_pedestrians():
    assert guard("the way is clear") == guard("there are no cars or pedestrians")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("", "empty"),
        ("  \n\n", "empty"),
        ("1.\n2. Stop.", "empty"),
        ("1. Stop.\n3. Turn right.", "numbering"),
        ("1. Stop.\n1. Turn right.", "numbering"),
        ("1. Stop.\nThen turn right.", "numbering"),
        ("Turn right.\n1. Stop.", "numbering"),
        ("If there is a llama, stop.\n1. Turn right.", "numbering"),
        ("1. Stop.\nThe light is green.", "numbering"),
        ("Slow down.", "unknown_words"),
        ("If it is safe, turn right.", "unknown_words"),
        ("If there is a dog, stop.", "unknown_words"),
        ("Turn right quickly into oblivion.", "unknown_words"),
        ("If there is no car from left and pedestrian at right, stop.", "ambiguous"),
        ("If the light is green, and a car or a pedestrian, stop.", "ambiguous"),
        ("If there is no car from left or no pedestrian at right, stop.", "ambiguous"),
        ("If both the car and the pedestrian are not present, stop.", "ambiguous"),
        ("If there are cars from left and right, stop.", "ambiguous"),
        ("If green, turn right.", "ambiguous"),
        ("If it is green, turn right.", "ambiguous"),
        ("1. Check the light.\n2. If it is present, stop.", "no_condition"),
        ("1. Check the light and the left-turn light.\n2. If it is green, stop.", "ambiguous"),
        ("1. Check the light.\n2. Look left.\n3. If it is green, stop.", "ambiguous"),
        ("Wait for the pedestrian.", "ambiguous"),
        ("If you see the car turn right, stop.", "ambiguous"),
        ("If the car stop, turn right.", "ambiguous"),
        ("If there is a car that is going straight, turn right.", "unknown_words"),
        ("If the pedestrian is standing, stop.", "unknown_words"),
        ("If the pedestrian is in front of the traffic light, stop.", "unsupported"),
        ("If the light is green, proceed and turn right.", "ambiguous"),
        ("Stop and turn right if the light is green.", "ambiguous"),
        ("If the traffic light is present, stop.", "no_condition"),
        ("If the road, stop.", "no_condition"),
        ("If there is a car in front, stop.", "no_condition"),
        ("If the car is green, stop.", "no_condition"),
        ("Go to step 2.", "bad_reference"),
        ("Go to step 0.", "bad_reference"),
        (
            "1. If the light is green, stop.\n2. Otherwise, turn left.\n3. Go to step 2.",
            "bad_reference",
        ),
        ("Otherwise, stop.", "unsupported"),
        ("If the light is green.", "unsupported"),
        ("Stop or turn right.", "unsupported"),
        ("Go to step 1 and stop.", "unsupported"),
        ("Do not turn right.", "unknown_words"),
        ("If the light is green and turn right.", "unsupported"),
        ("Turn right at the green light.", "unknown_words"),
        ("Check if there is a car from left, stop.", "unsupported"),
        ("Check that the light is green.", "unknown_words"),
    ],
)
def test_what_is_not_understood_is_reported(text, category):
    assert category in problems(text)
    assert steps_to_controller(text, DRIVING, "natural").controller is None
