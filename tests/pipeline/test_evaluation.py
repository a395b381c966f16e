"""Scores of answers."""

from __future__ import annotations

import pytest
from golden import AFTER_TEXT, BEFORE_TEXT

from pipeline.evaluation import PROGRESS, Judge, Judged, summarize, trivial_answers
from pipeline.tasks import Task
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
TASK = Task("t", "turn right at the traffic light", "paper_traffic_light", "turn_right", "train")
CAREFUL = (
    "1. Stop.\n2. If the traffic light is green and there is no car from left and there is no "
    "pedestrian at right, turn right."
)
HASTY = "1. Turn right."
NONSENSE = "1. Observe the moon."


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(VOCABULARY, SHIPPED["default"])


@pytest.fixture(scope="module")
def judged(judge: Judge) -> list[Judged]:
    return [judge.judge(TASK, text) for text in (CAREFUL, HASTY, NONSENSE, BEFORE_TEXT)]


def test_strict_success_needs_every_rule_and_the_manoeuvre(judge: Judge) -> None:
    assert judge.judge(TASK, CAREFUL).strict_success
    assert not judge.judge(TASK, HASTY).strict_success
    assert not judge.judge(TASK, AFTER_TEXT.replace("turn right", "turn left")).strict_success


def test_always_stopping_scores_under_the_paper_and_never_succeeds(judge: Judge) -> None:
    (stopped,) = trivial_answers(judge, [TASK])["always_stop"]
    assert stopped.paper_score >= 12 / 15
    assert not stopped.strict_success
    violated = [v.id for v in stopped.road.verdicts if v.value == "violated"]
    assert violated == ["progress_turn_right"]


def test_what_cannot_be_read_scores_nothing(judge: Judge) -> None:
    item = judge.judge(TASK, NONSENSE)
    assert item.controller is None
    assert (item.paper_score, item.strict_success) == (0, False)
    assert {v.value for v in (*item.road.verdicts, *item.paper.verdicts)} == {"unknown"}


def test_summary(judged: list[Judged]) -> None:
    summary = summarize(judged)
    assert (summary.answers, summary.distinct) == (4, 3)
    assert summary.parse_rate.value == 3 / 4
    assert summary.strict_success.value == 1 / 4
    assert summary.rules["road", PROGRESS]["unknown"] == 1
    assert all(sum(counts.values()) == 4 for counts in summary.rules.values())
    assert set(summary.to_json()["strict_success"]) == {"value", "low", "high"}
