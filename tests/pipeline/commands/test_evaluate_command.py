"""``specdrive evaluate`` as a user meets it: a task file, a world beside it, a model that is told
what to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import generation
from pipeline.cli import run
from pipeline.decoding import Completion, Request

WORLD = """
name: quarry_gate
text: Lorries come from the left.
propositions: [car_from_left]
actions: [turn_right, go_straight]
assumptions: ['GF !car_from_left']
"""
TASKS = """
tasks:
  - {id: right, prompt: turn right at the quarry, world: quarry.yaml, action: turn_right, split: test}
  - {id: straight, prompt: go straight at the quarry, world: quarry.yaml, action: go_straight, split: train}
"""
GOOD = "1. If there is no car from left, {}."
BAD = "1. Observe the car from left.\n2. Turn right."
NONSENSE = "1. Consult the oracle."
Outcome = tuple[int, str, str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> list[Request]:
    """What the model was asked; it drives well to the right, badly ahead, and mumbles at last."""
    requests_seen: list[Request] = []

    def sample(_model: Any, requests: Sequence[Request], **how: Any) -> list[Completion]:
        requests_seen.extend(requests)
        assert how["temperature"] == 0.2
        return [Completion(answer(request), 9, "stop") for request in requests]

    def answer(request: Request) -> str:
        prompt = tiny.tokenizer.decode(request.ids)
        *_, number = request.key.split(":")
        if int(number) == 3:
            return NONSENSE
        return GOOD.format("turn right") if "turn right at the quarry" in prompt else BAD

    monkeypatch.setattr(generation, "sample_batch", sample)
    return requests_seen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "quarry.yaml").write_text(WORLD)
    (tmp_path / "tasks.yaml").write_text(TASKS)
    return tmp_path


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str], tiny: Any, folder: Path) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        command = ["evaluate", tiny.folder, "--tasks", folder / "tasks.yaml", "--device", "cpu"]
        code = run([str(argument) for argument in (*command, *arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_json_has_rates_with_intervals_of_all_and_per_task(evaluate, asked, tiny) -> None:
    code, out, err = evaluate("--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    card = json.loads(out)
    assert card["model"] == {"name": str(tiny.folder), "hash": tiny.hash}
    assert card["adapter"] is None
    assert (card["answers"], card["samples"], card["seed"], card["temperature"]) == (8, 4, 0, 0.2)
    assert list(card["tasks"]) == ["right", "straight"]
    for scores in (card, *card["tasks"].values()):
        for rate in ("strict_success", "paper_score", "parse_rate"):
            assert set(scores[rate]) == {"value", "low", "high"}
            assert 0 <= scores[rate]["low"] <= scores[rate]["value"] <= scores[rate]["high"] <= 1
    assert card["strict_success"]["value"] == 3 / 8
    assert card["parse_rate"]["value"] == 6 / 8
    assert card["tasks"]["right"]["strict_success"]["value"] == 3 / 4
    assert card["tasks"]["straight"]["strict_success"]["value"] == 0
    assert card["tasks"]["right"]["paper_score"]["value"] == pytest.approx(3 / 4 * 14 / 15)
    assert card["semantics"]["name"] == "default"
    assert len(asked) == 8


def test_json_explains_the_worst_and_the_unread(evaluate, asked) -> None:
    card = json.loads(evaluate("--json")[1])
    assert card["worst"]["task"] == "straight"
    assert card["worst"]["rule"] == "yield_to_left"
    assert card["worst"]["explanation"] == (
        'With a car from the left, step 2 ("Turn right") turns right anyway.'
    )
    assert card["unread"]["text"] == NONSENSE
    assert "step 1" in card["unread"]["problems"][0]
    assert asked


def test_terminal(evaluate, asked) -> None:
    code, out, err = evaluate()
    flat = " ".join(out.split())
    assert (code, err) == (0, "")
    assert (
        "8 answers to 2 tasks (temperature 0.2, seed 0), 2 distinct controllers, 1 correct" in flat
    )
    assert "right 4 75.0 % [30.1, 95.4] 70.0 % [26.7, 93.7] 75.0 % [30.1, 95.4]" in flat
    assert "all 8 75.0 % [40.9, 92.9]" in flat
    assert "Do not enter while a car comes from the left" in flat
    assert "guard_sign" not in flat
    assert "rules were never broken (--details shows them)" in flat
    assert "Asked to go straight at the quarry, the model answered:" in flat
    assert "Not readable: 2 of 8 answers, the first of them 1. Consult the oracle." in flat
    assert max(map(len, out.splitlines())) <= 100
    _, details, _ = evaluate("--details")
    assert "guard_sign" in details
    assert len(asked) == 8, "the second time from the cache"


def test_seed_samples_and_splits(evaluate, asked) -> None:
    _, out, _ = evaluate("--split", "test", "--samples", 2, "--seed", 7, "--json")
    card = json.loads(out)
    assert (list(card["tasks"]), card["answers"], card["seed"]) == (["right"], 2, 7)
    assert [request.key.split(":")[0] for request in asked] == ["7", "7"]
    assert card["worst"] is card["unread"] is None


def test_adapter_is_named_and_hashed(evaluate, asked, tiny, tiny_adapter) -> None:
    card = json.loads(evaluate("--adapter", tiny_adapter, "--json")[1])
    assert card["adapter"]["path"] == str(tiny_adapter)
    assert card["adapter"]["hash"].startswith("sha256:")
    assert card["model"]["hash"] != tiny.hash
    assert asked
    assert f"with {tiny_adapter}:" in evaluate("--adapter", tiny_adapter)[1].replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--tasks", "nope.yaml"], "nope.yaml: no such file"),
        (["--split", "validation"], "no tasks in split validation"),
        (["--adapter", "."], "not a LoRA adapter; name a folder that holds adapter_config.json"),
        (["--temperature", "-1"], "cannot sample with temperature -1.0"),
        (["--samples", "0"], "0 is not in the range x>=1"),
        (["--prompt", "nope"], "no prompt template 'nope'"),
        (["--semantics", "nope"], "nope"),
        (["--device", "tpu"], "no device 'tpu'"),
    ],
    ids=lambda value: value[0][2:] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(evaluate, asked, arguments, complaint) -> None:
    code, out, err = evaluate(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("specdrive: ")
    assert complaint in err
    assert asked == []


@pytest.mark.parametrize(
    ("world", "complaint"),
    [
        (None, "tasks.yaml: task 'right': quarry.yaml: no such file"),
        (
            WORLD.replace("car_from_left", "ufo_from_left"),
            "quarry.yaml: propositions: unknown proposition 'ufo_from_left'",
        ),
        (WORLD.replace("turn_right, ", ""), "'turn_right' makes no sense in the world"),
    ],
    ids=["missing", "unknown_word", "no_such_manoeuvre"],
)
def test_a_world_that_does_not_fit_is_one_line(evaluate, asked, folder, world, complaint) -> None:
    if world is None:
        (folder / "quarry.yaml").unlink()
    else:
        (folder / "quarry.yaml").write_text(world)
    code, out, err = evaluate()
    assert (code, out, err.count("\n"), asked) == (2, "", 1, [])
    assert complaint in err


def test_no_model_is_one_line(capsys, folder) -> None:
    assert run(["evaluate", "nosuchmodel", "--tasks", str(folder / "tasks.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no model 'nosuchmodel'" in error
