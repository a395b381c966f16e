"""Sample the corpus again: ``python tests/data/corpus/make.py`` (see README.md beside this file)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import write_text
from pipeline.generation import Sampling, generate
from pipeline.models import LanguageModel, load_model
from pipeline.prompts import load_template
from pipeline.tasks import Task, load_tasks, task_prompt
from verifier.vocabulary import Vocabulary, load_vocabulary

ANSWERS = Path(__file__).parent / "answers.jsonl"


@dataclass(frozen=True)
class Part:
    """Answers to every task: the template, how they are sampled, and how many per task."""

    template: str
    sampling: Sampling
    samples: int


PARTS = (
    Part("observed", Sampling(temperature=0.5, top_p=1.0, max_new_tokens=120, seed=0), 5),
    Part("observed", Sampling(temperature=0.8, top_p=1.0, max_new_tokens=120, seed=1), 3),
    Part("observed", Sampling(temperature=1.0, top_p=1.0, max_new_tokens=120, seed=2), 2),
    Part("plain", Sampling(temperature=0.5, top_p=1.0, max_new_tokens=120, seed=3), 2),
)


def tasks_of_corpus(vocabulary: Vocabulary) -> Sequence[Task]:
    """Every second task of the shipped bank: all worlds and manoeuvres, half of the wordings."""
    return load_tasks("driving", vocabulary)[::2]


def rows(part: Part, model: LanguageModel, vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    """The corpus rows of one part, in the order of tasks, then of samples."""
    template = load_template(part.template)
    tasks = {task.id: task for task in tasks_of_corpus(vocabulary)}
    prompts = [task_prompt(task, template, vocabulary) for task in tasks.values()]
    how = part.sampling
    for answer in generate(model, prompts, part.samples, how):
        task = tasks[answer.task]
        yield {
            "id": f"{part.template}-{how.temperature}-{task.id}-{answer.sample}",
            "task": task.id,
            "prompt": task.prompt,
            "world": task.world,
            "action": task.action,
            "split": task.split,
            "template": part.template,
            "temperature": how.temperature,
            "seed": how.seed,
            "sample": answer.sample,
            "finish": answer.finish,
            "text": answer.text,
        }


def main() -> None:
    """Write answers.jsonl; some ten minutes on two cores, at once when the answers are cached."""
    vocabulary, model = load_vocabulary(), load_model(device="cpu")
    lines = [
        json.dumps(row, ensure_ascii=False) + "\n"
        for part in PARTS
        for row in rows(part, model, vocabulary)
    ]
    write_text(ANSWERS, "".join(lines))


if __name__ == "__main__":
    main()
