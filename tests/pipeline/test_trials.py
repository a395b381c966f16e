"""Trial drives: what is counted, over what, and what the worst of them is."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from reference_controllers import VOCABULARY

from pipeline.config import RunConfig, TrialsConfig
from pipeline.tasks import Task
from pipeline.trials import TRIALS, WORST, Answered, mean_share, run_trials
from verifier.controller import Controller
from verifier.semantics import load_semantics
from verifier.steps import steps_to_controller

SEMANTICS = load_semantics("default")
TASK = Task("t", "turn right at the stop sign", "two_way_stop", "turn_right", "test")
GOOD = (
    "1. Stop.\n2. If there is no car from left and no pedestrian at right and no pedestrian in "
    "front, turn right.\n"
)
BLIND = "1. Turn right.\n"


def read(text: str) -> Controller:
    controller = steps_to_controller(text, VOCABULARY, "natural").controller
    assert controller is not None
    return controller


def tried(tmp_path, answers, unread=0, **changes):
    config = RunConfig(trials=TrialsConfig(simulator="walk", episodes=6, **changes))
    told = []
    run_trials(
        answers, unread, config, SEMANTICS, VOCABULARY, tmp_path, lambda *done: told.append(done)
    )
    return json.loads((tmp_path / TRIALS).read_text()), told


def test_answers_count_as_often_as_they_were_given(tmp_path):
    answers = [
        Answered("a", TASK, read(GOOD)),
        Answered("b", TASK, read(BLIND)),
        Answered("c", TASK, read(GOOD)),
        Answered("d", TASK, read(GOOD)),
    ]
    content, told = tried(tmp_path, answers, unread=2)
    assert told[-1] == (12, 12)  # equal answers are driven once
    assert (content["answers"], content["unread"], content["lost"]) == (4, 2, 0)
    entering = content["rules"]["road"]["stop_before_entering"]
    assert entering["value"] == pytest.approx(0.75)
    assert content["driving"]["finished"]["value"] == pytest.approx(1.0)
    assert content["driving"]["success"]["value"] == pytest.approx(0.75)
    assert content["rules"]["road"]["progress"]["value"] == pytest.approx(1.0)
    assert len(content["rules"]["paper"]) == 15


def test_the_worst_drive_is_filmed(tmp_path):
    content, _ = tried(
        tmp_path, [Answered("a", TASK, read(GOOD)), Answered("b", TASK, read(BLIND))]
    )
    assert content["worst"]["answer"] == "b"
    assert "stop_before_entering" in content["worst"]["broken"]
    picture = Image.open(io.BytesIO((tmp_path / WORST).read_bytes()))
    assert picture.width > 600


def test_without_a_fault_nothing_is_filmed(tmp_path):
    content, _ = tried(tmp_path, [Answered("a", TASK, read(GOOD))])
    assert content["worst"] is None
    assert not (tmp_path / WORST).exists()


def test_worlds_that_cannot_be_simulated_are_counted(tmp_path):
    nowhere = replace(TASK, id="u", world="universal")
    config = RunConfig(trials=TrialsConfig(simulator="sumo", episodes=2))
    run_trials(
        [Answered("a", nowhere, read(GOOD))],
        *(0, config, SEMANTICS, VOCABULARY, tmp_path, lambda *_: None),
    )
    content = json.loads((tmp_path / TRIALS).read_text())
    assert (content["answers"], content["not_simulated"]) == (0, 1)
    assert content["driving"]["seconds_to_finish"] is None


def test_the_interval_counts_answers_and_not_episodes():
    rate = mean_share([(0.5, 3), (1.0, 1)])
    assert rate.value == pytest.approx(0.625)
    assert rate.high - rate.low > 0.6
