"""``specdrive perception``: every sub-command from the outside, with JSON, tables and bad input."""

import json

import numpy as np
import pytest

from pipeline.cli import run
from pipeline.commands.perception_detector import CONDITIONS
from worlds.perception.conditions import CONDITIONS as KNOWN
from worlds.perception.detections import detection_rows, detections_of

BETTER = """\
1. Observe the traffic light.
2. Check the car from left and the pedestrian at right.
3. If there is neither a car from left nor a pedestrian at right, turn right.
"""


def write_detections(path, accuracy=0.9, seed=0, scenes=600):
    chance = np.random.default_rng(seed)
    confidence = chance.random((scenes, 2))
    truth = chance.random((scenes, 2)) < (1 - accuracy) + (2 * accuracy - 1) * confidence
    made = detections_of(
        path.stem,
        ("car_from_left", "pedestrian_at_right"),
        confidence,
        truth,
        np.arange(scenes) // 10,
        np.arange(scenes) % 10 * 1.0,
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in detection_rows(made)))
    return str(path)


@pytest.fixture
def steps(tmp_path):
    path = tmp_path / "better.txt"
    path.write_text(BETTER)
    return str(path)


def result(capsys):
    return json.loads(capsys.readouterr().out)


def test_calibrate(tmp_path, capsys):
    file, plot, noise = (
        write_detections(tmp_path / "day.jsonl"),
        tmp_path / "r.png",
        tmp_path / "n.json",
    )
    assert (
        run(["perception", "calibrate", file, "--json", "--plot", str(plot), "--noise", str(noise)])
        == 0
    )
    found = result(capsys)
    assert found["domain"] == "day"
    assert (
        found["calibration"]["platt"]["brier"]["value"]
        < found["calibration"]["as it is"]["brier"]["value"] + 0.01
    )
    assert {row["proposition"] for row in found["quality"]} == {
        "car_from_left",
        "pedestrian_at_right",
    }
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert set(json.loads(noise.read_text())["propositions"]) == {
        "car_from_left",
        "pedestrian_at_right",
    }
    assert run(["perception", "calibrate", file, "--view", "answers", "--method", "isotonic"]) == 0
    shown = capsys.readouterr().out
    assert "ECE, equal mass" in shown
    assert "car_from_left" in shown


