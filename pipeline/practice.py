"""Practice tasks: manoeuvres in generated worlds, in several wordings.

The wordings are those of the shipped bank's train split and some more; none of them is one of its
validation or test wordings.
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

_WORDINGS = {
    "turn_left": (
        *("turn left at {}", "make a left turn at {}", "drive left at {}", "head left at {}"),
        *("steer left at {}", "make a left at {}", "on reaching {}, turn left"),
    ),
    "turn_right": (
        *("turn right at {}", "make a right turn at {}", "drive right at {}", "head right at {}"),
        *("steer right at {}", "make a right at {}", "on reaching {}, turn right"),
    ),
    "go_straight": (
        *("go straight at {}", "drive straight ahead at {}", "drive on past {}"),
        *("carry on straight at {}", "proceed straight at {}", "head straight on past {}"),
        "on reaching {}, keep going straight",
    ),
}
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
            number = source.randrange(len(_WORDINGS[action]))
            tasks.append(
                Task(
                    id=f"{world.name}_{action}",
                    prompt=_WORDINGS[action][number].format(world.place),
                    world=str(folder / f"{world.name}.yaml"),
                    action=action,
                    split="train",
                    wording=f"practice_{number}",
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
