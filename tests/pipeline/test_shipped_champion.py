"""The adapter in models/champion: what it claims holds, and it still answers as it did."""

import json
from pathlib import Path

import pytest

from pipeline.adapters import WEIGHTS, check_adapter
from pipeline.champion import CERTIFICATES, SCORES
from pipeline.config_files import load_config
from pipeline.evaluation import Judge
from pipeline.files import read_rows
from pipeline.generation import Sampling, generate
from pipeline.models import load_model
from pipeline.prompts import load_template
from pipeline.tasks import load_tasks, task_prompt
from verifier.certificate import verify_certificate
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

CHAMPION = Path(__file__).parents[2] / "models" / "champion"
HELD_OUT = {task.id: task for task in load_tasks() if task.split == "test"}


def test_it_is_small_and_comes_with_its_configuration_and_scores():
    assert (CHAMPION / WEIGHTS).stat().st_size <= 10_000_000
    config = load_config(CHAMPION / "config.yaml")
    scores = json.loads((CHAMPION / SCORES).read_text())
    assert scores["gate"]["passed"]
    assert (scores["run"], scores["seed"]) == (config.name, config.seed)
    before, after = (scores[key]["splits"]["test"] for key in ("base", "scores"))
    assert after["strict_success"]["low"] > before["strict_success"]["high"]
    assert after["trivial_answers"] < 0.02


def test_every_certificate_is_confirmed_and_is_about_what_the_text_says():
    rows = read_rows(CHAMPION / CERTIFICATES)
    assert len(rows) >= 0.9 * len(HELD_OUT)
    judge = Judge(load_vocabulary(), SHIPPED["default"])
    for row in rows:
        assert verify_certificate(row) == ()
        task = HELD_OUT[row["answer"]["task"]]
        judged = judge.judge(task, row["answer"]["text"])
        assert judged.strict_success
        assert judged.road.controller_hash == row["hashes"]["controller"]


@pytest.mark.model
def test_its_most_probable_answers_succeed_on_held_out_tasks():
    model = load_model(device="cpu", adapter=CHAMPION)
    check_adapter(CHAMPION, model.folder)
    judge = Judge(load_vocabulary(), SHIPPED["default"])
    template = load_template("observed")
    tasks = list(HELD_OUT.values())[::9]
    prompts = [task_prompt(task, template, judge.vocabulary) for task in tasks]
    answers = generate(model, prompts, 1, Sampling(temperature=0, max_new_tokens=90))
    correct = [
        judge.judge(task, answer.text).strict_success
        for task, answer in zip(tasks, answers, strict=True)
    ]
    assert sum(correct) >= len(correct) - 1
