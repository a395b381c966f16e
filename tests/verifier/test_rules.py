"""Rule books: definitions, scopes, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.errors import InputError
from verifier.rules import load_rules, progress_specification, rules_from_mapping, shipped_rules
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()


def test_shipped_books() -> None:
    assert shipped_rules() == ("paper", "road")
    paper = load_rules("paper", VOCABULARY)
    assert [s.id for s in paper.specifications] == [f"phi_{i}" for i in range(1, 16)]
    assert paper.specifications[0].formula == (
        "G((pedestrian_at_left | pedestrian_at_right | pedestrian_in_front) -> Fstop)"
    )
    assert all(
        s.text for name in shipped_rules() for s in load_rules(name, VOCABULARY).specifications
    )


def test_definitions_may_use_each_other() -> None:
    book = rules_from_mapping(
        {
            "definitions": {"busy": "cars | stop_sign", "cars": "car_from_left | car_from_right"},
            "specifications": [{"id": "a", "formula": "G(busy -> stop)", "applies_if": "cars"}],
        },
        VOCABULARY,
    )
    (specification,) = book.specifications
    assert specification.formula == "G((car_from_left | car_from_right | stop_sign) -> stop)"
    assert specification.applies_to(["car_from_right"])
    assert not specification.applies_to(["stop_sign"])


def test_hash_follows_meaning_not_wording() -> None:
    def book(text: str, formula: str):
        row = {"id": "a", "formula": formula, "text": text}
        return rules_from_mapping({"specifications": [row]}, VOCABULARY)

    assert book("x", "G stop").hash == book("y", "G  (stop)").hash
    assert book("x", "G stop").hash != book("x", "F stop").hash


def test_progress_specification() -> None:
    goal = progress_specification("turn_right")
    assert (goal.formula, goal.kind) == ("Fturn_right", "progress")
    book = load_rules("road", VOCABULARY)
    assert book.with_specification(goal).specifications[-1] == goal


SPECIFICATION = "specifications:\n  - {id: a, formula: %s}\n"
BAD = {
    "unknown proposition": (
        SPECIFICATION % "G car_from_lft",
        "specification a: unknown proposition 'car_from_lft'; did you mean 'car_from_left'?",
    ),
    "syntax error with caret": (
        SPECIFICATION % "'G(stop -> | turn_left)'",
        "specification a: syntax error, unexpected or operator at column 11: "
        "G(stop -> ‹^›| turn_left); mend the formula",
    ),
    "circular definition": (
        "definitions: {a: b & stop, b: c, c: a}\n" + SPECIFICATION % "G a",
        "definition a: circular: a -> b -> c -> a; define it without itself",
    ),
    "definition of itself": (
        "definitions: {a: a}\n" + SPECIFICATION % "G a",
        "definition a: circular: a -> a; define it without itself",
    ),
    "redefinition": (
        "definitions: {stop: turn_left}\n" + SPECIFICATION % "G stop",
        "definition stop: redefines a proposition or action; choose another name",
    ),
    "no specifications": ("name: x\n", "no specifications; add a list 'specifications'"),
    "unknown field": (
        "rules: []\n",
        "unknown field 'rules'; fields: name, text, definitions, specifications",
    ),
    "two of one id": (
        "specifications:\n  - {id: a, formula: stop}\n  - {id: a, formula: stop}\n",
        "two specifications are called 'a'; rename",
    ),
    "bad kind": (
        "specifications:\n  - {id: a, formula: stop, kind: nice}\n",
        "specification a: kind cannot be 'nice'; use one of safety, response, progress, totality",
    ),
    "temporal scope": (
        "specifications:\n  - {id: a, formula: stop, applies_if: F stop_sign}\n",
        "specification a, applies_if: not a Boolean formula: F stop_sign; "
        "remove the temporal operators",
    ),
    "not YAML": ("specifications: [\n", "line 2, column 1: not valid YAML"),
    "key given twice": (
        "name: a\nname: b\n" + SPECIFICATION % "G stop",
        "line 2, column 1: not valid YAML: 'name' is given twice; mend the syntax",
    ),
    "empty file": ("", "expected a mapping of names to values, found an empty file"),
    "a list": ("- a\n", "expected a mapping of names to values, found a list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_books(case: str, tmp_path: Path) -> None:
    text, message = BAD[case]
    path = tmp_path / "book.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_rules(path, VOCABULARY)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_missing_books(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rule book named 'raod'; use one of paper, road"):
        load_rules("raod", VOCABULARY)
    with pytest.raises(InputError, match="no such file"):
        load_rules(tmp_path / "none.yaml", VOCABULARY)
    with pytest.raises(InputError, match="this is a folder"):
        load_rules(tmp_path, VOCABULARY)
    (tmp_path / "latin.yaml").write_bytes("text: caf\xe9".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        load_rules(tmp_path / "latin.yaml", VOCABULARY)
