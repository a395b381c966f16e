"""Symbolic repair: what it returns succeeds, and it says what it changed."""

import json
from itertools import islice
from pathlib import Path

import pytest

from pipeline.evaluation import Judge
from pipeline.repair.lines import deleted, numbered
from pipeline.repair.symbolic import LONGEST, repair
from pipeline.tasks import Task, load_tasks
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

JUDGE = Judge(load_vocabulary(), SHIPPED["default"])
TASKS = {task.id: task for task in load_tasks()}
CORPUS = Path(__file__).parents[2] / "data" / "corpus" / "answers.jsonl"
RIGHT = Task("t", "turn right at the traffic light", "traffic_light", "turn_right", "train")


def failing(every):
    """Readable answers of the real model without success."""
    rows = map(json.loads, CORPUS.read_text("utf-8").splitlines()[::every])
    for row in rows:
        judged = JUDGE.judge(TASKS[row["task"]], row["text"])
        if judged.controller is not None and not judged.strict_success:
            yield judged


def test_most_failures_of_the_real_model_are_mended_and_all_that_is_returned_succeeds():
    tried = list(islice(failing(every=11), 12))
    assert len(tried) == 12
    mended = 0
    for judged in tried:
        for found in repair(JUDGE, judged.task, judged.text):
            again = JUDGE.judge(judged.task, found.text)
            assert again.strict_success
            assert again.road.controller_hash == found.controller_hash
            assert 1 <= len([e for e in found.edits if not e.endswith("not needed")]) <= 6
            assert found.text.count("\n") < LONGEST
            mended += 1
    assert mended >= 7


def test_a_guard_is_strengthened_by_the_fact_at_fault():
    text = "1. Stop.\n2. If there is no pedestrian at right and no pedestrian in front, turn right."
    (found,) = repair(JUDGE, RIGHT, text)
    assert found.edits == ("step 2 asks for no car from left",)
    assert "no car from left" in found.text
    assert "no pedestrian at right" in found.text


def test_a_missing_manoeuvre_is_appended_and_then_made_safe():
    (found,) = repair(JUDGE, RIGHT, "1. Stop.")
    assert found.edits[0] == "step 2 makes the manoeuvre"
    assert JUDGE.judge(RIGHT, found.text).strict_success


def test_no_step_that_acts_could_be_left_out():
    text = "1. Stop.\n2. If there is a car from left, stop.\n3. Turn right.\n4. Turn left."
    (found,) = repair(JUDGE, RIGHT, text)
    assert any(edit.endswith("not needed") for edit in found.edits)
    lines = [line.partition(". ")[2] for line in found.text.splitlines()]
    for step in range(1, len(lines) + 1):
        if lines[step - 1].startswith("Observe"):
            continue
        shorter = numbered(deleted(tuple(lines), step))
        assert not JUDGE.judge(RIGHT, shorter).strict_success


def test_several_repairs_have_different_controllers():
    found = repair(JUDGE, RIGHT, "1. Turn right.", most=3, budget=200)
    assert len({one.controller_hash for one in found}) == len(found) > 1
    assert [len(one.edits) for one in found] == sorted(len(one.edits) for one in found)


@pytest.mark.parametrize("limits", [{"budget": 1}, {"max_edits": 1}])
def test_limits_are_kept(limits):
    """Three guards are missing, which takes three edits."""
    assert repair(JUDGE, RIGHT, "1. Turn right.", **limits) == ()


def test_what_succeeds_or_cannot_be_read_is_left_alone():
    good = (
        "1. Stop.\n2. If there is no car from left and no pedestrian at right "
        "and no pedestrian in front, turn right."
    )
    assert JUDGE.judge(RIGHT, good).strict_success
    assert repair(JUDGE, RIGHT, good) == ()
    assert repair(JUDGE, RIGHT, "1. Observe the moon.") == ()
