"""Controllers: Mealy machines with Boolean guards over P and outputs in P_A or epsilon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.formulas import parse_boolean
from verifier.vocabulary import EPSILON, Vocabulary
from verifier.yaml_files import load_json

MAX_STATES = 100_000


@dataclass(frozen=True)
class Transition:
    """In ``source``, when ``guard`` holds of the observed label: do ``action``, go to ``target``.

    Attributes:
        source: State index.
        guard: Boolean formula over P in Spot's syntax.
        action: Member of P_A, or ``epsilon``.
        target: State index.
        step: 1-based line of the text that this transition came from, if any.
        words: The words of that line that it came from, if any.
    """

    source: int
    guard: str
    action: str
    target: int
    step: int | None = None
    words: str | None = None


@dataclass(frozen=True)
class Controller:
    """A controller <P, P_A, Q, q0, δ>; δ may be partial and non-deterministic.

    Attributes:
        initial: Initial state.
        final: State that is reached when the task is done.
        transitions: The membership function δ.
        steps: The numbered steps it was read from, without their numbers; may be empty.
    """

    initial: int
    final: int
    transitions: tuple[Transition, ...]
    steps: tuple[str, ...] = ()

    @property
    def num_states(self) -> int:
        """States are 0 .. num_states - 1."""
        sources = max((t.source for t in self.transitions), default=0)
        return 1 + max(self.initial, self.final, sources)


def controller_to_json(controller: Controller) -> dict[str, Any]:
    """The controller file format (design: file formats)."""
    rows = []
    for t in controller.transitions:
        row: dict[str, Any] = {
            "from": t.source,
            "guard": t.guard,
            "action": t.action,
            "to": t.target,
        }
        row |= {"step": t.step} if t.step is not None else {}
        row |= {"words": t.words} if t.words is not None else {}
        rows.append(row)
    head = {"initial": controller.initial, "final": controller.final}
    return head | {"steps": list(controller.steps), "transitions": rows}


def load_controller(path: Path, vocabulary: Vocabulary) -> Controller:
    """Read and validate a controller ``.json`` file.

    Raises:
        InputError: Not a controller; the message names the transition at fault.
    """
    return controller_from_json(load_json(path), vocabulary, file=path)


def controller_from_json(data: Any, vocabulary: Vocabulary, file: object = None) -> Controller:
    """Validate the JSON form of a controller.

    Raises:
        InputError: Wrong shape, unknown proposition or action, transition to a missing state.
    """
    if not isinstance(data, dict) or "transitions" not in data:
        raise InputError(
            "not a controller",
            file=file,
            remedy="expected an object with initial, final and transitions",
        )
    for key in data:
        if key not in {"initial", "final", "steps", "transitions"}:
            raise InputError(
                f"unknown field {key!r}",
                file=file,
                remedy="fields: initial, final, steps, transitions",
            )
    initial = _state(data, "initial", file, "controller")
    final = _state(data, "final", file, "controller")
    steps = data.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise InputError("steps must be a list of texts", file=file, remedy="quote each step")
    rows = data["transitions"]
    if not isinstance(rows, list):
        raise InputError("transitions must be a list", file=file, remedy="use [ ... ]")
    transitions = tuple(
        _transition(row, vocabulary, file, f"transition {number}")
        for number, row in enumerate(rows, start=1)
    )
    controller = Controller(initial, final, transitions, tuple(steps))
    for number, t in enumerate(transitions, start=1):
        if t.target >= controller.num_states:
            raise InputError(
                f"leads to state {t.target}, which does not exist",
                file=file,
                place=f"transition {number}",
                remedy=f"states are 0 to {controller.num_states - 1}: initial, final and every "
                "state with a transition of its own",
            )
    return controller


def _transition(row: Any, vocabulary: Vocabulary, file: object, place: str) -> Transition:
    if not isinstance(row, dict):
        raise InputError("must be an object", file=file, place=place)
    allowed = {"from", "guard", "action", "to", "step", "words"}
    for key in row:
        if key not in allowed:
            raise InputError(
                f"unknown field {key!r}",
                file=file,
                place=place,
                remedy=f"fields: {', '.join(sorted(allowed))}",
            )
    guard, action, words = row.get("guard", "true"), row.get("action"), row.get("words")
    if not isinstance(guard, str):
        raise InputError("guard must be a text", file=file, place=place, remedy='e.g. "true"')
    actions = (*vocabulary.action_names, EPSILON)
    if action not in actions:
        raise InputError(
            f"unknown action {action!r}",
            file=file,
            place=place,
            remedy=f"use one of {', '.join(actions)}",
        )
    if words is not None and not isinstance(words, str):
        raise InputError("words must be a text", file=file, place=place, remedy="quote them")
    parse_boolean(guard, vocabulary.proposition_names, file=file, place=f"{place}, guard")
    step = row.get("step")
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step < 1):
        raise InputError("step must be a line number", file=file, place=place, remedy="from 1")
    source, target = _state(row, "from", file, place), _state(row, "to", file, place)
    return Transition(source, guard, action, target, step, words)


def _state(row: dict[str, Any], key: str, file: object, place: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_STATES:
        raise InputError(
            f"{key!r} must be a state number, found {value!r}",
            file=file,
            place=place,
            remedy=f"states are numbered from 0 (at most {MAX_STATES - 1})",
        )
    return value


def final_redirect(controller: Controller, on_finish: str) -> Iterable[Transition]:
    """The transitions under ``on_finish``: ``restart`` sends those into the final state to the
    initial one; ``stutter`` cuts those that leave the final state.
    """
    if on_finish == "stutter":
        return (t for t in controller.transitions if t.source != controller.final)
    final, initial = controller.final, controller.initial
    return (
        t
        if t.target != final
        else Transition(t.source, t.guard, t.action, initial, t.step, t.words)
        for t in controller.transitions
    )
