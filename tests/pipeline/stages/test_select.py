"""Stage select: which round becomes the champion, and what the gate holds against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import RunConfig, SelectConfig
from pipeline.stages import select
from pipeline.stages.context import StageContext
from pipeline.stages.select import Candidate, choose, find_regressions, gate
from verifier.errors import InputError
from worlds.statistics import wilson


def scores(strict: float, paper: float = 0.5, answers: int = 100, **rules: int) -> dict[str, Any]:
    """A split's summary; ``rules``: in how many of the answers a rule of ``road`` holds."""
    return {
        "answers": answers,
        "distinct_controllers": 3,
        "strict_success": wilson(strict * answers, answers).to_json(),
        "paper_score": wilson(paper * answers, answers).to_json(),
        "parse_rate": wilson(answers, answers).to_json(),
        "rules": {
            "road": {
                name: {"satisfied": holds, "violated": answers - holds}
                for name, holds in rules.items()
            }
        },
    }


def candidates(*values: dict[str, Any]) -> list[Candidate]:
    return [Candidate(f"round-{number:02}", value) for number, value in enumerate(values)]


def test_the_best_trained_round_wins_even_below_the_base():
    assert (
        choose(candidates(scores(0.9), scores(0.2), scores(0.4)), "strict_success").name
        == "round-02"
    )
    assert choose(candidates(scores(0.9)), "strict_success").name == "round-00"


def test_of_equals_the_paper_score_decides_and_then_the_earlier_round():
    tied = candidates(scores(0), scores(0.4, 0.6), scores(0.4, 0.7), scores(0.4, 0.7))
    assert choose(tied, "strict_success").name == "round-02"


def test_the_other_metric_can_decide():
    both = candidates(scores(0), scores(0.4, 0.6), scores(0.3, 0.9))
    assert choose(both, "strict_success").name == "round-01"
    assert choose(both, "paper_score").name == "round-02"


def test_the_gate_opens_for_a_rise_without_regression():
    base, best = candidates(scores(0.1, a=50), scores(0.5, a=60))
    found = gate(base, best, SelectConfig())
    assert found == {"passed": True, "reasons": [], "gain": pytest.approx(0.4), "regressions": []}


def test_the_gate_wants_a_rise():
    base, same = candidates(scores(0.5), scores(0.5))
    found = gate(base, same, SelectConfig())
    assert found["reasons"] == ["strict success went from 50.0 % to 50.0 %, a rise is required"]
    _, better = candidates(scores(0.5), scores(0.52))
    strict = SelectConfig.model_validate({"gate": {"min_gain": 0.1}})
    assert gate(base, better, strict)["reasons"] == [
        "strict success went from 50.0 % to 52.0 %, at least 10.0 % is required"
    ]
    assert gate(base, base, SelectConfig())["reasons"] == ["nothing was trained"]


def test_a_rule_that_gets_worse_beyond_its_interval_closes_the_gate():
    base, best = candidates(scores(0.1, a=90, b=50), scores(0.5, a=60, b=45))
    found = gate(base, best, SelectConfig())
    assert not found["passed"]
    (reason,) = found["reasons"]
    assert reason.startswith(
        "road a holds in 60.0 % of the answers, below the interval of the base"
    )
    assert [(row["rules"], row["id"]) for row in found["regressions"]] == [("road", "a")]
    lenient = SelectConfig.model_validate({"gate": {"regressions": False}})
    assert gate(base, best, lenient)["passed"]
    assert gate(base, best, lenient)["regressions"] == found["regressions"]


def test_answers_to_which_a_rule_does_not_apply_do_not_count():
    before = {"road": {"a": {"satisfied": 10, "inapplicable": 90}}}
    after = {"road": {"a": {"satisfied": 8, "vacuous": 2, "inapplicable": 90}}}
    assert find_regressions(before, after) == []
    assert find_regressions(before, {"road": {"a": {"inapplicable": 100}}}) == []
    worse = {"road": {"a": {"satisfied": 2, "unknown": 8, "inapplicable": 90}}}
    assert [row["after"] for row in find_regressions(before, worse)] == [pytest.approx(0.2)]


def stage(tmp_path: Path, config: RunConfig) -> dict[str, Any]:
    """A selection between the base and two rounds, the first of which is better."""
    inputs: dict[str, Path] = {}
    for number, strict in enumerate((0.1, 0.8, 0.6)):
        name = f"round-{number:02}"
        evaluate, train = tmp_path / name / "evaluate", tmp_path / name / "train"
        evaluate.mkdir(parents=True)
        inputs[f"{name}/evaluate"] = evaluate
        (evaluate / "summary.json").write_text(
            json.dumps({"splits": {"validation": scores(strict)}})
        )
        if number:
            (train / "adapter").mkdir(parents=True)
            (train / "adapter" / "weights").write_text(name)
            inputs[f"{name}/train"] = train
    work = tmp_path / "work"
    work.mkdir()
    select.run(StageContext(config, 2, inputs, work, lambda *_: None))
    return json.loads((work / "selection.json").read_text())


def test_the_champions_adapter_is_copied(tmp_path):
    found = stage(tmp_path, RunConfig(rounds=2))
    assert found["champion"] == "round-01"
    assert found["gate"]["passed"]
    assert [one["name"] for one in found["candidates"]] == ["round-00", "round-01", "round-02"]
    assert (tmp_path / "work" / "adapter" / "weights").read_text() == "round-01"


def test_a_split_that_was_not_evaluated_is_an_error(tmp_path):
    config = RunConfig.model_validate({"select": {"split": "test"}})
    with pytest.raises(InputError, match=r"no answers to tasks of the split 'test'; set select"):
        stage(tmp_path, config)
