"""What each construction means, against transitions written out by hand."""

import pytest

from verifier.canonical import equivalent
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.steps import MAX_STEPS, build_controller, read_steps, steps_to_controller
from verifier.vocabulary import load_vocabulary

DRIVING = load_vocabulary("driving")
PROFILES = ("natural", "wait", "skip")

GREEN = "green_traffic_light"
LEFT, OPPOSITE = "car_from_left", "opposite_car"


def rows(text: str, conditional: str = "natural") -> set[tuple[int, str, str, int]]:
    alignment = steps_to_controller(text, DRIVING, conditional)  # type: ignore[arg-type]
    assert not alignment.problems, [p.to_line() for p in alignment.problems]
    assert alignment.controller is not None
    return {(t.source, t.guard, t.action, t.target) for t in alignment.controller.transitions}


def guard(condition: str) -> str:
    """The guard of "if <condition>, turn left and go to step 1"."""
    found = rows(f"If {condition}, turn left and go to step 1.")
    return next(guard for _, guard, action, _ in found if action == "turn_left")


def problems(text: str) -> list[str]:
    reading = read_steps(text, DRIVING)
    return [problem.category for problem in reading.problems]


BEFORE = """
1. Observe the traffic light.
2. If the traffic light is green, go straight.
3. Observe the car from left.
4. If there is no car from left, check the pedestrian at right.
5. If there is no pedestrian at right, turn right.
"""
AFTER = """
1. Observe the traffic light.
2. Check the car from left and the pedestrian at right.
3. If there is neither a car from left nor a pedestrian at right, turn right.
"""


def test_the_published_before_example():
    assert rows(BEFORE, "wait") == {
        (0, "true", "epsilon", 1),
        (1, GREEN, "go_straight", 2),
        (1, f"!{GREEN}", "epsilon", 1),
        (2, "true", "epsilon", 3),
        (3, f"!{LEFT}", "epsilon", 4),
        (3, LEFT, "epsilon", 3),
        (4, "!pedestrian_at_right", "turn_right", 5),
        (4, "pedestrian_at_right", "epsilon", 4),
    }


def test_the_published_after_example():
    assert rows(AFTER, "wait") == {
        (0, "true", "epsilon", 1),
        (1, "true", "epsilon", 2),
        (2, f"!{LEFT} & !pedestrian_at_right", "turn_right", 3),
        (2, f"{LEFT} | pedestrian_at_right", "epsilon", 2),
    }


@pytest.mark.parametrize(
    ("profile", "target"), [("natural", {0}), ("wait", {0}), ("skip", {1})], ids=PROFILES
)
def test_if_with_a_moving_action(profile, target):
    assert rows("If the light is green, turn right.", profile) == {
        (0, GREEN, "turn_right", 1),
        *((0, f"!{GREEN}", "epsilon", t) for t in target),
    }


