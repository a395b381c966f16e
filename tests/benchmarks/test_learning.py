"""The learning section of docs/results.md, from runs whose numbers are known."""

import json
import shutil
from importlib import import_module

import pytest
import yaml

from benchmarks.learning.page import Table, cell_text
from benchmarks.learning.seeds import seeds
from benchmarks.learning.tables import difference
from benchmarks.report import page
from pipeline.run_report.reading import read_run
from pipeline.run_report.scores import evaluation_of
from verifier.errors import InputError

command = import_module("benchmarks.learning.__main__")


def rate(value, low, high):
    return {"value": value, "low": low, "high": high}


def scores(value):
    return {
        "answers": 4,
        "distinct_controllers": 3,
        "distinct_correct": 2,
        "trivial_answers": 0.25,
        "tokens_per_answer": 31.5,
        "strict_success": rate(value, value / 2, 1.0),
        "paper_score": rate(0.9, 0.8, 0.95),
        "parse_rate": rate(1.0, 0.5, 1.0),
        "rules": {},
    }


def row(number, success):
    """An answer to one of two tasks of the test split."""
    return {
        "id": f"e{number}",
        "task": f"t{number % 2}",
        "split": "test",
        "verdict": {
            "parsed": True,
            "strict_success": success,
            "progress": "satisfied" if success else "violated",
            "violated": [],
            "controller": f"c{number}",
            "road": {"pedestrian_ahead": "satisfied", "progress_left": "satisfied"},
            "paper": {"phi_1": "satisfied" if success else "violated"},
        },
    }


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def evaluate(folder, successes, **fields):
    value = sum(successes) / len(successes)
    summary = {
        "model": "m",
        "samples": 1,
        "seeds": [0, 1],
        "temperature": 0.5,
        "splits": {"test": scores(value), "test_new_worlds": scores(value)},
        "best_of": {"n": 2, "strict_success": rate(1, 0.5, 1), "paper_score": rate(1, 0.5, 1)},
        "trivial": {"always_stop": scores(0.0)},
        "per_seed": {"0": {"strict_success": 0.25}, "1": {"strict_success": 0.75}},
        **fields,
    }
    write(folder / "evaluate" / "summary.json", json.dumps(summary))
    rows = [json.dumps(row(number, success)) for number, success in enumerate(successes)]
    write(folder / "evaluate" / "answers.jsonl", "\n".join(rows))
    manifest = {"stage": "evaluate", "seconds": 90.0, "versions": {"torch": "2.13.0"}}
    write(folder / "evaluate" / "manifest.json", json.dumps(manifest))


def make(folder, seed=0, rounds=1, **config):
    head = {"name": folder.name, "created": "2026-11-25T03:10:00+00:00", "version": "0.1.0"}
    write(folder / "run.json", json.dumps(head))
    settings = {
        "name": folder.name,
        "seed": seed,
        "rounds": rounds,
        "model": {"name": "/somewhere/private/model"},
        "train": {"beta": 0.1},
        "variants": [{"name": "counted", "set": {"rank.order": "paper_count"}}],
        **config,
    }
    write(folder / "config.yaml", yaml.safe_dump(settings))
    evaluate(folder / "round-00", [False] * 4)
    for number in range(1, rounds + 1):
        evaluate(folder / f"round-{number:02d}", [True] * (2 + number) + [False] * (2 - number))
    write(folder / "round-01" / "rank" / "summary.json", json.dumps({"pairs": 7, "tasks": 2}))
    return folder


@pytest.fixture
def run(tmp_path):
    folder = make(tmp_path / "main")
    evaluate(folder / "variants" / "counted", [False] * 4)
    return folder


def tables_of(*folders):
    found = command.content([read_run(folder) for folder in folders])
    return {table["title"]: table for table in found["tables"]}


def column(table, name):
    return {line[""]: line.get(name) for line in table["rows"]}


def test_side_by_side(run):
    table = tables_of(run)["Side by side"]
    correct = column(table, "answers proven correct")
    assert list(correct) == [
        "base", "round 1", "base, best of 2", "round 1, best of 2", "counted", "always stop",
    ]  # fmt: skip
    assert correct["round 1"] == rate(0.75, 0.375, 1.0)
    assert column(table, "points on round 1")["counted"]["value"] == -0.75
    assert column(table, "points on round 1")["round 1"] is None
    assert "25.0 % with 0, 75.0 % with 1" in table["notes"][0]


