"""docs/steps.md says what the reader does."""

import re
from pathlib import Path

import pytest

from verifier.controller import Controller, Transition
from verifier.steps import MAX_STEPS, steps_to_controller
from verifier.vocabulary import load_vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")
DRIVING = load_vocabulary("driving")
PROFILES = ("natural", "wait", "skip")
WHERE = {0: "step 1", 1: "same", 2: "next"}
LETTERS = {
    "true": "always",
    "green_traffic_light": "green",
    "!green_traffic_light": "not green",
    "car_from_left": "car",
    "!car_from_left": "no car",
}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def said(text: str) -> str:
    return text.strip("`")


def described(text: str, profile: str) -> str:
    """What the text does as the second of three steps."""
    steps = f"1. Observe the traffic light.\n2. {text}\n3. Stop."
    alignment = steps_to_controller(steps, DRIVING, profile)  # type: ignore[arg-type]
    if alignment.controller is None:
        return "refused"
    return "; ".join(_moves(alignment.controller, 1))


def _moves(controller: Controller, state: int) -> list[str]:
    rows = [t for t in controller.transitions if t.source == state]
    return [f"{LETTERS[t.guard]}: {_ending(controller, t)}" for t in rows]


def _ending(controller: Controller, move: Transition) -> str:
    """The actions of a move and of those that follow at once, and where they lead."""
    if move.target in WHERE:
        return f"{move.action}, {WHERE[move.target]}"
    (following,) = [t for t in controller.transitions if t.source == move.target]
    return f"{move.action}, {_ending(controller, following)}"


@pytest.mark.parametrize("row", table("How it is read"), ids=lambda row: row[0])
def test_the_table_of_readings(row):
    text, *cells = row
    cells *= 3 if len(cells) == 1 else 1
    assert cells == [described(said(text), profile) for profile in PROFILES]


@pytest.mark.parametrize("row", table("What is refused"), ids=lambda row: row[0])
def test_what_is_refused(row):
    text, category, _ = row
    found = steps_to_controller(said(text), DRIVING, "natural").problems
    assert [problem.category for problem in found] == [said(category)]
    assert f"{MAX_STEPS:,} steps" in PAGE


def test_what_can_be_written():
    examples = re.findall(r"^    (.+)$", section("What can be written"), re.MULTILINE)
    assert len(examples) > 10
    for text in examples:
        alignment = steps_to_controller(text, DRIVING, "natural")
        assert alignment.controller is not None, [p.to_line() for p in alignment.problems]


def test_the_other_vocabulary(tmp_path):
    path = tmp_path / "crossing.yaml"
    path.write_text(section("Another vocabulary").split("```yaml\n")[1].split("```")[0])
    text = section("Another vocabulary").split("```text\n")[1].split("```")[0]
    controller = steps_to_controller(text, load_vocabulary(path), "natural").controller
    assert controller is not None
    assert {(t.source, t.guard, t.action, t.target) for t in controller.transitions} == {
        (0, "train_north | train_south", "halt", 0),
        (0, "!train_north & !train_south", "epsilon", 1),
        (1, "!gate_down", "cross", 2),
        (1, "gate_down", "epsilon", 1),
    }
