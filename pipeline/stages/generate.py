"""Stage ``generate``: the model answers the tasks it learns from.

The train split of the bank, and practice tasks in generated worlds that get larger from round to
round (easier scenarios first). Tasks to which no answer succeeded are asked again; tasks on which
there is no feedback, because their world cannot be simulated, are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import feedback
from pipeline.chunks import sample_in_chunks
from pipeline.evaluation import Judge
from pipeline.feedback import can_be_judged, judging
from pipeline.files import write_rows
from pipeline.generation import Answer, Sampling
from pipeline.models import LanguageModel, load_model
from pipeline.practice import observations, practice_tasks, write_tasks, write_worlds
from pipeline.prompts import load_template
from pipeline.sampling import task_grammar
from pipeline.stages.context import StageContext
from pipeline.tasks import Task, load_tasks, task_prompt
from verifier.vocabulary import Vocabulary, load_vocabulary
from worlds.practice import practice_worlds

SECTIONS = ("seed", "model", "tasks", "generate", *feedback.SECTIONS)
NEEDS = ("adapter",)

ANSWERS, TASKS, WORLDS = "answers.jsonl", "tasks.yaml", "worlds"


@dataclass(frozen=True)
class _Series:
    """Answers asked for in one way."""

    origin: str
    tasks: tuple[Task, ...]
    samples: int
    sampling: Sampling
    constrained: bool


def run(context: StageContext) -> None:
    """Write ``tasks.yaml``, ``worlds/`` and ``answers.jsonl``.

    Raises:
        InputError: The model, a task or the prompt cannot be loaded.
    """
    config = context.config
    vocabulary = load_vocabulary(config.tasks.vocabulary)
    tasks = asked(context)
    write_tasks(tasks, context.work / TASKS)
    model = load_model(
        config.model.name,
        config.model.device,
        config.model.dtype,
        context.inputs.get("adapter"),
        config.model.engine,
    )
    seed = config.seed * 1000 + context.round
    settings = config.generate
    how = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, seed)
    rows: list[dict[str, Any]] = []
    first = [
        _Series("free", tasks, settings.samples, how, constrained=False),
        _Series("constrained", tasks, settings.constrained_samples, how, constrained=True),
    ]
    for series in first:
        rows += _sampled(context, model, vocabulary, series)
    with judging(config) as judge:
        failed = _without_success(tasks, rows, judge)
    again = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, seed + 500)
    rows += _sampled(
        context,
        model,
        vocabulary,
        _Series("constrained", failed, settings.extra_samples, again, constrained=True),
    )
    for number, row in enumerate(rows):
        row["id"] = f"r{context.round:02}-{number:05}"
    write_rows(context.work / ANSWERS, rows)


def asked(context: StageContext) -> tuple[Task, ...]:
    """The tasks of a round; writes the worlds of those that are practice."""
    config = context.config
    vocabulary = load_vocabulary(config.tasks.vocabulary)
    bank = load_tasks(config.tasks.bank, vocabulary)
    ours = [t for t in bank if t.split == "train" and can_be_judged(t, config, vocabulary)]
    train = ours[: config.tasks.limit]
    plan = config.tasks.practice
    practice = plan[min(context.round, len(plan)) - 1] if plan else None
    if practice is None or not practice.worlds:
        return tuple(train)
    known = {task.world for task in bank if task.split == "train"}
    seed = config.seed * 1000 + context.round
    worlds = practice_worlds(
        practice.worlds,
        seed,
        vocabulary,
        fewest=practice.propositions[0],
        most=practice.propositions[1],
        excluded=observations((t for t in bank if t.world not in known), vocabulary),
    )
    folder = context.work / WORLDS
    write_worlds(worlds, folder)
    return (*train, *practice_tasks(worlds, seed, folder))


def _sampled(
    context: StageContext, model: LanguageModel, vocabulary: Vocabulary, series: _Series
) -> list[dict[str, Any]]:
    """Rows without ids, in the order of tasks."""
    if not series.tasks or not series.samples:
        return []
    template = load_template(context.config.tasks.prompt)
    what = f"sampling {series.origin} answers"
    total = len(series.tasks) * series.samples
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        context.report(what, done, total)

    context.report(what, 0, total)
    grammars = None
    if series.constrained:
        grammars = [task_grammar(task, vocabulary) for task in series.tasks]
    answers = sample_in_chunks(
        model,
        [task_prompt(task, template, vocabulary) for task in series.tasks],
        series.samples,
        series.sampling,
        context.partial / f"{series.origin}-{series.sampling.seed}",
        grammars=grammars,
        chunk=context.config.generate.chunk,
        on_answers=advance,
    )
    splits = {task.id: task.split for task in series.tasks}
    return [_row(answer, series.origin, splits[answer.task]) for answer in answers]


def _row(answer: Answer, origin: str, split: str) -> dict[str, Any]:
    row = answer.to_json()
    return {
        "id": "",
        "task": row.pop("task"),
        "split": split,
        "origin": origin,
        "parent": None,
        **row,
    }


def _without_success(
    tasks: Sequence[Task], rows: Sequence[dict[str, Any]], judge: Judge
) -> tuple[Task, ...]:
    by_id = {task.id: task for task in tasks}
    solved: set[str] = set()
    for row in rows:
        if (
            row["task"] not in solved
            and judge.judge(by_id[row["task"]], row["text"]).strict_success
        ):
            solved.add(row["task"])
    return tuple(task for task in tasks if task.id not in solved)


def round_tasks(generate: Path) -> dict[str, Task]:
    """The tasks of a finished ``generate`` stage by id."""
    return {task.id: task for task in load_tasks(generate / TASKS)}
