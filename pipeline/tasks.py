"""Tasks: what to ask a model for, and the world in which the answer is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.prompts import Prompt, Scene, Template, render
from verifier.errors import InputError
from verifier.vocabulary import Vocabulary, load_vocabulary
from verifier.yaml_files import load_mapping
from worlds.load import load_world, sensible_actions, shipped_worlds

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

STOP = "stop"
"""Allowed in every world; worlds list only the manoeuvres that make sense in them."""

_DATA = Path(__file__).parent / "data" / "tasks"
_REQUIRED = ("id", "prompt", "world", "action", "split")
_OPTIONAL = ("wording",)


@dataclass(frozen=True)
class Task:
    """One task of a bank.

    Attributes:
        id: Unique within the bank.
        prompt: What to do, in words.
        world: Name of a shipped world, or the path of a world file.
        action: The manoeuvre; the progress specification is ``F action``.
        split: train, validation or test.
        wording: Name of the pattern that ``prompt`` follows, if the bank says.
    """

    id: str
    prompt: str
    world: str
    action: str
    split: Split
    wording: str = ""


def shipped_tasks() -> tuple[str, ...]:
    """Names of the task banks that come with the package."""
    return tuple(sorted(path.stem for path in _DATA.glob("*.yaml")))


def load_tasks(
    name_or_path: str | Path = "driving",
    vocabulary: Vocabulary | None = None,
    splits: Iterable[Split] = SPLITS,
) -> tuple[Task, ...]:
    """The tasks of a shipped bank by name, or of a YAML file, in file order.

    Args:
        name_or_path: Which bank.
        vocabulary: Of the tasks' actions and worlds; the driving vocabulary if None.
        splits: Only tasks of these splits.

    Raises:
        InputError: Unreadable file, unknown or missing field, repeated id, unknown world or
            action, or a manoeuvre that the world does not list among its actions.
    """
    vocabulary = vocabulary or load_vocabulary()
    shipped = _DATA / f"{name_or_path}.yaml"
    path = shipped if str(name_or_path) in shipped_tasks() else Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and not path.exists():
        raise InputError(
            f"no tasks named {str(name_or_path)!r}",
            remedy=f"use one of {', '.join(shipped_tasks())} or the path of a .yaml file",
        )
    rows = _rows(load_mapping(path), path)
    tasks = [_task(row, path, f"task {number}") for number, row in enumerate(rows, start=1)]
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise InputError(
                f"the id {task.id!r} occurs twice", file=path, remedy="use distinct ids"
            )
        seen.add(task.id)
    checked = [_in_world(task, vocabulary, path) for task in tasks]
    wanted = set(splits)
    return tuple(task for task in checked if task.split in wanted)


def task_prompt(task: Task, template: Template, vocabulary: Vocabulary) -> Prompt:
    """The template filled in with the task, its world's observations and allowed actions.

    Raises:
        InputError: The world cannot be loaded.
    """
    return render(template, task=task.id, scene=scene_of(task, vocabulary), vocabulary=vocabulary)


def scene_of(task: Task, vocabulary: Vocabulary) -> Scene:
    """What a prompt needs to know of a task.

    Raises:
        InputError: The world cannot be loaded.
    """
    return Scene(
        prompt=task.prompt,
        action=task.action,
        propositions=load_world(task.world, vocabulary).propositions,
        actions=allowed_actions(task.world, vocabulary),
    )


def allowed_actions(world: str | Path, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The world's manoeuvres and stopping, in the vocabulary's order."""
    sensible = {*sensible_actions(world, vocabulary), STOP}
    return tuple(name for name in vocabulary.action_names if name in sensible)


def _rows(data: dict[str, Any], path: Path) -> list[Any]:
    for key in data:
        if key != "tasks":
            raise InputError(f"unknown field {key!r}", file=path, remedy="fields: tasks")
    rows = data.get("tasks")
    if not isinstance(rows, list) or not rows:
        raise InputError("no tasks", file=path, remedy="add a list 'tasks'")
    return rows


def _task(row: Any, path: Path, place: str) -> Task:
    fields = (*_REQUIRED, *_OPTIONAL)
    if not isinstance(row, dict):
        raise InputError(
            "must be a mapping", file=path, place=place, remedy=f"fields: {', '.join(fields)}"
        )
    place = f"task {row['id']!r}" if isinstance(row.get("id"), str) else place
    for key in row:
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1)
            raise InputError(
                f"unknown field {key!r}",
                file=path,
                place=place,
                remedy=f"did you mean {near[0]!r}?" if near else f"fields: {', '.join(fields)}",
            )
    for key in fields:
        value = row.get(key)
        missing = value is None and key in _REQUIRED
        if missing or (value is not None and (not isinstance(value, str) or not value.strip())):
            raise InputError(f"lacks {key} (a text)", file=path, place=place, remedy="add it")
    if row["split"] not in SPLITS:
        raise InputError(
            f"split cannot be {row['split']!r}",
            file=path,
            place=place,
            remedy=f"use one of {', '.join(SPLITS)}",
        )
    return Task(**{key: row[key] for key in fields if key in row})


def _in_world(task: Task, vocabulary: Vocabulary, path: Path) -> Task:
    """The task with the path of its world found, after checking that the two fit together."""
    beside = path.parent / task.world
    is_shipped = task.world in shipped_worlds()
    world = task.world if is_shipped or not beside.exists() else str(beside)
    place = f"task {task.id!r}"
    if task.action not in vocabulary.action_names:
        raise InputError(
            f"unknown action {task.action!r}",
            file=path,
            place=place,
            remedy=f"use one of {', '.join(vocabulary.action_names)}",
        )
    try:
        sensible = sensible_actions(world, vocabulary)
    except InputError as error:
        raise InputError(str(error), file=path, place=place) from None
    if task.action not in sensible:
        raise InputError(
            f"{task.action!r} makes no sense in the world {task.world!r}",
            file=path,
            place=place,
            remedy=f"actions of that world: {', '.join(sensible) or 'none'}",
        )
    return replace(task, world=world)
