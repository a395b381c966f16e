"""Scores of answers, and the demonstration's report made from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden import AFTER_TEXT, BEFORE_TEXT

from pipeline.demo import ALWAYS_STOP, Demo, Series, choose_tasks, write_artefacts
from pipeline.evaluation import PROGRESS, Judge, Judged, summarize, worst
from pipeline.report import demo_page
from pipeline.tasks import Task, load_tasks
from verifier.semantics import SHIPPED
from verifier.steps import Alignment
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
    stopped = judge.judge_alignment(TASK, "1. Stop.", Alignment(ALWAYS_STOP, ()))
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


def test_the_worst_breaks_the_most_safety_rules(judged: list[Judged]) -> None:
    bad = worst(judged)
    assert bad is not None
    assert bad.text in (HASTY, BEFORE_TEXT)
    assert worst([judged[0], judged[2]]) is None


def test_a_dozen_tasks_are_of_a_dozen_worlds() -> None:
    tasks = choose_tasks(load_tasks("driving", VOCABULARY), 12)
    assert len({task.world for task in tasks}) == 12
    assert len({task.action for task in tasks}) == 3
    bank = load_tasks("driving", VOCABULARY)
    assert len({t.id for t in choose_tasks(bank, 1000)}) == len(choose_tasks(bank, 1000))


def test_report_page_is_self_contained(judge: Judge, judged: list[Judged], tmp_path: Path) -> None:
    series = Series("free sampling", tuple(judged), summarize(judged))
    demo = Demo(
        tasks=(TASK,),
        series=(series, Series("always stopping", tuple(judged[:1]), summarize(judged[:1]))),
        worst=judge.judge(TASK, HASTY, counterexamples=True),
        best=judged[0],
        seconds={"sampling": 20.0, "verification": 1.0},
        model="<b>model</b>",
    )
    page = demo_page(demo, VOCABULARY)
    assert "&lt;b&gt;model" in page
    assert "turns right anyway" in page
    assert page.count("<svg") == 3
    for outside in ("http://", "https://"):
        addresses = {part.split('"')[0] for part in page.split(outside)[1:]}
        assert all(address.startswith("www.w3.org/") for address in addresses)
    write_artefacts(demo, tmp_path, VOCABULARY)
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["strict_success"] for row in rows[:4]] == [True, False, False, False]
    assert {p.stem for p in (tmp_path / "pictures").glob("*.png")} == {
        "worst_controller",
        "worst_counterexample",
        "best_controller",
    }
