"""What a stage logs, before any store: pure functions of files."""

import json
import sys

import pytest

from pipeline.tracking.connection import DEFAULT_URI, reason, resolve_uri, without_password
from pipeline.tracking.content import Picture, Point, Table
from pipeline.tracking.description import describe
from pipeline.tracking.layout import finished, open_run
from pipeline.tracking.projection import flat, project
from pipeline.tracking.rows import MAX_ROWS, answers_table, read_rows
from pipeline.tracking.scores import essential, rule_points, summary_points


def of(run, path):
    place = next(place for place in finished(run) if place.path == path)
    return project(open_run(run), place)


def test_stages_in_the_order_of_a_run(run):
    (run / ".train.partial").mkdir()
    (run / "round-01/rank/manifest.json").unlink()
    assert [place.path for place in finished(run)] == [
        "round-00/evaluate",
        "round-01/generate",
        "round-01/verify",
        "round-01/repair",
        "round-01/train",
        "round-01/evaluate",
        "variants/no_repair/train",
        "variants/no_repair/evaluate",
        "select",
    ]


def test_rules_are_shares_of_the_answers_to_which_they_apply():
    counts = {"satisfied": 5, "vacuous": 1, "violated": 2, "unknown": 0, "inapplicable": 90}
    found = {p.key: p.value for p in rule_points({"rules": {"paper": {"phi_5": counts}}}, 2)}
    assert found == {
        "spec/phi_5/satisfied": 0.625,
        "spec/phi_5/vacuous": 0.125,
        "spec/phi_5/violated": 0.25,
        "spec/phi_5/unknown": 0.0,
    }
    never = {"rules": {"paper": {"phi_5": {"inapplicable": 4}}}}
    assert rule_points(never, 2) == []


def test_a_rule_of_two_books_keeps_them_apart():
    scores = {"rules": {book: {"stop": {"satisfied": 1}} for book in ("paper", "road")}}
    keys = {point.key for point in rule_points(scores, 0)}
    assert {"spec/paper.stop/satisfied", "spec/road.stop/satisfied"} <= keys


def test_rates_without_answers_are_left_out():
    nothing = {"value": None, "low": None, "high": None}
    assert summary_points("test", {"strict_success": nothing, "answers": 0}, 1) == [
        Point("test/answers", 0.0, 1)
    ]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("test/strict_success", True),
        ("spec/phi_5/satisfied", True),
        ("spec/phi_5/unknown", False),
        ("interval/test/strict_success_low", False),
        ("always_stop/paper_score", False),
        ("seed_0/strict_success", False),
    ],
)
def test_what_the_whole_run_shows(key, shown):
    assert essential(Point(key, 0.5, 1)) is shown


def test_a_variant_leaves_the_whole_run_alone(run):
    content = of(run, "variants/no_repair/evaluate")
    assert content.metrics
    assert (content.parent_metrics, content.parent_datasets, content.parent_blobs) == ((), (), {})


def test_trial_drives(run):
    folder = run / "round-01/evaluate"
    rate = {"value": 0.75, "low": 0.5, "high": 0.9}
    driving = {"collision": rate, "seconds_to_finish": 9.5}
    trials = {"rules": {"road": {"yield_to_left": rate}}, "driving": driving}
    (folder / "trials.json").write_text(json.dumps(trials))
    (folder / "worst.png").write_bytes(b"picture")
    content = of(run, "round-01/evaluate")
    values = {point.key: point.value for point in content.metrics}
    assert values["trials/road/yield_to_left"] == 0.75
    assert values["interval/trials/collision_low"] == 0.5
    assert values["trials/seconds_to_finish"] == 9.5
    assert content.blobs["pictures/worst_drive.png"] == b"picture"
    assert content.parent_blobs["pictures/round-01_worst_drive.png"] == b"picture"
    assert not [p for p in of(run, "round-00/evaluate").metrics if p.key.startswith("trials")]


def test_selection(run):
    content = of(run, "select")
    assert content.tags["gate"] == "passed"
    assert content.tags["champion"] == "round-01"
    table = content.tables["tables/candidates.json"]
    assert dict(zip(table.columns, table.rows[1], strict=True))["champion"] is True


def test_tables_are_in_the_form_of_the_viewer():
    table = Table.of([{"a": 1}, {"b": Picture("pictures/x.png")}])
    assert json.loads(table.to_json()) == {
        "columns": ["a", "b"],
        "data": [
            [1, None],
            [
                None,
                {
                    "type": "image",
                    "filepath": "pictures/x.png",
                    "compressed_filepath": "pictures/x.png",
                },
            ],
        ],
    }


def test_long_tables_are_cut():
    assert len(answers_table([{"text": "1. Stop."}] * (MAX_ROWS + 1), {}).rows) == MAX_ROWS


def test_any_line_separator_within_an_answer(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"text": "1. Stop.\u2028"}, ensure_ascii=False) + "\n", "utf-8")
    assert read_rows(file) == [{"text": "1. Stop.\u2028"}]


def test_description(run):
    text = describe(finished(run))
    summary = json.loads((run / "round-01/evaluate/summary.json").read_text())
    strict = summary["splits"]["test"]["strict_success"]["value"]
    assert text.startswith("Selected: **round-01**. Gate **passed**")
    assert f"| round 1 | {100 * strict:.1f} % [" in text
    assert "| variant no_repair | " in text
    assert describe([]) == ""


def test_configuration_is_flattened():
    config = {"train": {"lora": {"rank": 16}, "beta": 0.1}, "seeds": [0, 1], "limit": None}
    assert flat(config) == {
        "train.lora.rank": "16",
        "train.beta": "0.1",
        "seeds": "[0, 1]",
        "limit": "null",
    }


def test_addresses(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert DEFAULT_URI == "sqlite:///mlflow.db"
    assert resolve_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000/")
    assert resolve_uri(None) == "http://server:5000"
    assert resolve_uri("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"


def test_passwords_are_not_shown():
    assert without_password("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert reason(ValueError("bad http://me:secret@host/x")) == "bad http://host/x"
    assert "\n" not in reason(ValueError("one\ntwo " + "x" * 500))


def test_importing_the_package_does_not_import_mlflow():
    import subprocess

    code = "import sys, pipeline.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