@pytest.mark.parametrize(
    ("profile", "stop_to", "else_to"), [("natural", 0, 1), ("wait", 1, 0), ("skip", 1, 1)]
)
def test_if_with_stop(profile, stop_to, else_to):
    for text in ("If there is a car from left, stop.", "Wait if a car is coming from the left."):
        assert rows(text, profile) == {
            (0, LEFT, "stop", stop_to),
            (0, f"!{LEFT}", "epsilon", else_to),
        }


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Check for cars.", {(0, "true", "epsilon", 1)}),
        ("Turn right.", {(0, "true", "turn_right", 1)}),
        ("Stop and turn right.", {(0, "true", "stop", 2), (2, "true", "turn_right", 1)}),
        ("Stop and go to step 1.", {(0, "true", "stop", 0)}),
        ("Return to step 1.", {(0, "true", "epsilon", 0)}),
        (
            "If the light is green, turn right and go to step 2.\n2. Stop.",
            None,
        ),
        (
            "If the light is green, go to step 1.",
            {(0, GREEN, "epsilon", 0), (0, f"!{GREEN}", "epsilon", 1)},
        ),
        (
            "If the light is red, stop and go to step 1.",
            {(0, f"!{GREEN}", "stop", 0), (0, GREEN, "epsilon", 1)},
        ),
        (
            "If the light is green, turn right; otherwise, go to step 1.",
            {(0, GREEN, "turn_right", 1), (0, f"!{GREEN}", "epsilon", 0)},
        ),
        (
            "If the light is green, turn right and finish. Otherwise, turn left and go to step 1.",
            {(0, GREEN, "turn_right", 1), (0, f"!{GREEN}", "turn_left", 0)},
        ),
        (
            "When the light turns green, turn right.",
            {(0, f"!{GREEN}", "epsilon", 0), (0, GREEN, "turn_right", 1)},
        ),
        (
            "Turn right once the light is green.",
            {(0, f"!{GREEN}", "epsilon", 0), (0, GREEN, "turn_right", 1)},
        ),
        (
            "Wait until the light is green.",
            {(0, f"!{GREEN}", "epsilon", 0), (0, GREEN, "epsilon", 1)},
        ),
        (
            "Wait until the light is green, then turn right.",
            {(0, f"!{GREEN}", "epsilon", 0), (0, GREEN, "turn_right", 1)},
        ),
        (
            "Wait for the green light and turn right.",
            {(0, f"!{GREEN}", "epsilon", 0), (0, GREEN, "turn_right", 1)},
        ),
        (
            "Wait for the car from the left to pass.",
            {(0, LEFT, "epsilon", 0), (0, f"!{LEFT}", "epsilon", 1)},
        ),
        (
            "While there is a car from left, stop.",
            {(0, LEFT, "stop", 0), (0, f"!{LEFT}", "epsilon", 1)},
        ),
        (
            "Stop until the light is green.",
            {(0, f"!{GREEN}", "stop", 0), (0, GREEN, "epsilon", 1)},
        ),
        (
            "Until the light is green, stop.",
            {(0, f"!{GREEN}", "stop", 0), (0, GREEN, "epsilon", 1)},
        ),
        (
            "Stop until the light is green and then turn right.",
            {(0, f"!{GREEN}", "stop", 0), (0, GREEN, "turn_right", 1)},
        ),
        (
            "Stop and wait until the light is green.",
            {
                (0, "true", "stop", 2),
                (2, f"!{GREEN}", "epsilon", 2),
                (2, GREEN, "epsilon", 1),
            },
        ),
        (
            "Yield to the opposite car and pedestrians in front, then turn left.",
            {
                (0, f"{OPPOSITE} | pedestrian_in_front", "stop", 0),
                (0, f"!{OPPOSITE} & !pedestrian_in_front", "turn_left", 1),
            },
        ),
    ],
)
def test_readings_that_do_not_depend_on_the_profile(profile, text, expected):
    if expected is None:
        expected = {
            (0, GREEN, "turn_right", 1),
            (0, f"!{GREEN}", "epsilon", 1),
            (1, "true", "stop", 2),
        }
        text = f"1. {text}"
    assert rows(text, profile) == expected


def test_the_comma_after_a_condition_may_be_missing():
    for text in ("If the light is green go straight.", "If there is a green light go straight."):
        assert rows(text) == rows("If the light is green, go straight.")


def test_unless_is_if_not():
    expected = {(0, f"!{LEFT}", "turn_right", 1), (0, LEFT, "epsilon", 0)}
    assert rows("Unless there is a car from left, turn right.") == expected
    assert rows("Turn right unless there is a car from left.") == expected


def test_an_observation_under_a_condition_waits_only_in_the_wait_profile():
    text = "If the light is green, check for cars."
    assert rows(text) == {(0, GREEN, "epsilon", 1), (0, f"!{GREEN}", "epsilon", 1)}
    assert rows(text, "wait") == {(0, GREEN, "epsilon", 1), (0, f"!{GREEN}", "epsilon", 0)}


def test_when_with_stop_does_not_wait_for_the_danger():
    assert rows("When a car comes from the left, stop.") == {
        (0, LEFT, "stop", 0),
        (0, f"!{LEFT}", "epsilon", 1),
    }


