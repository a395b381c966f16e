"""Vocabulary files."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary

FILE = """\
propositions:
  {proposition}: {{phrase: red lamp, appears: the lamp turns red, disappears: the lamp goes out}}
actions:
  {action}: {{phrase: wait, does: waits}}
"""


def write(folder: Path, proposition: str = "red_lamp", action: str = "stop") -> Path:
    path = folder / "words.yaml"
    path.write_text(FILE.format(proposition=proposition, action=action))
    return path


def test_the_driving_vocabulary() -> None:
    driving = load_vocabulary()
    assert len(driving.proposition_names) == 10
    assert driving.action_names == ("stop", "turn_left", "turn_right", "go_straight")
    assert driving.proposition("car_from_left").phrase == "car from left"


def test_another_domain(tmp_path: Path) -> None:
    assert load_vocabulary(write(tmp_path)).proposition_names == ("red_lamp",)


@pytest.mark.parametrize("name", ["Flag", "a b", "epsilon", "true", "xor", "1a", "stop"])
def test_names_that_formulas_cannot_use(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, proposition=name)
    with pytest.raises(InputError, match="cannot name a proposition or action") as error:
        load_vocabulary(path)
    assert str(error.value).startswith(f"{path}: ")


def test_missing_parts(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("propositions: {a: {phrase: x}}\nactions: {}\n")
    with pytest.raises(InputError, match=r"a: lacks appears, disappears; add it"):
        load_vocabulary(path)
    with pytest.raises(InputError, match="no such file"):
        load_vocabulary("nowhere.yaml")
