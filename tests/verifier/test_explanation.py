"""What a reader is told about a counterexample, word for word."""

from verifier.explanation import explain
from verifier.rules import Specification
from verifier.verdicts import Lasso, Moment
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
GREEN = "green_traffic_light"
BEFORE = (
    "Observe the traffic light.",
    "If the traffic light is green, go straight.",
    "Observe the car from left.",
    "If there is no car from left, check the pedestrian at right.",
    "If there is no pedestrian at right, turn right.",
)
AFTER = (
    "Observe the traffic light.",
    "Check for car from left and pedestrian at right.",
    "If there is no car from left and no pedestrian at right, turn right.",
)
COMPLETE_RUN = [
    (1, "stop", ""),
    (2, "go_straight", GREEN),
    (3, "stop", GREEN),
    (4, "stop", GREEN),
    (5, "turn_right", "car_from_left"),
]


def moment(step, action, propositions, state=None):
    seen = tuple(sorted(propositions.split()))
    where = state if state is not None else (step or 1) - 1
    return Moment("w", seen, action, step, where)


def tell(formula, prefix, cycle, steps=BEFORE, final=None):
    lasso = Lasso(tuple(moment(*m) for m in prefix), tuple(moment(*m) for m in cycle))
    return explain(lasso, Specification("x", formula, "safety"), VOCABULARY, steps, final=final)


def test_a_change_after_the_check():
    assert tell("G(car_from_left -> !turn_right)", COMPLETE_RUN, [(1, "stop", "")]) == (
        'After step 4 a car arrives from the left; step 5 ("If there is no pedestrian at right, '
        'turn right") turns right anyway.'
    )


def test_two_changes_at_once():
    formula = "G((turn_right & !green_traffic_light) -> !car_from_left)"
    assert tell(formula, COMPLETE_RUN, [(1, "stop", "")]) == (
        "After step 4 the traffic light stops being green and a car arrives from the left; "
        'step 5 ("If there is no pedestrian at right, turn right") turns right anyway.'
    )


def test_changes_one_after_the_other():
    run = [(1, "stop", GREEN), (2, "stop", ""), (3, "turn_right", "car_from_left")]
    formula = "G((turn_right & !green_traffic_light) -> !car_from_left)"
    assert tell(formula, run, [(1, "stop", "")], AFTER) == (
        "After step 1 the traffic light stops being green, and after step 2 a car arrives from the "
        'left; step 3 ("If there is no car from left and no pedestrian at right, turn right") '
        "turns right anyway."
    )


def test_what_stands_from_the_start_and_what_changes():
    run = [(1, "stop", ""), (3, "turn_right", "car_from_left")]
    formula = "G((turn_right & !green_traffic_light) -> !car_from_left)"
    assert tell(formula, run, [(1, "stop", "")], ()) == (
        "After step 1 a car arrives from the left; with no green traffic light, step 3 turns "
        "right anyway."
    )


def test_a_step_that_waits_and_then_acts():
    run = [(2, "stop", ""), (2, "go_straight", "pedestrian_in_front")]
    assert tell("G(go_straight -> !pedestrian_in_front)", run, [(1, "stop", "")]) == (
        "While step 2 waits, a pedestrian steps in front; step 2 "
        '("If the traffic light is green, go straight") goes straight anyway.'
    )


def test_violated_at_once():
    told = tell("G(!green_traffic_light -> !go_straight)", [], [(1, "go_straight", "")])
    assert told == (
        'With no green traffic light, step 1 ("Observe the traffic light") goes straight anyway.'
    )


def test_an_action_is_missing():
    run = [(1, "go_straight", "car_from_left")]
    assert tell("G(car_from_left -> stop)", [], run, ()) == (
        "With a car from the left, step 1 goes straight when it should stop."
    )
    assert tell("G(stop | go_straight | turn_left | turn_right)", [], [(1, None, "")], ()) == (
        "Step 1 does nothing when it should stop, turn left, turn right or go straight."
    )


