"""Stage ``evaluate``: what the round's model answers, judged on every split.

Writes ``answers.jsonl`` (each answer with its verdicts and controller), ``robustness.jsonl`` (the
same for reworded and renamed tasks) and ``summary.json``. Nothing in them depends on time or on
where an interrupted stage was resumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import adapter_hash
from pipeline.evaluation import Judge, Judged, Summary, best, summarize, trivial_answers
from pipeline.files import write_text
from pipeline.prompts import Template, load_template
from pipeline.statistics import wilson
from pipeline.tasks import Task, load_tasks, task_prompt
from verifier.controller import controller_to_json
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from pipeline.generation import Answer, Sampling
    from pipeline.models import LanguageModel
    from pipeline.stages.context import StageContext

SECTIONS = ("model", "tasks", "evaluate")
"""Sections of the configuration that this stage depends on."""
NEEDS: tuple[str, ...] = ()
"""It reads the adapter to be evaluated and nothing else; in round 0 there is none."""

_HEADLINE = "test"


@dataclass(frozen=True)
class Evaluated:
    """An answer of the evaluation with its verdicts.

    Attributes:
        id: Unique within the round.
        seed: The sampling seed it was drawn with.
        answer: What was sampled.
        judged: What it is worth.
    """

    id: str
    seed: int
    answer: Answer
    judged: Judged

    def to_json(self) -> dict[str, Any]:
        """One row of ``answers.jsonl``."""
        task, controller = self.judged.task, self.judged.controller
        return {
            "id": self.id,
            "task": task.id,
            "split": task.split,
            "origin": "free",
            "parent": None,
            "seed": self.seed,
            "sample": self.answer.sample,
            "text": self.answer.text,
            "tokens": self.answer.tokens,
            "finish": self.answer.finish,
            "model": self.answer.model,
            "sampling": self.answer.sampling,
            "verdict": {"answer": self.id, "task": task.id, **self.judged.to_json()},
            "controller_json": controller_to_json(controller) if controller else None,
        }


def run(context: StageContext) -> None:
    """Evaluate the round's adapter, or the base where there is none.

    Raises:
        InputError: Tasks, worlds or the model cannot be loaded; a file cannot be written.
    """
    from pipeline.generation import Sampling
    from pipeline.models import load_model

    settings, tasks_config = context.config.evaluate, context.config.tasks
    words = load_vocabulary(tasks_config.vocabulary)
    bank = load_tasks(tasks_config.bank, words)
    trained_in = {task.world for task in bank if task.split == "train"}
    limit = settings.limit if settings.limit is not None else tasks_config.limit
    tasks = _chosen(bank, settings.splits, limit)
    template = load_template(tasks_config.prompt)
    judge = Judge(words, load_semantics(tasks_config.semantics))
    adapter = context.inputs.get("adapter")
    model = load_model(
        context.config.model.name, context.config.model.device, context.config.model.dtype, adapter
    )

    def sampling(seed: int) -> Sampling:
        return Sampling(settings.temperature, 1.0, settings.max_new_tokens, seed)

    evaluated = _sample(
        model,
        tasks,
        template,
        judge,
        settings.samples,
        {seed: sampling(seed) for seed in settings.seeds},
        context.partial / "answers",
        f"e{context.round:02d}",
        lambda done, total: context.report("evaluating", done, total),
    )
    _write_rows(context.work / "answers.jsonl", evaluated)
    headline = _of_split(evaluated, _HEADLINE) or evaluated
    asked = list(dict.fromkeys(item.judged.task for item in headline))
    summary = {
        "model": model.hash,
        "adapter": adapter_hash(adapter) if adapter is not None else None,
        "samples": settings.samples,
        "seeds": list(settings.seeds),
        "temperature": settings.temperature,
        "splits": {name: _summary(rows) for name, rows in _splits(evaluated, trained_in).items()},
        "best_of": _best_of(headline, settings.samples),
        "paraphrased": None,
        "renamed": None,
        "trivial": {
            name: summarize(judged).to_json()
            for name, judged in trivial_answers(judge, asked).items()
        },
        "perplexity": None,
        "kl": None,
        "per_seed": {
            str(seed): _rates([item for item in headline if item.seed == seed])
            for seed in settings.seeds
        },
    }
    write_text(context.work / "summary.json", json.dumps(summary, indent=1) + "\n")


def _chosen(tasks: Sequence[Task], splits: Iterable[str], limit: int | None) -> list[Task]:
    """The tasks of the splits in their order, at most ``limit`` of each."""
    return [task for split in splits for task in [t for t in tasks if t.split == split][:limit]]


def _sample(
    model: LanguageModel,
    tasks: Sequence[Task],
    template: Template,
    judge: Judge,
    samples: int,
    samplings: Mapping[int, Sampling],
    folder: Path,
    prefix: str,
    report: Callable[[int, int], None],
) -> list[Evaluated]:
    from pipeline.chunks import sample_in_chunks

    by_id = {task.id: task for task in tasks}
    prompts = [task_prompt(task, template, judge.vocabulary) for task in tasks]
    total, done = len(tasks) * samples * len(samplings), 0
    result: list[Evaluated] = []

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(done, total)

    for seed, sampling in samplings.items():
        answers = sample_in_chunks(model, prompts, samples, sampling, folder, on_answers=advance)
        for answer in answers:
            judged = judge.judge(by_id[answer.task], answer.text)
            result.append(Evaluated(f"{prefix}-{len(result):05d}", seed, answer, judged))
    return result


def _splits(evaluated: Sequence[Evaluated], trained_in: set[str]) -> dict[str, list[Evaluated]]:
    names = dict.fromkeys(item.judged.task.split for item in evaluated)
    splits = {name: _of_split(evaluated, name) for name in names}
    if _HEADLINE in splits:
        for name, known in (("known", True), ("new", False)):
            splits[f"{_HEADLINE}_{name}_worlds"] = [
                item
                for item in splits[_HEADLINE]
                if (item.judged.task.world in trained_in) is known
            ]
    return splits


def _of_split(evaluated: Sequence[Evaluated], split: str) -> list[Evaluated]:
    return [item for item in evaluated if item.judged.task.split == split]


def _summary(rows: Sequence[Evaluated]) -> dict[str, Any]:
    return _summarize(rows).to_json()


def _summarize(rows: Sequence[Evaluated]) -> Summary:
    return summarize([row.judged for row in rows], [row.answer.tokens for row in rows])


def _rates(rows: Sequence[Evaluated]) -> dict[str, float | None]:
    summary = _summarize(rows)
    return {
        "strict_success": summary.strict_success.value,
        "paper_score": summary.paper_score.value,
        "parse_rate": summary.parse_rate.value,
        "distinct_correct": summary.distinct_correct,
    }


def _best_of(rows: Sequence[Evaluated], samples: int) -> dict[str, Any]:
    """Scores if the verifier chooses among the samples of each task and seed."""
    groups: dict[tuple[str, int], list[Judged]] = {}
    for row in rows:
        groups.setdefault((row.judged.task.id, row.seed), []).append(row.judged)
    chosen = [best(group) for group in groups.values()]
    return {
        "n": samples,
        "strict_success": wilson(sum(c.strict_success for c in chosen), len(chosen)).to_json(),
        "paper_score": wilson(sum(c.paper_score for c in chosen), len(chosen)).to_json(),
    }


def _write_rows(path: Path, rows: Iterable[Evaluated]) -> None:
    lines = (json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
    write_text(path, "".join(lines))
