"""A run of which something is missing: the page shows the rest and claims nothing else."""

import json
import re
import shutil

import pytest
from html_page import read

from pipeline.run_report import run_page
from verifier.errors import InputError


@pytest.fixture
def run(full, tmp_path):
    return shutil.copytree(full, tmp_path / "run")


def change(run, place, **fields):
    path = run / place / "evaluate" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def titles(tree):
    return [section.attributes["id"] for section in tree.all("section")]


def test_no_variants_and_no_repair(run):
    shutil.rmtree(run / "variants")
    for folder in run.glob("round-*/repair"):
        shutil.rmtree(folder)
    tree = read(run_page(run))
    assert "variants of round 1" not in tree.text
    assert "repair" not in titles(tree)
    assert "repaired symbolically" not in tree.text


def test_unfinished_run_shows_the_last_round_that_was_evaluated(run):
    shutil.rmtree(run / "select")
    shutil.rmtree(run / "round-02" / "evaluate")
    tree = read(run_page(run))
    assert "Not finished." in tree.text
    assert "after round 1" in tree.one("p", class_="lead").text
    assert not tree.all(class_="mark") or "champion" not in tree.one("table", class_="ways").text


def test_nothing_but_the_base(run):
    for folder in (*run.glob("round-0[12]"), run / "variants", run / "select"):
        shutil.rmtree(folder)
    tree = read(run_page(run))
    assert tree.one("h1").text.endswith("of the answers are proven correct before training")
    assert not tree.all(class_="old", name="span")
    assert "training" not in titles(tree)
    assert "less often than before" not in tree.text


def test_nothing_at_all(run):
    for folder in (*run.glob("round-*"), run / "variants", run / "select"):
        shutil.rmtree(folder)
    tree = read(run_page(run))
    assert tree.one("h1").text == "Nothing has been evaluated yet"
    assert titles(tree) == ["making"]


def test_validation_tasks_alone_are_not_called_held_out(run):
    for place in ("round-00", "round-01", "round-02"):
        splits = json.loads((run / place / "evaluate" / "summary.json").read_text())["splits"]
        change(run, place, splits={"validation": splits["validation"]})
    shutil.rmtree(run / "variants")
    tree = read(run_page(run))
    lead = tree.one("p", class_="lead").text
    assert "validation tasks" in lead
    assert "held-out task" not in tree.text
    assert "which flatters it" in lead  # the champion was chosen on them
    assert "worlds that training never showed" not in lead


def test_robustness_not_measured(run):
    nothing = {"paraphrased": None, "renamed": None, "perplexity": None, "kl": None}
    for place in ("round-00", "round-01", "round-02"):
        change(run, place, **nothing, per_seed={"0": {"strict_success": 0.5}})
    tree = read(run_page(run))
    assert "lasting" not in titles(tree)
    assert "Distance from the base" not in tree.text


def test_answers_not_kept(run):
    for path in run.glob("*/evaluate/answers.jsonl"):
        path.unlink()
    tree = read(run_page(run))
    assert "before-after" not in titles(tree)
    assert "rules-road" in titles(tree)


def test_an_unread_answer_does_not_count_where_a_rule_does_not_apply(full):
    base, last = (
        [json.loads(line) for line in (full / place).read_text().splitlines()]
        for place in ("round-00/evaluate/answers.jsonl", "round-02/evaluate/answers.jsonl")
    )
    test = [row for row in base if row["split"] == "test"]
    unread = {row["task"] for row in test if not row["verdict"]["parsed"]}
    outside = {
        (row["task"], rule)
        for row in (*base, *last)
        for rule, verdict in row["verdict"]["road"].items()
        if verdict == "inapplicable"
    }
    assert any(task in unread for task, _ in outside)
    tree = read(run_page(full))
    for rule in tree.one("section", id="rules-road").all("div", class_="rule"):
        name = rule.one("b").text.replace(" ", "_")
        before = rule.all("span", class_="stack")[0].attributes["aria-label"]
        expected = sum((row["task"], name) in outside for row in test)
        assert sum(map(int, re.findall(r"\d+", before))) == len(test)
        assert f"{expected} inapplicable" in before or not expected


def test_a_worse_model_is_called_worse(run):
    old = json.loads((run / "round-00" / "evaluate" / "summary.json").read_text())["splits"]
    new = json.loads((run / "round-02" / "evaluate" / "summary.json").read_text())["splits"]
    change(run, "round-00", splits=new)
    change(run, "round-02", splits=old)
    selection = run / "select" / "selection.json"
    data = json.loads(selection.read_text())
    data["champion"] = "round-02"
    data["gate"] = {"passed": False, "reasons": ["strict success went down"], "gain": -0.9}
    selection.write_text(json.dumps(data))
    for path in run.glob("*/evaluate/answers.jsonl"):
        path.unlink()
    tree = read(run_page(run))
    assert tree.one("h1").text.startswith("Fewer answers proven correct")
    assert "Gate not passed." in tree.text
    assert "strict success went down" in tree.one(class_="reasons").text
    assert tree.all("div", class_="regressed")
    assert "less often than before, beyond the interval" in tree.one("p", class_="lead").text


def test_not_a_run(tmp_path):
    with pytest.raises(InputError, match=r"no run\.json"):
        run_page(tmp_path)


def test_a_damaged_file_is_named(run):
    (run / "round-01" / "train" / "curves.jsonl").write_text('{"step": 1}\n{"step"')
    with pytest.raises(InputError, match="line 2") as error:
        run_page(run)
    assert error.value.file == run / "round-01" / "train" / "curves.jsonl"