def test_a_response_that_never_comes():
    run = [(1, None, "")]
    cycle = [(2, None, "pedestrian_at_left"), (3, "turn_right", "")]
    assert tell("G(pedestrian_at_left -> F stop)", run, cycle, AFTER) == (
        "After step 1 a pedestrian appears at the left. "
        "From then on the run repeats steps 2 and 3 for ever and never stops."
    )


def test_standing_still_at_one_step():
    run = [(1, "stop", GREEN)]
    assert tell("G(green_traffic_light -> F !stop)", run, [(2, "stop", "")]) == (
        "At the start there is a green traffic light. From then on the run stays at step 2 "
        '("If the traffic light is green, go straight") for ever, with nothing in sight, '
        "and stops every time."
    )


def test_a_task_never_done():
    run = [(1, "stop", ""), (2, "stop", "")]
    assert tell("F turn_right", run, [(3, "stop", "car_from_left")], AFTER) == (
        'After step 2 the run stays at step 3 ("If there is no car from left and no pedestrian at '
        'right, turn right") for ever, with a car from the left, and never turns right.'
    )
    whole = [(i, "stop", GREEN) for i in range(1, 6)] + [(1, "stop", "")]
    assert tell("F turn_right", [], whole) == (
        "The run repeats steps 1 to 5 for ever and never turns right."
    )


def test_blocked_for_ever():
    assert tell("F turn_right", [(1, "stop", "")], [(None, "stop", GREEN), (None, "stop", "")]) == (
        "After step 1 the controller waits for ever, since none of its conditions holds, "
        "and never turns right."
    )


def test_waiting_now_and_then():
    cycle = [(2, "stop", ""), (None, "stop", GREEN)]
    assert tell("F turn_right", [], cycle) == (
        "The run repeats step 2, waiting in between, for ever and never turns right."
    )


def test_a_finished_task():
    cycle = [(None, "stop", GREEN, 3)]
    run = [(3, "turn_right", "")]
    assert tell("G(green_traffic_light -> F !stop)", run, cycle, AFTER, final=3) == (
        "After step 3 the traffic light turns green. From then on the task is done: "
        "the controller stands still for ever."
    )


def test_a_goal_with_a_condition():
    formula = "G(stop -> F(turn_right & green_traffic_light))"
    cycle = [(1, "stop", ""), (2, "turn_right", "")]
    assert tell(formula, [], cycle, ()) == (
        "Step 1 stops. From then on the run repeats steps 1 and 2 for ever, with nothing in "
        "sight, and never turns right with a green traffic light."
    )


def test_events_at_several_moments_are_told_in_order():
    run = [(1, "stop", ""), (2, "stop", "car_from_left"), (3, "go_straight", "")]
    assert tell("G(car_from_left -> X stop)", run, [(1, "stop", "")], ()) == (
        "After step 1 a car arrives from the left. Step 3 goes straight when it should stop."
    )


def test_a_controller_without_text_is_told_by_its_states():
    cycle = [(None, "stop", GREEN, 4), (None, "stop", "", 7)]
    assert tell("F turn_right", [], cycle, ()) == (
        "The run repeats states 4 and 7 for ever and never turns right."
    )
    run = [(None, "stop", "", 0), (None, "turn_right", "car_from_left", 4)]
    assert tell("G(car_from_left -> !turn_right)", run, cycle, ()) == (
        "After state 0 a car arrives from the left; state 4 turns right anyway."
    )


def test_formulas_of_any_shape_get_a_sentence():
    assert tell("FG stop", [], [(1, "stop", ""), (2, "go_straight", "")]) == (
        "The run repeats steps 1 and 2 for ever, with nothing in sight, "
        "and never does what the rule asks."
    )
    assert tell("false", [], [(1, "stop", "")]) == "No run can satisfy the rule x."


def test_long_steps_are_quoted_in_part():
    steps = ("If the light is green and there is no car from the left or right or ahead, go.",)
    told = tell("G(car_from_left -> !stop)", [], [(1, "stop", "car_from_left")], steps)
    assert '("If the light is green and there is no car from the left or right or …")' in told
