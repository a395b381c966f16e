"""A batch of sampled answers: real texts of a language model, read into controllers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import REPOSITORY
from pipeline.tasks import load_tasks
from verifier.controller import Controller
from verifier.semantics import Semantics
from verifier.steps import steps_to_controller
from verifier.vocabulary import Vocabulary

CORPUS = REPOSITORY / "tests" / "data" / "corpus" / "answers.jsonl"


@dataclass(frozen=True)
class Answer:
    """A readable answer: the world it is judged in, its controller, and the manoeuvre asked for."""

    world: str
    controller: Controller
    action: str | None = None


def load_answers(
    vocabulary: Vocabulary, semantics: Semantics, path: Path = CORPUS
) -> tuple[list[Answer], int]:
    """The readable answers in the order sampled, duplicates included, and how many there were."""
    if not path.exists():
        return [], 0
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    tasks = {task.id: task for task in load_tasks(vocabulary=vocabulary)}
    answers = []
    for row in rows:
        read = steps_to_controller(row["text"], vocabulary, semantics.conditional)
        task = tasks.get(row.get("task", ""))
        world = row.get("world") or (task and task.world)
        if read.controller is not None and world is not None:
            answers.append(Answer(str(world), read.controller, task and task.action))
    return answers, len(rows)