def test_only_the_paper_count_is_set_beside_round_1(run):
    evaluate(run / "variants" / "other", [True] * 4)
    table = tables_of(run)["Ranked by the paper's count of rules"]
    assert list(column(table, "")) == ["base", "round 1", "counted"]
    assert column(table, "safe, never gets there") == {"base": 1.0, "round 1": 0.25, "counted": 1.0}


def test_a_rule_that_got_worse_is_marked(run):
    evaluate(run / "round-00", [True] * 40)
    evaluate(run / "round-01", [False] * 40)
    marks = column(tables_of(run)["Every specification, before and after"], "mark")
    assert marks == {
        "road pedestrian ahead": "",
        "road progress": "",
        "paper phi 1": "regression",
    }


def test_time_adds_up(run):
    time = column(tables_of(run)["Time"], "all")
    assert time == {"base": 90.0, "round 1": 90.0, "counted": 90.0, "all": 270.0}


def test_what_the_run_was_to_do_and_did_not(run):
    shutil.rmtree(run / "variants")
    assert column(tables_of(run)["What was run"], "value")["not finished"] == "counted"


def test_means_are_over_runs_that_learn_alike(run, tmp_path):
    alike = make(tmp_path / "alike", seed=1, evaluate={"samples": 2})
    evaluate(alike / "round-01", [True, False, False, False])
    other = make(tmp_path / "other", seed=2, train={"beta": 0.5})
    table = seeds([read_run(folder) for folder in (run, other, alike)])
    rows = list(table.rows)
    assert [line[""] for line in rows] == [
        "seed 0", "seed 1", "mean of 2 (lowest–highest)", "seed 2",
    ]  # fmt: skip
    assert rows[2]["round 1"] == rate(0.5, 0.25, 0.75)
    assert [line.get("settings") for line in rows] == [
        "the run above", "alike", None, "other",
    ]  # fmt: skip
    assert table.notes[1:] == [
        "Settings of other that differ: train.beta 0.5.",
        "Settings of alike that differ: evaluate.samples 2.",
    ]


def test_no_mean_of_a_round_that_some_run_lacks(run, tmp_path):
    longer = make(tmp_path / "longer", seed=1, rounds=2)
    mean = seeds([read_run(run), read_run(longer)]).rows[-1]
    assert mean["round 1"] is not None
    assert mean["round 2"] is None


def test_each_seed_has_the_champion_of_its_own_choice(run, tmp_path):
    other = make(tmp_path / "other", seed=1, rounds=2)
    for folder, chosen in ((run, "round-01"), (other, "round-02")):
        selection = {"champion": chosen, "metric": "strict_success", "split": "train"}
        write(folder / "select" / "selection.json", json.dumps(selection))
    table = seeds([read_run(folder) for folder in (run, other)])
    first, second, mean = table.rows
    assert (first["which"], second["which"]) == ("round 1", "round 2")
    assert (first["champion"], second["champion"]) == (first["round 1"], second["round 2"])
    assert mean["champion"] == rate(0.875, 0.75, 1.0)
    assert "best answers to train tasks" in table.notes[0]


def small(right):
    rates = {name: rate(right, right / 2, 1.0) for name in RATES}
    return {"all": {"answers": 8, **rates}, "splits": {"test": {}}, "perplexity": {"neutral": 20.0}}


def change(lost):
    interval = rate(-lost / 8, -0.5, 0.0)
    drift = {"per_token": 0.25, "same_choice": 0.9}
    return {
        "strict_success": {**interval, "lost": lost, "gained": 0},
        "by_task": interval,
        "drift": drift,
    }


RATES = ("strict_success", "paper_score", "parse_rate")
QUANTIZED = {
    "base": "merged",
    "method": "gptq",
    "bits": 4,
    "group": 64,
    "symmetric": False,
    "size": {"weights": 100, "bytes_bf16": 200, "bytes": 60, "adapter_bytes": 10},
    "models": {"bf16": small(1.0), "quantized": small(0.75), "recovered": small(1.0)},
    "compared": {"quantized": change(2), "recovered": change(0)},
    "kept": "recovered",
    "gate": {"passed": True, "reasons": []},
}