def test_compare_says_equivalent_different_or_undecided(tmp_path, capsys):
    a = write_detections(tmp_path / "a.jsonl", scenes=3000)
    same = write_detections(tmp_path / "same.jsonl", seed=1, scenes=3000)
    other = write_detections(tmp_path / "other.jsonl", accuracy=0.6, seed=2, scenes=3000)
    few = write_detections(tmp_path / "few.jsonl", seed=3, scenes=100)
    plot = tmp_path / "c.png"
    options = ["--margin", "0.15", "--bins", "5", "--json"]
    assert run(["perception", "compare", a, same, *options, "--plot", str(plot)]) == 0
    found = result(capsys)
    assert found["equivalence"]["decision"] == "equivalent"
    assert set(found["distances"]) == {"max_gap", "mean_gap", "total_variation", "wasserstein"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run(["perception", "compare", a, other, *options]) == 1
    assert result(capsys)["equivalence"]["decision"] == "different"
    assert run(["perception", "compare", a, few, "--margin", "0.02"]) == 1
    assert "undecided at a margin of 0.02" in capsys.readouterr().out


def test_effect_with_noise_bands_and_pictures(tmp_path, capsys, steps):
    noise = tmp_path / "n.json"
    assert (
        run(
            [
                "perception",
                "calibrate",
                write_detections(tmp_path / "d.jsonl"),
                "--noise",
                str(noise),
            ]
        )
        == 0
    )
    capsys.readouterr()
    out = tmp_path / "out"
    command = ["perception", "effect", steps, "-w", "walk/traffic_light", "--action", "turn_right"]
    command += [
        "-r",
        "paper",
        "-s",
        "paper",
        "-n",
        "60",
        "--accuracy",
        "0.8",
        "--noise",
        str(noise),
    ]
    assert run([*command, "--band", "0.3", "--out", str(out), "--json"]) == 0
    found = result(capsys)
    rows = found["controllers"][steps]
    assert [(r["condition"], r["band"]) for r in rows] == [
        ("truth", 0), ("accuracy 0.8", 0), ("accuracy 0.8", 0.3), ("noise n", 0), ("noise n", 0.3),
    ]  # fmt: skip
    truth, noisy, careful = rows[:3]
    assert truth["p_phi"]["phi_5"]["value"] == 1
    assert noisy["p_phi"]["phi_5"]["value"] < careful["p_phi"]["phi_5"]["value"]
    assert 1 - noisy["p_phi"]["phi_5"]["value"] <= noisy["differs"]["value"]
    assert noisy["bound"]["choice"] <= noisy["bound"]["any"]
    assert careful["bound"] is None
    assert sorted(p.name for p in out.iterdir()) == [
        "bands_better_accuracy_0.8.png", "bands_better_noise_n.png", "effect.png",
    ]  # fmt: skip
    assert run([*command[:-2], "-n", "20"]) == 0
    assert "violates" in capsys.readouterr().out


def test_a_detector_is_trained_evaluated_and_drives(tmp_path, capsys, steps):
    folder, file = tmp_path / "eyes", tmp_path / "d.jsonl"
    train = ["perception", "detector", "train", "walk/traffic_light", "--pictures", "60"]
    assert run([*train, "--size", "32", "--epochs", "2", "--out", str(folder), "--json"]) == 0
    card = result(capsys)
    assert card["parameters"] < 300_000
    assert len(card["losses"]) == 2
    evaluate = ["perception", "detector", "evaluate", str(folder), "walk/traffic_light"]
    assert (
        run(
            [
                *evaluate,
                "--pictures",
                "30",
                "--condition",
                "fog",
                "--detections",
                str(file),
                "--json",
            ]
        )
        == 0
    )
    found = result(capsys)
    assert found["domain"] == "walk/traffic_light, fog"
    assert len(found["quality"]) == 7
    assert run(["perception", "calibrate", str(file)]) == 0
    effect = ["perception", "effect", steps, "-w", "walk/traffic_light", "-n", "3", "-s", "paper"]
    assert run([*effect, "--detector", str(folder), "--max-seconds", "15", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["controllers"][steps]
    assert [r["condition"] for r in rows] == ["truth", "detector eyes"]
    assert (
        run(
            [
                "perception",
                "effect",
                steps,
                "-w",
                "walk/roundabout",
                "-n",
                "2",
                "--detector",
                str(folder),
            ]
        )
        == 2
    )
    assert "differ in what can be observed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate", "missing.jsonl"], "missing.jsonl"),
        (["compare", "missing.jsonl", "missing.jsonl"], "missing.jsonl"),
        (["effect", "STEPS", "-w", "walk/nowhere"], "nowhere"),
        (["effect", "STEPS", "-w", "walk/traffic_light", "--action", "stop"], "no manoeuvre 'stop'"),
        (["effect", "STEPS", "-w", "walk/traffic_light", "--detector", "nowhere"], "detector.json"),
        (["effect", "STEPS", "-w", "walk/traffic_light", "--accuracy", "0.3"], "0.3"),
        (["detector", "evaluate", "nowhere", "walk/traffic_light"], "detector.json"),
        (["detector", "train", "walk/traffic_light", "--out", "x", "--size", "50", "--pictures", "40"], "multiple of 16"),
        (
            ["detector", "train", "walk/traffic_light", "walk/roundabout", "--out", "x", "--size", "16", "--pictures", "4"],
            "differ in what can be observed",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_two(
    tmp_path, monkeypatch, capsys, steps, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert run(["perception", *(steps if a == "STEPS" else a for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_an_unreadable_controller_is_named(tmp_path, capsys):
    path = tmp_path / "odd.txt"
    path.write_text("1. Sing a song about the moon.\n")
    assert run(["perception", "effect", str(path), "-w", "walk/traffic_light"]) == 2
    assert "odd.txt" in capsys.readouterr().err


def test_the_conditions_offered_are_those_there_are():
    assert tuple(KNOWN) == CONDITIONS
