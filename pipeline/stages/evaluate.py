"""Stage ``evaluate``: what the round's model answers, judged on every split.

Writes ``answers.jsonl`` (each answer with its verdicts and controller), ``robustness.jsonl`` (the
same for paraphrased and renamed tasks, once each) and ``summary.json``. Nothing in them depends on
time or on where an interrupted stage was resumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import adapter_hash
from pipeline.evaluation import Judge, Judged, Summary, best, summarize, trivial_answers
from pipeline.files import write_text
from pipeline.prompts import Prompt, Template, load_template
from pipeline.tasks import Task, load_tasks, task_prompt
from verifier.controller import controller_to_json
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.statistics import wilson

if TYPE_CHECKING:
    from pipeline.generation import Answer, Sampling
    from pipeline.models import LanguageModel
    from pipeline.stages.context import StageContext

SECTIONS = ("model", "tasks", "evaluate", "trials")
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
        prompt: The conversation.
        variation: How the task was changed; empty if it was asked as it stands.
    """

    id: str
    seed: int
    answer: Answer
    judged: Judged
    prompt: Prompt
    variation: Mapping[str, str | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One row of ``answers.jsonl`` or ``robustness.jsonl``."""
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
            **self.variation,
        }


@dataclass(frozen=True)
class _Evaluation:
    """What every answer of a round is sampled and judged with."""

    context: StageContext
    model: LanguageModel
    judge: Judge
    template: Template

    def sampling(self, seed: int) -> Sampling:
        from pipeline.generation import Sampling

        settings = self.context.config.evaluate
        return Sampling(settings.temperature, 1.0, settings.max_new_tokens, seed)

    def answers(
        self, prompts: Sequence[Prompt], samples: int, seed: int, on_answers: Callable[[int], None]
    ) -> list[Answer]:
        """Sampled answers in order; those of an interrupted attempt are not sampled again."""
        from pipeline.chunks import sample_in_chunks

        folder = self.context.partial / "answers"
        sampling = self.sampling(seed)
        return sample_in_chunks(
            self.model, prompts, samples, sampling, folder, on_answers=on_answers
        )

    def id(self, kind: str, number: int) -> str:
        return f"{kind}{self.context.round:02d}-{number:05d}"


def run(context: StageContext) -> None:
    """Evaluate the round's adapter, or the base where there is none.

    Raises:
        InputError: Tasks, worlds or the model cannot be loaded; a file cannot be written.
    """
    from pipeline.models import load_model

    settings, tasks_config = context.config.evaluate, context.config.tasks
    words = load_vocabulary(tasks_config.vocabulary)
    bank = load_tasks(tasks_config.bank, words)
    trained_in = {task.world for task in bank if task.split == "train"}
    limit = settings.limit if settings.limit is not None else tasks_config.limit
    tasks = _chosen(bank, settings.splits, limit)
    adapter = context.inputs.get("adapter")
    of_model = context.config.model
    model = load_model(of_model.name, of_model.device, of_model.dtype, adapter, of_model.engine)
    judge = Judge(words, load_semantics(tasks_config.semantics))
    evaluation = _Evaluation(context, model, judge, load_template(tasks_config.prompt))

    evaluated = _sample(evaluation, tasks)
    _write_rows(context.work / "answers.jsonl", evaluated)
    headline = _of_split(evaluated, _HEADLINE) or evaluated
    asked = list(dict.fromkeys(item.judged.task for item in headline))
    varied = _sample_variations(evaluation, asked) if settings.robustness else {}
    _write_rows(context.work / "robustness.jsonl", chain.from_iterable(varied.values()))
    summary = {
        "model": model.hash,
        "adapter": adapter_hash(adapter) if adapter is not None else None,
        "samples": settings.samples,
        "seeds": list(settings.seeds),
        "temperature": settings.temperature,
        "splits": {name: _summary(rows) for name, rows in _splits(evaluated, trained_in).items()},
        "best_of": _best_of(headline, settings.samples * len(settings.seeds)),
        "paraphrased": _summary(varied["paraphrased"]) if varied else None,
        "renamed": _summary(varied["renamed"]) if varied else None,
        "trivial": {
            name: summarize(judged).to_json()
            for name, judged in trivial_answers(judge, asked).items()
        },
        "perplexity": _perplexity(evaluation) if settings.perplexity else None,
        "kl": _divergence(evaluation, headline) if settings.perplexity else None,
        "per_seed": {
            str(seed): _rates([item for item in headline if item.seed == seed])
            for seed in settings.seeds
        },
    }
    write_text(context.work / "summary.json", json.dumps(summary, indent=1) + "\n")
    if context.config.trials.episodes:
        _try_out(context, headline, judge)


def _try_out(context: StageContext, rows: Sequence[Evaluated], judge: Judge) -> None:
    from pipeline.trials import Answered, run_trials

    read = [
        Answered(row.id, row.judged.task, row.judged.controller)
        for row in rows
        if row.judged.controller is not None
    ]
    run_trials(
        read,
        len(rows) - len(read),
        context.config,
        judge.semantics,
        judge.vocabulary,
        context.work,
        lambda done, total: context.report("trial drives", done, total),
    )


def _chosen(tasks: Sequence[Task], splits: Iterable[str], limit: int | None) -> list[Task]:
    """The tasks of the splits in their order, at most ``limit`` of each."""
    return [task for split in splits for task in [t for t in tasks if t.split == split][:limit]]


def _sample(evaluation: _Evaluation, tasks: Sequence[Task]) -> list[Evaluated]:
    """Every task's answers with every seed, judged."""
    judge, settings = evaluation.judge, evaluation.context.config.evaluate
    prompts = [task_prompt(task, evaluation.template, judge.vocabulary) for task in tasks]
    asked = {task.id: (task, prompt) for task, prompt in zip(tasks, prompts, strict=True)}
    advance = _counter(
        evaluation.context, "evaluating", len(tasks) * settings.samples * len(settings.seeds)
    )
    result: list[Evaluated] = []
    for seed in settings.seeds:
        for answer in evaluation.answers(prompts, settings.samples, seed, advance):
            task, prompt = asked[answer.task]
            judged = judge.judge(task, answer.text)
            result.append(Evaluated(evaluation.id("e", len(result)), seed, answer, judged, prompt))
    return result


def _sample_variations(
    evaluation: _Evaluation, tasks: Sequence[Task]
) -> dict[str, list[Evaluated]]:
    """An answer to every task paraphrased, and one to every task renamed, with the first seed.

    Nothing for a vocabulary for which there are no paraphrases and renamings.
    """
    from pipeline.robustness import has_robustness, paraphrased, renamed

    judge, seed = evaluation.judge, evaluation.context.config.evaluate.seeds[0]
    if not has_robustness(judge.vocabulary.name):
        return {}
    advance = _counter(evaluation.context, "paraphrased and renamed tasks", 2 * len(tasks))
    result: dict[str, list[Evaluated]] = {}
    for kind, vary in (("paraphrased", paraphrased), ("renamed", renamed)):
        variations = vary(tasks, evaluation.template, judge.vocabulary)
        prompts = [variation.prompt for variation in variations]
        answers = evaluation.answers(prompts, 1, seed, advance)
        result[kind] = [
            Evaluated(
                evaluation.id(kind[0], number),
                seed,
                answer,
                variation.judge(judge, answer.text),
                variation.prompt,
                {
                    "variation": kind,
                    "renaming": variation.renaming.name if variation.renaming else None,
                    "asked": variation.task.prompt,
                },
            )
            for number, (variation, answer) in enumerate(zip(variations, answers, strict=True))
        ]
    return result


def _perplexity(evaluation: _Evaluation) -> dict[str, Any]:
    from pipeline.perplexity import perplexity

    def measured() -> dict[str, Any]:
        evaluation.context.report("perplexity on neutral text", 0, 1)
        return perplexity(evaluation.model).to_json()

    return _kept(evaluation.context.partial / "perplexity.json", measured)


def _divergence(evaluation: _Evaluation, rows: Sequence[Evaluated]) -> dict[str, Any] | None:
    """Divergence from the base along the first answer to each task; None for the base itself."""
    from pipeline.likelihood import Said, divergence
    from pipeline.models import load_model

    if evaluation.model.adapter is None:
        return None
    first = evaluation.context.config.evaluate.seeds[0]

    def measured() -> dict[str, Any]:
        evaluation.context.report("divergence from the base", 0, 1)
        said = [
            Said(row.prompt, row.answer.text, row.answer.finish == "stop")
            for row in rows
            if row.seed == first and row.answer.sample == 0
        ]
        # A second copy of the weights, for as long as this takes: the adapter is merged into ours.
        of_model = evaluation.context.config.model
        base = load_model(of_model.name, of_model.device, of_model.dtype, engine=of_model.engine)
        return divergence(evaluation.model, base, said).to_json()

    return _kept(evaluation.context.partial / "divergence.json", measured)


def _kept(file: Path, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A measurement from an interrupted attempt, else made now."""
    with suppress(OSError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    result = measured()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(result) + "\n")
    return result


def _counter(context: StageContext, what: str, total: int) -> Callable[[int], None]:
    """Called with how much more is done, it reports how much is done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        context.report(what, done, total)

    return advance


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
    """Scores if the verifier chooses among all samples of a task."""
    groups: dict[str, list[Judged]] = {}
    for row in rows:
        groups.setdefault(row.judged.task.id, []).append(row.judged)
    chosen = [best(group) for group in groups.values()]
    return {
        "n": samples,
        "strict_success": wilson(sum(c.strict_success for c in chosen), len(chosen)).to_json(),
        "paper_score": wilson(sum(c.paper_score for c in chosen), len(chosen)).to_json(),
    }


def _write_rows(path: Path, rows: Iterable[Evaluated]) -> None:
    lines = (json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
    write_text(path, "".join(lines))
