"""Practice tasks: manoeuvres in generated worlds, in several wordings.

A wording is a sentence and a manoeuvre's name put together; neither is one that the shipped bank's
validation or test tasks use, or that `pipeline.robustness` rewords with.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import write_text
from pipeline.tasks import Task
from verifier.vocabulary import Vocabulary
from worlds.load import load_world
from worlds.practice import PracticeWorld

_MANOEUVRES = {
    "turn_left": (
        *("turn left", "make a left turn", "make a left", "drive left", "head left"),
        *("steer left", "bear left", "swing left", "turn to the left", "turn off to the left"),
        "follow the road to the left",
    ),
    "turn_right": (
        *("turn right", "make a right turn", "make a right", "drive right", "head right"),
        *("steer right", "bear right", "swing right", "turn to the right"),
        *("turn off to the right", "follow the road to the right"),
    ),
    "go_straight": (
        *("go straight", "drive straight ahead", "carry on straight", "proceed straight"),
        *("head straight on", "keep going straight", "go straight ahead", "drive on"),
        *("stay on the road ahead", "drive straight", "move straight ahead"),
        *("keep straight ahead", "continue ahead", "travel on", "roll on", "go on ahead"),
        *("go on in the same direction", "cross over and go on", "keep to the road ahead"),
    ),
}
_SENTENCES = (
    *("{manoeuvre} at {place}", "{manoeuvre} at {place}", "{manoeuvre} by {place}"),
    *("{manoeuvre} next to {place}", "{manoeuvre} once you get to {place}"),
    *("{manoeuvre} upon reaching {place}", "{manoeuvre} where the road meets {place}"),
    *("on reaching {place}, {manoeuvre}", "when you come to {place}, {manoeuvre}"),
    *("once you are at {place}, {manoeuvre}", "arriving at {place}, {manoeuvre}"),
    *("as you get to {place}, {manoeuvre}", "{place}: {manoeuvre}"),
    *("safely {manoeuvre} at {place}", "{manoeuvre} at {place} without breaking a rule"),
    *("make the car {manoeuvre} at {place}", "reach {place} and {manoeuvre}"),
    *("you have to {manoeuvre} at {place}", "you plan to {manoeuvre} by {place}"),
    *("your route is to {manoeuvre} at {place}", "the driver means to {manoeuvre} at {place}"),
    *(
        "you would like to {manoeuvre} as soon as you get to {place}",
        "{place}, where you {manoeuvre}",
    ),
    *("beside {place} you should {manoeuvre}", "near {place}, please {manoeuvre}"),
)
_PER_WORLD = 2


def practice_tasks(worlds: Sequence[PracticeWorld], seed: int, folder: Path) -> tuple[Task, ...]:
    """One or two manoeuvres in each world.

    Args:
        worlds: Whose files are (or will be) in ``folder``.
        seed: Fixes manoeuvres and wordings.
        folder: Of the world files.
    """
    source = random.Random(f"practice tasks {seed}")
    tasks: list[Task] = []
    for world in worlds:
        actions = source.sample(world.actions, min(_PER_WORLD, len(world.actions)))
        for action in sorted(actions):
            sentence = source.choice(_SENTENCES)
            manoeuvre = source.choice(_MANOEUVRES[action])
            tasks.append(
                Task(
                    id=f"{world.name}_{action}",
                    prompt=sentence.format(manoeuvre=manoeuvre, place=world.place),
                    world=str(folder / f"{world.name}.yaml"),
                    action=action,
                    split="train",
                    wording="practice",
                )
            )
    return tuple(tasks)


def write_worlds(worlds: Iterable[PracticeWorld], folder: Path) -> None:
    """One world file each."""
    for world in worlds:
        write_text(folder / f"{world.name}.yaml", yaml.safe_dump(world.scenario, sort_keys=False))


def write_tasks(tasks: Iterable[Task], path: Path) -> None:
    """A task file that `pipeline.tasks.load_tasks` reads; worlds are named relative to it."""
    rows: list[dict[str, Any]] = []
    for task in tasks:
        world = Path(task.world)
        relative = world.relative_to(path.parent) if world.suffix == ".yaml" else world
        row = {"id": task.id, "prompt": task.prompt, "world": str(relative)}
        row |= {"action": task.action, "split": task.split}
        rows.append(row | ({"wording": task.wording} if task.wording else {}))
    write_text(path, yaml.safe_dump({"tasks": rows}, sort_keys=False, allow_unicode=True))


def observations(tasks: Iterable[Task], vocabulary: Vocabulary) -> set[frozenset[str]]:
    """What can be observed in the tasks' worlds, one set per world."""
    worlds = {task.world for task in tasks}
    return {frozenset(load_world(world, vocabulary).propositions) for world in worlds}
