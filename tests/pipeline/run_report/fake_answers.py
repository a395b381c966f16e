"""Real answers, good ones and near misses to the tasks of the bank, each judged once."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from reference_controllers import REFERENCE, VOCABULARY, stop_then

from pipeline.evaluation import Judge, Judged
from pipeline.tasks import Task, load_tasks
from verifier.semantics import SHIPPED
from verifier.steps import controller_to_steps

CORPUS = Path(__file__).parents[2] / "data" / "corpus" / "answers.jsonl"


@cache
def judge() -> Judge:
    return Judge(VOCABULARY, SHIPPED["default"])


@cache
def judged(task: Task, text: str) -> Judged:
    return judge().judge(task, text)


def corpus(per_split: int | None = None) -> dict[Task, list[str]]:
    """Tasks, each with the corpus' answers to the same manoeuvre in the same world."""
    texts: dict[tuple[str, str], list[str]] = {}
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["template"] == "observed":
            texts.setdefault((row["world"], row["action"]), []).append(row["text"])
    bank = load_tasks("driving", VOCABULARY)
    tasks = [task for task in bank if (task.world, task.action) in texts]
    kept: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda t: hashlib.sha256(t.id.encode()).hexdigest()):
        kept.setdefault(task.split, []).append(task)
    chosen = {task.id for group in kept.values() for task in group[:per_split]}
    return {task: texts[task.world, task.action] for task in tasks if task.id in chosen}


def good_texts(task: Task) -> list[str]:
    """Answers that are strict successes: the reference controller in several forms."""
    guard = REFERENCE[task.world, task.action]
    controller = stop_then(guard, task.action)
    texts = [
        "\n".join(f"{n}. {s}" for n, s in enumerate(controller_to_steps(controller, VOCABULARY), 1))
    ]
    if "|" not in guard and "(" not in guard:
        literals = [part.strip() for part in guard.split("&")]
        act = VOCABULARY.action(task.action).phrase
        both = " and ".join(_condition(literal) for literal in literals)
        texts.append(f"1. Stop.\n2. If {both}, {act}.")
        first = literals[0].strip("!")
        look = VOCABULARY.proposition(first).phrase
        texts.append(f"1. Observe the {look}.\n2. Stop.\n3. If {both}, {act}.")
    return [text for text in texts if judged(task, text).strict_success]


def near_misses(task: Task) -> list[str]:
    """Good answers that have lost one condition."""
    guard = REFERENCE[task.world, task.action]
    literals = [part.strip() for part in guard.split("&")]
    if "|" in guard or len(literals) < 2:
        return [f"1. {VOCABULARY.action(task.action).phrase.capitalize()}."]
    act = VOCABULARY.action(task.action).phrase
    return [
        f"1. Stop.\n2. If {' and '.join(_condition(x) for x in literals if x != left_out)}, {act}."
        for left_out in literals
    ]


def replace_id(task: Task, id: str) -> Task:
    return Task(id, id, task.world, task.action, task.split)


def _condition(literal: str) -> str:
    phrase = VOCABULARY.proposition(literal.strip("!")).phrase
    return f"there is no {phrase}" if literal.startswith("!") else f"there is a {phrase}"