def test_otherwise_in_a_step_of_its_own_belongs_to_the_step_before():
    text = "1. If the light is green, turn right.\n2. Otherwise, stop.\n3. Turn left."
    assert rows(text) == {
        (0, GREEN, "turn_right", 2),
        (0, f"!{GREEN}", "stop", 0),
        (2, "true", "turn_left", 3),
    }
    controller = steps_to_controller(text, DRIVING, "skip").controller
    assert controller is not None
    assert {(t.action, t.target, t.step, t.words) for t in controller.transitions} == {
        ("turn_right", 2, 1, "If the light is green, turn right"),
        ("stop", 2, 2, "stop"),
        ("turn_left", 3, 3, "Turn left"),
    }


def test_a_chain_of_cases():
    text = (
        "If there is a car from left, stop and go to step 1; else if the light is green, turn "
        "right; otherwise go straight and go to step 1."
    )
    for profile in PROFILES:
        assert rows(text, profile) == {
            (0, LEFT, "stop", 0),
            (0, f"{GREEN} & !{LEFT}", "turn_right", 1),
            (0, f"!{GREEN} & !{LEFT}", "go_straight", 0),
        }


@pytest.mark.parametrize(
    "text",
    [
        "1. Observe the traffic light.\n2. If it is green, go straight.",
        "1. Observe the traffic light.\n2. If green, go straight.",
        "1. Check the light and the cars.\n2. If it's not red, go straight.",
    ],
)
def test_it_is_the_lamp_that_was_just_mentioned(text):
    assert rows(text) == {
        (0, "true", "epsilon", 1),
        (1, GREEN, "go_straight", 2),
        (1, f"!{GREEN}", "epsilon", 1),
    }
    one_line = text.replace("1. ", "").replace("\n2. ", " ")
    assert rows(one_line) == {
        (0, "true", "epsilon", 2),
        (2, GREEN, "go_straight", 1),
        (2, f"!{GREEN}", "epsilon", 2),
    }


def test_two_sentences_in_a_step_come_one_after_the_other():
    assert rows("1. If the light is red, stop. Turn right.") == {
        (0, f"!{GREEN}", "stop", 0),
        (0, GREEN, "epsilon", 2),
        (2, "true", "turn_right", 1),
    }


def test_waiting_under_a_condition():
    text = "If there is a car from left, wait until the light is green."
    for profile, otherwise in (("natural", 1), ("wait", 0), ("skip", 1)):
        assert rows(text, profile) == {
            (0, f"!{GREEN} & {LEFT}", "epsilon", 2),
            (0, f"{GREEN} & {LEFT}", "epsilon", 1),
            (2, f"!{GREEN}", "epsilon", 2),
            (2, GREEN, "epsilon", 1),
            (0, f"!{LEFT}", "epsilon", otherwise),
        }


def test_transitions_know_their_line_and_words():
    text = "Here are the steps:\n1. Look left.\n2) **If there is a car from left, stop!**"
    controller = steps_to_controller(text, DRIVING, "natural").controller
    assert controller is not None
    assert [(t.step, t.words) for t in controller.transitions] == [
        (1, "Look left"),
        (2, "If there is a car from left, stop"),
        (2, "If there is a car from left"),
    ]
    assert controller.steps == ("Look left.", "If there is a car from left, stop!")


def test_a_problem_is_one_line_that_names_near_phrases():
    reading = read_steps("1. Stop.\n2. If there is a padestrian, stop.", DRIVING)
    (problem,) = reading.problems
    assert (problem.line, problem.words) == (2, "padestrian")
    assert problem.to_line() == (
        "step 2: unknown words: 'padestrian'; nearest known: 'pedestrian', 'pedestrians', "
        "'pedestrian traffic'"
    )


def test_no_controller_is_built_from_a_reading_with_problems():
    with pytest.raises(InputError, match="Slow down"):
        build_controller(read_steps("Slow down.", DRIVING), "natural")


