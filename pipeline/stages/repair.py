"""Stage ``repair``: failed answers are mended, by symbolic edits and by the model itself.

Repairs are answers of their own with the repaired one as parent; they are verified like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline import feedback
from pipeline.chunks import sample_in_chunks
from pipeline.evaluation import Judge
from pipeline.feedback import judging
from pipeline.files import read_rows, write_rows
from pipeline.generation import Sampling
from pipeline.models import load_model
from pipeline.prompts import Prompt, load_template
from pipeline.repair.asking import repair_prompt
from pipeline.repair.symbolic import repair
from pipeline.sampling import task_grammar
from pipeline.stages.context import StageContext
from pipeline.stages.generate import ANSWERS, round_tasks
from pipeline.stages.verify import VERDICTS, write_verdicts
from pipeline.tasks import Task, task_prompt

SECTIONS = ("seed", "model", "tasks", "generate", "repair", *feedback.SECTIONS)
NEEDS = ("generate", "verify", "adapter")

_Row = dict[str, Any]


def run(context: StageContext) -> None:
    """Write ``answers.jsonl`` and ``verdicts.jsonl`` of the repairs.

    Raises:
        InputError: The model cannot be loaded.
    """
    generate = context.inputs["generate"]
    tasks = round_tasks(generate)
    answers = {row["id"]: row for row in read_rows(generate / ANSWERS)}
    verdicts = {row["answer"]: row for row in read_rows(context.inputs["verify"] / VERDICTS)}
    settings = context.config.repair
    rows: list[_Row] = []
    with judging(context.config) as judge:
        if settings.symbolic:
            failed = failures(answers.values(), verdicts, settings.per_task)
            rows += _edited(context, failed, tasks, judge)
        if settings.model:
            failed = failures(answers.values(), verdicts, settings.asked_per_task)
            rows += _asked(context, failed, tasks, judge)
        for number, row in enumerate(rows):
            row["id"] = f"r{context.round:02}-repair-{number:05}"
        write_rows(context.work / ANSWERS, rows)
        write_verdicts(rows, tasks, judge, context.work / VERDICTS)


def failures(
    answers: Iterable[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, Any]], most: int
) -> list[Mapping[str, Any]]:
    """Readable answers without success: up to ``most`` different ones per task, nearest first.

    Near means few broken rules, and that the manoeuvre is made.
    """
    groups: defaultdict[str, dict[str, tuple[tuple[object, ...], Mapping[str, Any]]]]
    groups = defaultdict(dict)
    for answer in answers:
        verdict = verdicts[answer["id"]]
        if verdict["parsed"] and not verdict["strict_success"]:
            faults = len(verdict["violated"]) + (verdict["progress"] != "satisfied")
            rank = (faults, len(answer["text"]), answer["id"])
            groups[answer["task"]].setdefault(verdict["controller"], (rank, answer))
    return [
        answer
        for group in groups.values()
        for _, answer in sorted(group.values(), key=lambda entry: entry[0])[:most]
    ]


def _edited(
    context: StageContext,
    failed: list[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    judge: Judge,
) -> list[_Row]:
    rows: list[_Row] = []
    for number, answer in enumerate(failed, start=1):
        found = repair(
            judge,
            tasks[answer["task"]],
            answer["text"],
            max_edits=context.config.repair.max_edits,
        )
        rows += [
            _row(answer, "symbolic_repair", repaired.text) | {"edits": list(repaired.edits)}
            for repaired in found
        ]
        context.report("repairing by edits", number, len(failed))
    return rows


def _asked(
    context: StageContext,
    failed: list[Mapping[str, Any]],
    tasks: Mapping[str, Task],
    judge: Judge,
) -> list[_Row]:
    """One new answer to each failed one, within the grammar."""
    config = context.config
    template = load_template(config.tasks.prompt)
    prompts: list[Prompt] = []
    parents: list[Mapping[str, Any]] = []
    for answer in failed:
        task = tasks[answer["task"]]
        judged = judge.judge(task, answer["text"], counterexamples=True)
        prompt = repair_prompt(task_prompt(task, template, judge.vocabulary), judged)
        if prompt is not None:
            prompts.append(prompt)
            parents.append(answer)
    if not prompts:
        return []
    model = load_model(
        config.model.name,
        config.model.device,
        config.model.dtype,
        context.inputs.get("adapter"),
        config.model.engine,
    )
    settings = config.generate
    seed = config.seed * 1000 + context.round + 700
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        context.report("repairing by the model", done, len(prompts))

    context.report("repairing by the model", 0, len(prompts))
    answers = sample_in_chunks(
        model,
        prompts,
        1,
        Sampling(settings.temperature, settings.top_p, settings.max_new_tokens, seed),
        context.partial / "asked",
        grammars=[task_grammar(tasks[prompt.task], judge.vocabulary) for prompt in prompts],
        chunk=settings.chunk,
        on_answers=advance,
    )
    return [
        _row(parent, "model_repair", answer.text)
        | {"tokens": answer.tokens, "finish": answer.finish, "prompt": answer.prompt}
        for parent, answer in zip(parents, answers, strict=True)
    ]


def _row(parent: Mapping[str, Any], origin: str, text: str) -> _Row:
    """A row of the answers' schema; what does not apply to a repair is null."""
    return {
        "id": "",
        "task": parent["task"],
        "split": parent["split"],
        "origin": origin,
        "parent": parent["id"],
        "sample": parent["sample"],
        "text": text,
        "tokens": None,
        "finish": None,
        "model": parent["model"],
        "sampling": parent["sampling"],
    }
