"""Words that look like a condition, a place or a side, and mean something else."""

import pytest

from verifier.steps import steps_to_controller
from verifier.vocabulary import load_vocabulary

DRIVING = load_vocabulary("driving")

GREEN, LEFT = "green_traffic_light", "car_from_left"
CARS = "opposite_car | car_from_left | car_from_right"
NO_CARS = "!opposite_car & !car_from_left & !car_from_right"
PEDESTRIANS = "pedestrian_at_left | pedestrian_at_right | pedestrian_in_front"
NO_PEDESTRIANS = "!pedestrian_at_left & !pedestrian_at_right & !pedestrian_in_front"


def rows(text: str, conditional: str = "natural") -> set[tuple[int, str, str, int]]:
    alignment = steps_to_controller(text, DRIVING, conditional)  # type: ignore[arg-type]
    assert alignment.controller is not None, [p.to_line() for p in alignment.problems]
    return {(t.source, t.guard, t.action, t.target) for t in alignment.controller.transitions}


def problems(text: str, conditional: str = "natural") -> list[str]:
    alignment = steps_to_controller(text, DRIVING, conditional)  # type: ignore[arg-type]
    return [problem.category for problem in alignment.problems]


@pytest.mark.parametrize(
    "text",
    [
        "If the car is turning left, stop.",  # it is not at the left
        "If the car turns left, stop.",
        "If there is no car to turn right, turn left.",
        "If there is no car left, turn right.",  # none remains
        "If the car left, turn right.",
        "If the pedestrian is right, stop.",
        "If there is a pedestrian crossing right, stop.",
        "If there is a car approaching to the left, stop.",  # where it is, or where it goes
        "If there is a car to pass, stop.",  # it is not gone
        "If there is a car passes, stop.",
        "If the car passes, turn right.",  # while it does, or when it has
        "When the pedestrian crosses, turn right.",
        "Wait until the car from left.",
        "Continue straight until the car from right.",
        "While the light is green, turn right.",  # once, or again and again
        "Stop in case there is a car from left.",
        "If there is no other car, turn right.",
        "If the light is green, turn right. If the light is red, stop.",  # or, or then
    ],
)
def test_what_could_be_meant_in_another_way_is_refused(text):
    found = problems(text)
    assert found
    assert set(found) <= {"ambiguous", "unknown_words", "unsupported"}


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("If there is a pedestrian crossing, stop.", "no_condition"),
        ("If there is a pedestrian in front of the car, stop.", "unsupported"),
        ("If there is a pedestrian in front of a car, stop.", "unsupported"),
        ("If there is a car at the intersection, stop.", "unsupported"),
        ("If there is a pedestrian at the crosswalk, stop.", "unsupported"),
        ("If the opposite car from left is present, stop.", "unsupported"),
        ("Turn left at the green light.", "unknown_words"),
        ("Turn left at the light with the green arrow.", "unknown_words"),
        ("Turn left at the light without a left-turn arrow.", "unknown_words"),
        ("Turn left at the opposite car.", "unknown_words"),
        ("Go straight to the traffic light.", "unknown_words"),
        ("Stop before the light turns green.", "unsupported"),
        ("Turn left at the intersection with the pedestrian.", "unknown_words"),
    ],
)
def test_a_place_does_not_hide_a_condition(text, category):
    assert category in problems(text)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Turn left at the roundabout.", "turn_left"),
        ("Take a right at the wide median.", "turn_right"),
        ("Turn right at the T-junction.", "turn_right"),
        ("Turn left out of the driveway onto the main road.", "turn_left"),
        ("Turn left at the end of the exit ramp.", "turn_left"),
        ("Take right again at the end of the driveway.", "turn_right"),
        ("Go straight over the school crossing.", "go_straight"),
        ("Continue straight on at the signalised crossing.", "go_straight"),
        ("Go straight across the road with the wide median.", "go_straight"),
        ("Turn right at the intersection with the stop sign.", "turn_right"),
        ("At the junction with traffic lights, turn right.", "turn_right"),
        ("Move straight ahead through the intersection.", "go_straight"),
        ("Continue to turn left.", "turn_left"),
        ("Stop at the all-way stop.", "stop"),
        ("Turn right onto the highway from the metered ramp.", "turn_right"),
    ],
)
def test_places_where_an_action_happens(text, action):
    assert rows(text) == {(0, "true", action, 1)}


