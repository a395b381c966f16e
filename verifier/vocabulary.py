"""Vocabularies: the propositions and actions of a domain, and the words people use for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.yaml_files import load_mapping

EPSILON = "epsilon"
"""Name of the empty action in controllers."""

# Capital letters could be read as temporal operators (Flag as F lag).
_NAME = re.compile(r"(?!true$|false$|xor$)[a-z][a-z0-9_]*")

_DATA = Path(__file__).parent / "data" / "vocabularies"


@dataclass(frozen=True)
class Proposition:
    """An atomic proposition of P with the English used in explanations.

    Attributes:
        name: Identifier in formulas (``car_from_left``).
        phrase: Noun phrase ("car from left").
        appears: Clause for false -> true ("a car arrives from the left").
        disappears: Clause for true -> false ("the car from the left is gone").
    """

    name: str
    phrase: str
    appears: str
    disappears: str


@dataclass(frozen=True)
class Action:
    """An action proposition of P_A.

    Attributes:
        name: Identifier in formulas (``turn_right``).
        phrase: Imperative ("turn right").
        does: Third person ("turns right").
    """

    name: str
    phrase: str
    does: str


@dataclass(frozen=True)
class Vocabulary:
    """The atomic propositions P and actions P_A of a domain, in file order.

    ``language`` holds the remaining sections of the file (synonyms and the like), which the
    step reader interprets.
    """

    name: str
    propositions: tuple[Proposition, ...]
    actions: tuple[Action, ...]
    language: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @property
    def proposition_names(self) -> tuple[str, ...]:
        """Names of P in file order."""
        return tuple(p.name for p in self.propositions)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of P_A in file order."""
        return tuple(a.name for a in self.actions)

    def proposition(self, name: str) -> Proposition:
        """The proposition called ``name`` (KeyError if there is none)."""
        return {p.name: p for p in self.propositions}[name]

    def action(self, name: str) -> Action:
        """The action called ``name`` (KeyError if there is none)."""
        return {a.name: a for a in self.actions}[name]


def load_vocabulary(name_or_path: str | Path = "driving") -> Vocabulary:
    """A shipped vocabulary by name, or one read from a YAML file.

    Raises:
        InputError: The file is missing or malformed.
    """
    shipped = _DATA / f"{name_or_path}.yaml"
    path = shipped if shipped.exists() else Path(name_or_path)
    return _load(path, path.stat().st_mtime_ns if path.exists() else 0)


@cache
def _load(path: Path, _mtime: int) -> Vocabulary:
    data = load_mapping(path)
    propositions = tuple(
        Proposition(name, *_phrases(path, name, body, ("phrase", "appears", "disappears")))
        for name, body in _section(path, data, "propositions").items()
    )
    actions = tuple(
        Action(name, *_phrases(path, name, body, ("phrase", "does")))
        for name, body in _section(path, data, "actions").items()
    )
    names = [str(member.name) for member in (*propositions, *actions)]
    for name in names:
        if not _NAME.fullmatch(name) or name == EPSILON or names.count(name) > 1:
            raise InputError(
                f"{name!r} cannot name a proposition or action",
                file=path,
                remedy="use distinct names of small letters, digits and _, other than 'epsilon'",
            )
    return Vocabulary(str(data.get("name", path.stem)), propositions, actions, data)


def _section(path: Path, data: dict[str, Any], key: str) -> dict[str, Any]:
    section = data.get(key)
    if not isinstance(section, dict) or not section:
        raise InputError(f"no {key}", file=path, remedy=f"add a mapping {key!r}")
    return section


def _phrases(path: Path, name: str, body: Any, keys: tuple[str, ...]) -> list[str]:
    missing = [k for k in keys if not isinstance(body, dict) or not isinstance(body.get(k), str)]
    if missing:
        raise InputError(f"lacks {', '.join(missing)}", file=path, place=name, remedy="add it")
    return [body[key] for key in keys]