def test_the_champion_in_few_bits(run):
    assert tables_of(run)["The champion in few bits"]["rows"] == []
    write(run / "quantize" / "summary.json", json.dumps(QUANTIZED))
    table = tables_of(run)["The champion in few bits"]
    kept = "with an adapter trained on it, kept"
    assert column(table, "lost") == {"16 bits": None, "4 bits": 2, kept: 0}
    assert column(table, "bits per weight") == {"16 bits": 16.0, "4 bits": 4.8, kept: 5.6}
    assert column(table, "answers proven correct")["4 bits"] == rate(0.75, 0.375, 1.0)
    assert column(table, "points on 16 bits")["4 bits"] == "−25.0 (−50.0 to 0.0)"
    assert "with the adapter merged into them. 8 answers to tasks of test" in table["notes"][0]
    assert table["notes"][0].endswith("The gate passed.")


def test_one_run_has_no_table_of_seeds(run):
    assert tables_of(run)["Training seeds"]["rows"] == []


def test_variants_of_another_folder_with_the_same_answers(run, tmp_path):
    lines = json.dumps({"id": "r1", "task": "t0", "text": "1. Stop."})
    write(run / "round-01" / "generate" / "answers.jsonl", lines)
    verdict = {"answer": "r1", "parsed": False}
    write(run / "round-01" / "verify" / "verdicts.jsonl", json.dumps(verdict))
    beside = shutil.copytree(run, tmp_path / "beside")
    shutil.rmtree(run / "variants")
    merged = command.with_variants(read_run(run), read_run(beside))
    assert [one.name for one in merged.variants] == ["counted"]
    assert column(command.making.costs(merged).to_json(), "all")["counted"] == 90.0
    write(beside / "round-01" / "generate" / "answers.jsonl", lines.replace("Stop", "Go"))
    with pytest.raises(InputError, match="do not branch off the answers of main"):
        command.with_variants(read_run(run), read_run(beside))


def test_page_and_picture_from_the_command(run, tmp_path):
    folder = tmp_path / "docs" / "results"
    assert command.main([str(run)], folder) == 0
    text = (folder / "learning.json").read_text()
    assert str(tmp_path) not in text
    assert "/somewhere" not in text
    other = {"benchmark": "a", "machine": json.loads(text)["machine"], "versions": {}, "rows": []}
    write(folder / "another.json", json.dumps({**other, "commit": "", "date": ""}))
    written = page(folder)
    headings = [line for line in written.splitlines() if line.startswith("## ")]
    assert headings == ["## Learning: the run `main`", "## a"]
    assert "| round 1 | DPO, 7 pairs | 75.0 % (38–100) |" in written.translate(
        {0xA0: " ", 0x2060: None}
    )
    picture = folder.parent / command.PICTURE
    first = picture.read_bytes()
    assert len(first) < 150_000
    assert command.main([str(run)], folder) == 0
    assert picture.read_bytes() == first


def test_nothing_evaluated_is_an_error(run, capsys, tmp_path):
    for place in (*run.glob("round-*"), run / "variants"):
        shutil.rmtree(place)
    assert command.main([str(run)], tmp_path / "docs" / "results") == 2
    assert "nothing was evaluated" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (rate(0.956, 0.914, 0.978), "rate", "95.6 % (91–98)"),
        (rate(0.123, -0.041, 0.2), "difference", "+12.3 (−4.1 to +20.0)"),
        (0.917, "share", "91.7 %"),
        (12345, "count", "12,345"),
        (421.0, "seconds", "7 min 1 s"),
        (21.43, "number", "21.4"),
        (None, "rate", "–"),
        ("a | b\n<i>", "text", "a \\| b &lt;i>"),
    ],
)
def test_cells(value, kind, text):
    assert cell_text(value, kind) == text


def test_columns_without_values_and_tables_without_rows_are_left_out():
    table = Table("T", "S.", {"": "text", "a": "count", "b": "count"}, [{"": "x", "a": 0}])
    assert list(table.to_markdown()) == [
        "### T", "", "S.", "", "|  | a |", "| --- | ---: |", "| x | 0 |", "",
    ]  # fmt: skip
    assert list(Table("T", "S.", {"a": "count"}, []).to_markdown()) == []


def test_interval_of_a_difference_is_over_tasks():
    def answered(*successes_by_task):
        rows = [
            {**row(0, success), "id": f"{task}-{number}", "task": str(task)}
            for task, successes in enumerate(successes_by_task)
            for number, success in enumerate(successes)
        ]
        return evaluation_of({}, rows)

    before = answered([False, False], [False, False], [True, True])
    assert difference(before, answered([True, True], [True, True], [True, True]), "test") == (
        pytest.approx(rate(2 / 3, 0.0, 1.0))
    )
    same = difference(before, before, "test")
    assert same == rate(0.0, 0.0, 0.0)
    assert difference(before, before, "train") is None
