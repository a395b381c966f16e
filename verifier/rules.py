"""Rule books: named sets of LTL specifications, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args

from verifier.bindings import spot
from verifier.errors import InputError
from verifier.formulas import Formula, atomic_propositions, map_children, parse_boolean, parse_ltl
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import load_mapping

Kind = Literal["safety", "response", "progress", "totality"]

_DATA = Path(__file__).parent / "data" / "rules"


@dataclass(frozen=True)
class Specification:
    """One rule.

    Attributes:
        id: ``phi_5``.
        formula: LTL over P ∪ P_A in Spot's syntax, definitions expanded.
        kind: What the rule is about; ranking treats the kinds differently.
        text: One plain sentence.
        applies_if: Boolean formula over proposition names a world must have, or None.
        weight: For weighted scores.
    """

    id: str
    formula: str
    kind: Kind
    text: str = ""
    applies_if: str | None = None
    weight: float = 1.0

    def applies_to(self, propositions: Iterable[str]) -> bool:
        """Whether a world with these propositions is in the rule's scope."""
        if self.applies_if is None:
            return True
        present = set(propositions)

        def substitute(node: Formula) -> Formula:
            if node.is_literal() and node._is(spot.op_ap):
                return spot.formula("1" if str(node).strip('"') in present else "0")
            return map_children(node, substitute)

        return bool(substitute(spot.formula(self.applies_if)).is_tt())


@dataclass(frozen=True)
class RuleBook:
    """A named set of specifications."""

    name: str
    specifications: tuple[Specification, ...]
    text: str = ""

    @cached_property
    def hash(self) -> str:
        """``sha256:...`` of ids, formulas and scopes."""
        rows = [[s.id, s.formula, s.kind, s.applies_if, s.weight] for s in self.specifications]
        return "sha256:" + hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def with_specification(self, specification: Specification) -> RuleBook:
        """This book and one more rule (a task's progress specification)."""
        return RuleBook(self.name, (*self.specifications, specification), self.text)


def progress_specification(action: str) -> Specification:
    """``F action``: the task's manoeuvre is eventually made (under the world's fairness)."""
    return Specification(
        id=f"progress_{action}",
        formula=f"F{action}",  # as a rule book that is read back has it
        kind="progress",
        text=f"The task gets done: in the end, {action.replace('_', ' ')}.",
    )


def shipped_rules() -> tuple[str, ...]:
    """Names of the rule books that come with the package."""
    return tuple(sorted(path.stem for path in _DATA.glob("*.yaml")))


def load_rules(name_or_path: str | Path, vocabulary: Vocabulary) -> RuleBook:
    """A shipped rule book by name, or one read from a YAML file.

    Raises:
        InputError: Unknown name, malformed file, bad formula, circular definition.
    """
    shipped = _DATA / f"{name_or_path}.yaml"
    path = shipped if shipped.exists() else Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and not path.exists():
        raise InputError(
            f"no rule book named {str(name_or_path)!r}",
            remedy=f"use one of {', '.join(shipped_rules())} or the path of a .yaml file",
        )
    return rules_from_mapping(load_mapping(path), vocabulary, file=path)


def rules_from_mapping(
    data: dict[str, Any], vocabulary: Vocabulary, file: object = None
) -> RuleBook:
    """Validate the mapping of a rule-book file and expand its definitions.

    Raises:
        InputError: The message names the specification or definition at fault.
    """
    for key in data:
        if key not in {"name", "text", "definitions", "specifications"}:
            raise InputError(
                f"unknown field {key!r}",
                file=file,
                remedy="fields: name, text, definitions, specifications",
            )
    rows = data.get("specifications")
    if not isinstance(rows, list) or not rows:
        raise InputError("no specifications", file=file, remedy="add a list 'specifications'")
    letters = (*vocabulary.proposition_names, *vocabulary.action_names)
    definitions = _definitions(data.get("definitions") or {}, letters, file)
    specifications = tuple(
        _specification(row, number, vocabulary, letters, definitions, file)
        for number, row in enumerate(rows, start=1)
    )
    ids = [s.id for s in specifications]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"two specifications are called {name!r}", file=file, remedy="rename")
    name = data.get("name", Path(str(file)).stem if file else "rules")
    return RuleBook(str(name), specifications, str(data.get("text", "")).strip())


def _specification(
    row: Any,
    number: int,
    vocabulary: Vocabulary,
    letters: tuple[str, ...],
    definitions: dict[str, Formula],
    file: object,
) -> Specification:
    place = f"specification {number}"
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise InputError("needs an id", file=file, place=place, remedy="add 'id: phi_1'")
    place = f"specification {row['id']}"
    for key in row:
        if key not in {"id", "formula", "kind", "applies_if", "weight", "text"}:
            raise InputError(
                f"unknown field {key!r}",
                file=file,
                place=place,
                remedy="fields: id, formula, kind, applies_if, weight, text",
            )
    if not isinstance(row.get("formula"), str):
        raise InputError("needs a formula", file=file, place=place, remedy="add 'formula: ...'")
    kind = row.get("kind", "safety")
    if kind not in get_args(Kind):
        raise InputError(
            f"kind cannot be {kind!r}",
            file=file,
            place=place,
            remedy=f"use one of {', '.join(get_args(Kind))}",
        )
    weight = row.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise InputError("weight must be a positive number", file=file, place=place)
    formula = parse_ltl(row["formula"], (*letters, *definitions), file=file, place=place)
    applies_if = row.get("applies_if")
    if applies_if is not None:
        if not isinstance(applies_if, str):
            raise InputError("applies_if must be a text", file=file, place=place, remedy="quote it")
        scope = parse_boolean(
            applies_if,
            (*vocabulary.proposition_names, *definitions),
            file=file,
            place=f"{place}, applies_if",
        )
        applies_if = str(_expand(scope, definitions))
    return Specification(
        id=row["id"],
        formula=str(_expand(formula, definitions)),
        kind=cast(Kind, kind),
        text=str(row.get("text", "")).strip(),
        applies_if=applies_if,
        weight=float(weight),
    )


def _definitions(data: Any, letters: tuple[str, ...], file: object) -> dict[str, Formula]:
    """Definitions with every definition they use expanded."""
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise InputError(
            "definitions must map names to formulas", file=file, remedy="name: formula"
        )
    for name in data:
        if name in letters:
            raise InputError(
                "redefines a proposition or action",
                file=file,
                place=f"definition {name}",
                remedy="choose another name",
            )
    parsed = {
        name: parse_ltl(text, (*letters, *data), file=file, place=f"definition {name}")
        for name, text in data.items()
    }
    expanded: dict[str, Formula] = {}

    def expand(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InputError(
                f"circular: {' -> '.join((*path[path.index(name) :], name))}",
                file=file,
                place=f"definition {name}",
                remedy="define it without itself",
            )
        if name in expanded:
            return
        for used in atomic_propositions(parsed[name]):
            if used in parsed:
                expand(used, (*path, name))
        expanded[name] = _expand(parsed[name], expanded)

    for name in parsed:
        expand(name, ())
    return expanded


def _expand(formula: Formula, definitions: dict[str, Formula]) -> Formula:
    if formula._is(spot.op_ap):
        return definitions.get(str(formula).strip('"'), formula)
    return map_children(formula, lambda child: _expand(child, definitions))
