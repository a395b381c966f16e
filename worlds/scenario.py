"""The file format of scenarios: three forms of world, validated in shape but not yet built.

Explicit: ``states``, ``transitions``, optional ``initial`` and ``propositions``.
By rule: ``propositions``, optional ``hidden``, ``invariants``, ``steps``, ``initial``.
Union: ``union``, a list of other scenarios.
All: ``name``, ``text``, ``reasons``, ``actions``; the first two also ``assumptions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.vocabulary import Vocabulary

_COMMON = ("name", "text", "reasons", "actions")
_EXPLICIT = ("states", "initial", "transitions", "assumptions", "propositions")
_BY_RULE = ("propositions", "hidden", "invariants", "steps", "initial", "assumptions")
_UNION = ("union",)


@dataclass(frozen=True)
class Explicit:
    """States and transitions one by one.

    Attributes:
        states: State name -> propositions that hold there.
        transitions: State name -> successors; None for the complete graph.
        initial: Initial states; None for all.
        propositions: What can be observed; None for what occurs in the labels.
        assumptions: LTL over P.
    """

    states: dict[str, tuple[str, ...]]
    transitions: dict[str, tuple[str, ...]] | None
    initial: tuple[str, ...] | None
    propositions: tuple[str, ...] | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class ByRule:
    """One state for each label that the invariants allow, transitions where the steps allow.

    Attributes:
        propositions: What can be observed.
        hidden: Further state variables that invariants and steps may use and nobody observes.
        invariants: Boolean formulas that every state satisfies.
        steps: Boolean formulas over p and X p that every transition satisfies.
        initial: Boolean formula of the initial states; None for all.
        assumptions: LTL over P.
    """

    propositions: tuple[str, ...]
    hidden: tuple[str, ...]
    invariants: tuple[str, ...]
    steps: tuple[str, ...]
    initial: str | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class UnionOf:
    """Other scenarios side by side (the paper's universal model).

    Attributes:
        members: Shipped names, or paths relative to the file.
    """

    members: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """A scenario file.

    Attributes:
        name: Short identifier.
        text: Plain-language description.
        body: One of the three forms.
        reasons: Why invariants, steps and assumptions are what they are, one sentence each.
        actions: Manoeuvres that make sense there (what tasks may ask for).
    """

    name: str
    text: str
    body: Explicit | ByRule | UnionOf
    reasons: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


def scenario_from_mapping(
    data: dict[str, Any], vocabulary: Vocabulary, file: object = None
) -> Scenario:
    """Validate the shape of a scenario file.

    Raises:
        InputError: No form or two forms at once, unknown field, wrong type, unknown action.
    """
    body = _body(data, file)
    actions = _names(data, "actions", file)
    for action in actions:
        if action not in vocabulary.action_names:
            raise InputError(
                f"unknown action {action!r}",
                file=file,
                place="actions",
                remedy=f"use one of {', '.join(vocabulary.action_names)}",
            )
    name = data.get("name", Path(str(file)).stem if file else "world")
    if not isinstance(name, str) or not name.strip():
        raise InputError("name must be a text", file=file, remedy="e.g. name: two_way_stop")
    return Scenario(
        name=name,
        text=" ".join(_text(data, "text", file).split()),
        body=body,
        reasons=tuple(" ".join(reason.split()) for reason in _texts(data, "reasons", file)),
        actions=actions,
    )


def _body(data: dict[str, Any], file: object) -> Explicit | ByRule | UnionOf:
    if "union" in data:
        _refuse_unknown(data, _UNION, "a union", file)
        members = _names(data, "union", file)
        if not members:
            raise InputError("the union is empty", file=file, remedy="list scenarios in 'union'")
        return UnionOf(members)
    if "states" in data:
        _refuse_unknown(data, _EXPLICIT, "a world with states", file)
        return _explicit(data, file)
    if "propositions" in data:
        _refuse_unknown(data, _BY_RULE, "a world by rule", file)
        return _by_rule(data, file)
    raise InputError(
        "not a world",
        file=file,
        remedy="give 'states' and 'transitions', or 'propositions' and rules, or 'union'",
    )


def _explicit(data: dict[str, Any], file: object) -> Explicit:
    states = _name_lists(data["states"], "states", file)
    if not states:
        raise InputError("no states", file=file, remedy="e.g. states: {p0: [stop_sign], p1: []}")
    transitions = data.get("transitions")
    if transitions is None:
        raise InputError(
            "no transitions",
            file=file,
            remedy="add 'transitions: complete' or a mapping of states to successors",
        )
    rows = None if transitions == "complete" else _name_lists(transitions, "transitions", file)
    initial = None if data.get("initial", "all") == "all" else _names(data, "initial", file)
    for place, names in (("initial", initial or ()), *(rows or {}).items()):
        for name in (*names, *(() if place == "initial" else (place,))):
            if name not in states:
                where = "initial" if place == "initial" else f"transitions of {place}"
                raise _unknown_state(name, states, where, file)
    propositions = _names(data, "propositions", file) if "propositions" in data else None
    return Explicit(states, rows, initial, propositions, _texts(data, "assumptions", file))


def _by_rule(data: dict[str, Any], file: object) -> ByRule:
    initial = data.get("initial", "all")
    if not isinstance(initial, str):
        raise InputError(
            "initial must be a Boolean formula or 'all'",
            file=file,
            remedy="state names exist only in worlds with 'states'",
        )
    return ByRule(
        propositions=_names(data, "propositions", file),
        hidden=_names(data, "hidden", file),
        invariants=_texts(data, "invariants", file),
        steps=_texts(data, "steps", file),
        initial=None if initial == "all" else initial,
        assumptions=_texts(data, "assumptions", file),
    )


def _refuse_unknown(data: dict[str, Any], fields: tuple[str, ...], form: str, file: object) -> None:
    for key in data:
        if key not in (*_COMMON, *fields):
            near = get_close_matches(key, (*_COMMON, *fields), n=1)
            raise InputError(
                f"unknown field {key!r} in {form}",
                file=file,
                remedy=f"did you mean {near[0]!r}?"
                if near
                else f"fields: {', '.join((*_COMMON, *fields))}",
            )


def _unknown_state(name: str, states: dict[str, Any], place: str, file: object) -> InputError:
    near = get_close_matches(name, states, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "add it to 'states'"
    return InputError(f"unknown state {name!r}", file=file, place=place, remedy=remedy)


def _text(data: dict[str, Any], key: str, file: object) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise InputError(f"{key} must be a text", file=file, remedy="quote it")
    return value


def _texts(data: dict[str, Any], key: str, file: object) -> tuple[str, ...]:
    return _text_list(data.get(key, []), key, file)


def _names(data: dict[str, Any], key: str, file: object) -> tuple[str, ...]:
    """Like `_texts`, for lists in which nothing may occur twice."""
    names = _texts(data, key, file)
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise InputError(f"{twice!r} is listed twice", file=file, place=key, remedy="remove one")
    return names


def _text_list(value: Any, key: str, file: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InputError(
            f"{key} must be a list of texts", file=file, remedy="use [ ... ] and quote each item"
        )
    return tuple(value)


def _name_lists(value: Any, key: str, file: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise InputError(
            f"{key} must map names to lists", file=file, remedy="e.g. {p0: [a, b], p1: []}"
        )
    for name in value:
        if not isinstance(name, str):
            raise InputError(
                f"the name {name!r} is not a text", file=file, place=key, remedy="quote it"
            )
    return {name: _text_list(items, f"{key} of {name}", file) for name, items in value.items()}
