"""Certificates: everything a verdict rests on, in one file that anyone can recompute."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from verifier.bindings import spot
from verifier.canonical import controller_hash
from verifier.checker import DEFAULT_TIME_LIMIT, Checker
from verifier.controller import Controller, controller_from_json, controller_to_json
from verifier.errors import InputError
from verifier.formulas import parse_ltl
from verifier.rules import RuleBook, rules_from_mapping
from verifier.semantics import Semantics, semantics_from_json
from verifier.transition_system import Assumption, TransitionSystem
from verifier.verdicts import Report, score
from verifier.vocabulary import Action, Proposition, Vocabulary

FORMAT = "specdrive-certificate-1"


@dataclass(frozen=True)
class Mismatch:
    """A field of a certificate that recomputing does not confirm."""

    field: str
    stated: Any
    recomputed: Any

    def __str__(self) -> str:
        """One line."""
        return f"{self.field}: the certificate says {self.stated}, recomputing {self.recomputed}"


def make_certificate(checker: Checker, controller: Controller) -> dict[str, Any]:
    """The certificate of a controller under a checker's world, rules and profile."""
    report = checker.check(controller, counterexamples=False)
    return {
        "format": FORMAT,
        "hashes": _hashes(checker, controller),
        "semantics": checker.semantics.to_json(),
        "time_limit": checker.time_limit,
        "tools": _tools(),
        **_outcome(report),
        "controller": controller_to_json(controller),
        "world": _world_to_json(checker.world),
        "rules": _rules_to_json(checker.rules),
        "vocabulary": _vocabulary_to_json(checker.vocabulary),
    }


def verify_certificate(data: Any, file: object = None) -> tuple[Mismatch, ...]:
    """Check every specification again and compare hashes, verdicts and score.

    Returns:
        What does not agree; nothing if the certificate is right.

    Raises:
        InputError: Not a certificate.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(
            "not a certificate", file=file, remedy="make one with specdrive certificate make"
        )
    try:
        vocabulary = _vocabulary_from_json(data["vocabulary"])
        semantics: Semantics = semantics_from_json(data["semantics"], file)
        world = _world_from_json(data["world"], vocabulary, file)
        rules = rules_from_mapping(data["rules"], vocabulary, file)
        controller = controller_from_json(data["controller"], vocabulary, file)
        limit = float(data.get("time_limit", DEFAULT_TIME_LIMIT))
        stated = {key: data[key] for key in ("hashes", "verdicts", "score")}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"certificate is incomplete: {error!r}", file=file, remedy="make it anew"
        ) from None
    checker = Checker(world, rules, semantics, vocabulary, limit)
    outcome = _outcome(checker.check(controller, counterexamples=False))
    recomputed = {"hashes": _hashes(checker, controller), **outcome}
    return tuple(
        Mismatch(f"{section}.{key}", _get(stated[section], key), _get(recomputed[section], key))
        for section in ("hashes", "verdicts", "score")
        for key in dict.fromkeys([*stated[section], *recomputed[section]])
        if _get(stated[section], key) != _get(recomputed[section], key)
    )


def _get(section: Any, key: str) -> Any:
    return section.get(key, "nothing") if isinstance(section, Mapping) else section


def _outcome(report: Report) -> dict[str, Any]:
    return {
        "verdicts": {verdict.id: verdict.value for verdict in report.verdicts},
        "score": score(report.verdicts),
    }


def _hashes(checker: Checker, controller: Controller) -> dict[str, str]:
    profile = {k: v for k, v in checker.semantics.to_json().items() if k != "name"}
    return {
        "controller": controller_hash(controller),
        "world": checker.world.hash,
        "rules": checker.rules.hash,
        "semantics": "sha256:"
        + hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest(),
    }


def _tools() -> dict[str, str]:
    """Versions of what decided; a record, not compared when a certificate is verified."""
    try:
        own = version("specdrive")
    except PackageNotFoundError:
        own = "unknown"
    return {"specdrive": own, "spot": spot.version(), "python": platform.python_version()}


def _world_to_json(world: TransitionSystem) -> dict[str, Any]:
    rows: dict[tuple[int, ...], int] = {}
    row_of = [rows.setdefault(row, len(rows)) for row in world.successors]
    return {
        "name": world.name,
        "propositions": list(world.propositions),
        "states": list(world.states),
        "labels": [sorted(label) for label in world.labels],
        "initial": list(world.initial),
        "successor_sets": [list(row) for row in rows],
        "successors": row_of,
        "assumptions": [
            {
                "formula": assumption.formula,
                "states": None if assumption.states is None else sorted(assumption.states),
            }
            for assumption in world.assumptions
        ],
    }


def _world_from_json(
    data: dict[str, Any], vocabulary: Vocabulary, file: object
) -> TransitionSystem:
    rows = [tuple(int(state) for state in row) for row in data["successor_sets"]]
    count = len(data["states"])
    for row in (*rows, data["initial"]):
        if not row or not all(0 <= state < count for state in row):
            raise InputError("the world has a state without successors", file=file, place="world")
    for assumption in data["assumptions"]:
        parse_ltl(
            assumption["formula"], vocabulary.proposition_names, file=file, place="world assumption"
        )
    return TransitionSystem(
        name=str(data["name"]),
        text="",
        propositions=tuple(data["propositions"]),
        states=tuple(data["states"]),
        labels=tuple(frozenset(label) for label in data["labels"]),
        initial=tuple(data["initial"]),
        successors=tuple(rows[number] for number in data["successors"]),
        assumptions=tuple(
            Assumption(a["formula"], None if a["states"] is None else frozenset(a["states"]))
            for a in data["assumptions"]
        ),
    )


def _rules_to_json(rules: RuleBook) -> dict[str, Any]:
    rows = []
    for s in rules.specifications:
        row: dict[str, Any] = {"id": s.id, "formula": s.formula, "kind": s.kind}
        row |= {"weight": s.weight, "text": s.text}
        rows.append(row | ({"applies_if": s.applies_if} if s.applies_if else {}))
    return {"name": rules.name, "specifications": rows}


def _vocabulary_to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "name": vocabulary.name,
        "propositions": [vars(p) for p in vocabulary.propositions],
        "actions": [vars(a) for a in vocabulary.actions],
    }


def _vocabulary_from_json(data: dict[str, Any]) -> Vocabulary:
    return Vocabulary(
        str(data["name"]),
        tuple(Proposition(**p) for p in data["propositions"]),
        tuple(Action(**a) for a in data["actions"]),
    )