@pytest.mark.parametrize(
    "numbering",
    ["{}. {}", "{}) {}", "({}) {}", "Step {}: {}", "**{}.** {}", "**Step {}:** {}", "- {}. {}"],
)
def test_numbering_styles(numbering):
    steps = ["Observe the traffic light.", "If the light is green, turn right."]
    text = "\n".join(numbering.format(n, step) for n, step in enumerate(steps, start=1))
    assert read_steps(f"Sure! Here it is:\n\n{text}\n\nGood luck!", DRIVING).lines == tuple(steps)
    assert rows(text) == rows("\n".join(steps)) == rows("\n".join(f"- {s}" for s in steps))


def test_introductions_and_remarks_are_left_out():
    steps = "1. Check the light.\n2. Stop."
    for before in ("Turn right at the traffic light:", "Here is how to turn right safely.", ""):
        for after in ("", "Good luck, and have fun!", "---"):
            assert len(read_steps(f"{before}\n{steps}\n\n{after}", DRIVING).lines) == 2
            assert not problems(f"{before}\n{steps}\n\n{after}")


def test_every_proposition_and_action_is_understood_by_phrase_and_name():
    for proposition in DRIVING.propositions:
        for words in (proposition.phrase, proposition.name):
            assert guard(f"there is a {words}") == proposition.name
    for action in DRIVING.actions:
        for words in (action.phrase, action.name):
            assert rows(words) == {(0, "true", action.name, 1)}


def test_every_synonym_of_an_action_is_read_as_that_action():
    for action, phrases in DRIVING.language["language"]["actions"].items():
        for phrase in phrases:
            assert rows(f"{phrase.capitalize()}.") == {(0, "true", action, 1)}, phrase


def test_as_many_steps_as_are_read():
    lines = [f"{n}. Turn right and go to step {n}." for n in range(1, MAX_STEPS + 2)]
    controller = steps_to_controller("\n".join(lines[:-1]), DRIVING, "natural").controller
    assert controller is not None
    assert controller.final == MAX_STEPS
    (problem,) = steps_to_controller("\n".join(lines), DRIVING, "natural").problems
    assert problem.to_line() == f"{MAX_STEPS + 1} steps; at most {MAX_STEPS} are read"


def test_equivalent_wordings_are_one_controller():
    def read(text: str) -> Controller:
        controller = steps_to_controller(text, DRIVING, "natural").controller
        assert controller is not None
        return controller

    left = read("Wait until there is no car from left, then turn right.")
    right = read("1. If a car is coming from the left, wait.\n2. Turn right.")
    assert equivalent(left, read("When no car is coming from the left, make a right turn."))
    assert not equivalent(left, right)


def test_another_domain_is_another_file(tmp_path):
    path = tmp_path / "railway.yaml"
    path.write_text(
        "name: railway\n"
        "propositions:\n"
        "  train_near: {phrase: train from left, appears: a, disappears: b}\n"
        "  gate_down: {phrase: lowered barrier, appears: a, disappears: b}\n"
        "actions:\n"
        "  halt: {phrase: halt, does: halts}\n"
        "  cross: {phrase: cross the tracks, does: crosses}\n"
    )
    railway = load_vocabulary(path)
    text = "1. Observe the lowered barrier.\n2. If there is no train from left, cross the tracks."
    controller = steps_to_controller(text, railway, "skip").controller
    assert controller is not None
    assert [(t.guard, t.action) for t in controller.transitions] == [
        ("true", "epsilon"),
        ("!train_near", "cross"),
        ("train_near", "epsilon"),
    ]
    assert steps_to_controller("Turn right.", railway, "skip").controller is None


def test_a_vocabulary_with_a_bad_formula_is_refused(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "propositions: {p: {phrase: pea, appears: a, disappears: b}}\n"
        "actions: {go: {phrase: go, does: goes}}\n"
        "language: {nouns: {pod: {words: [pod], is: q}}}\n"
    )
    with pytest.raises(InputError, match="unknown proposition 'q'"):
        read_steps("go", load_vocabulary(path))
