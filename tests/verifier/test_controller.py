"""The controller file format and its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from golden import BEFORE

from verifier.controller import controller_from_json, controller_to_json, load_controller
from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()


def test_round_trip() -> None:
    data = json.loads(json.dumps(controller_to_json(BEFORE)))
    assert controller_from_json(data, VOCABULARY) == BEFORE


def row(**fields: Any) -> dict[str, Any]:
    row = {"from": 0, "guard": "true", "action": "stop", "to": 1, **fields}
    return {"initial": 0, "final": 1, "transitions": [row]}


BAD = {
    "missing state": (
        row(to=7),
        "transition 1: leads to state 7, which does not exist; states are 0 to 1",
    ),
    "unknown proposition": (
        row(guard="!car_from_lfet"),
        "transition 1, guard: unknown proposition 'car_from_lfet'; did you mean 'car_from_left'?",
    ),
    "action in a guard": (row(guard="stop"), "transition 1, guard: unknown proposition 'stop'"),
    "syntax": (row(guard="a &"), "transition 1, guard: syntax error"),
    "temporal guard": (row(guard="F stop_sign"), "transition 1, guard: not a Boolean formula"),
    "unknown action": (row(action="fly"), "transition 1: unknown action 'fly'; use one of stop"),
    "negative state": (row(**{"from": -1}), "transition 1: 'from' must be a state number"),
    "huge state": (row(**{"from": 10**9}), "transition 1: 'from' must be a state number"),
    "boolean state": (row(to=True), "transition 1: 'to' must be a state number"),
    "bad step": (row(step=0), "transition 1: step must be a line number"),
    "unknown field": (row(colour="red"), "transition 1: unknown field 'colour'"),
    "no initial": ({"final": 0, "transitions": []}, "controller: 'initial' must be a state"),
    "not an object": ([], "not a controller"),
    "transitions": ({"initial": 0, "final": 0, "transitions": {}}, "transitions must be a list"),
    "steps": ({"initial": 0, "final": 0, "steps": [1], "transitions": []}, "steps must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_controllers(case: str, tmp_path: Path) -> None:
    data, message = BAD[case]
    path = tmp_path / "controller.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        load_controller(path, VOCABULARY)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_not_json(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    path.write_text('{"initial": 0,}')
    with pytest.raises(InputError, match="line 1, column 15: not valid JSON"):
        load_controller(path, VOCABULARY)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"not valid JSON|too deeply"):
        load_controller(path, VOCABULARY)