def test_whose_car_it_is_matters_only_in_front_of_it():
    expected = {(0, "pedestrian_in_front", "stop", 0), (0, "!pedestrian_in_front", "epsilon", 1)}
    for where in ("in front of your car", "in front of you", "ahead of you"):
        assert rows(f"If there is a pedestrian {where}, stop.") == expected
    assert rows("Stop your car.") == rows("Stop the car.") == {(0, "true", "stop", 1)}
    assert rows("If there is a car on your left, stop.") == rows("If there is a car on left, stop.")


@pytest.mark.parametrize(
    ("text", "action", "gone", "there"),
    [
        ("Wait until the pedestrian crosses the street.", "epsilon", NO_PEDESTRIANS, PEDESTRIANS),
        ("Wait for the pedestrian to cross the street.", "epsilon", NO_PEDESTRIANS, PEDESTRIANS),
        ("Stop until the car passes.", "stop", NO_CARS, CARS),
        ("Once the car passes, go to the next step.", "epsilon", NO_CARS, CARS),
    ],
)
def test_who_crosses_or_passes_is_gone_in_the_end(text, action, gone, there):
    assert rows(text) == {(0, there, action, 0), (0, gone, "epsilon", 1)}


def test_who_crosses_is_there_meanwhile():
    for word in ("If", "When", "While"):
        assert rows(f"{word} a pedestrian crosses the street, stop.") == {
            (0, PEDESTRIANS, "stop", 0),
            (0, NO_PEDESTRIANS, "epsilon", 1),
        }


def test_as_long_as_is_if_for_motions():
    text = "As long as there is no car from left, turn right."
    assert rows(text) == rows("If there is no car from left, turn right.")
    assert rows("As long as there is a car from left, stop.") == {
        (0, LEFT, "stop", 0),
        (0, f"!{LEFT}", "epsilon", 1),
    }


def test_looking_before_a_motion_does_not_let_it_be_passed_over():
    assert rows("If the light is green, look left and turn right.") == {
        (0, GREEN, "epsilon", 2),
        (0, f"!{GREEN}", "epsilon", 0),
        (2, "true", "turn_right", 1),
    }


def test_a_stop_before_a_motion_leaves_the_other_case_open():
    text = "If there is a stop sign, stop and turn right."
    assert problems(text) == ["ambiguous"]
    for profile, other in (("wait", 0), ("skip", 1)):
        assert (0, "!stop_sign", "epsilon", other) in rows(text, profile)
    assert (0, "!stop_sign", "turn_right", 1) in rows(f"{text[:-1]}; otherwise, turn right.")


def test_whatever_is_looked_at_it_is_only_looked_at():
    for thing in ("the opposite car from left", "the pedestrian crossing", "the roundabout"):
        assert rows(f"Observe {thing}.") == {(0, "true", "epsilon", 1)}


def test_a_condition_of_the_whole_list_is_not_left_out():
    for before in ("If the light is green:", "Turn right when there is no car from left:"):
        assert problems(f"{before}\n1. Turn right.") == ["numbering"]
    for before in ("When you reach the crossing, follow these steps:", "How to turn right safely:"):
        assert rows(f"{before}\n1. Turn right.") == {(0, "true", "turn_right", 1)}
    assert problems("1. Turn right.\n2. Stop.\nIgnore step 2.") == ["numbering"]


@pytest.mark.parametrize("cut", ["10.", "10", "1", "**10.**", "10. "])
def test_a_number_without_a_step_at_the_end_is_left_out(cut):
    steps = "\n".join(f"{n}. Turn right." for n in range(1, 10))
    assert rows(f"{steps}\n{cut}") == rows(steps)


@pytest.mark.parametrize("text", ["1.", "1. Stop.\n3.", "1. Stop.\n2.\n3. Stop.", "1. Stop.\n1"])
def test_other_numbers_without_a_step_are_reported(text):
    assert problems(text)
