"""Stage ``rank``: verdicts become preference pairs, each traceable to all it follows from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation import Judge
from pipeline.files import read_rows, write_rows, write_text
from pipeline.prompts import load_template
from pipeline.ranking import Pair, Ranked, Selection, select_pairs
from pipeline.stages.context import StageContext
from pipeline.stages.generate import ANSWERS, round_tasks
from pipeline.stages.verify import VERDICTS
from pipeline.tasks import Task, task_prompt
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

SECTIONS = ("tasks", "rank")
NEEDS = ("generate", "verify", "repair")

PAIRS, SUMMARY = "pairs.jsonl", "summary.json"


@dataclass(frozen=True)
class _Judgement:
    """An answer row and its verdict row."""

    answer: Mapping[str, Any]
    verdict: Mapping[str, Any]


def run(context: StageContext) -> None:
    """Write ``pairs.jsonl`` and ``summary.json``.

    Raises:
        InputError: Not a single pair.
    """
    words = context.config.tasks
    judge = Judge(load_vocabulary(words.vocabulary), load_semantics(words.semantics))
    tasks = round_tasks(context.inputs["generate"])
    sources = [(context.inputs["generate"], context.inputs["verify"])]
    if "repair" in context.inputs:
        sources.append((context.inputs["repair"], context.inputs["repair"]))
    judged = {
        answer["id"]: _Judgement(answer, verdict)
        for answers, verdicts in sources
        for answer, verdict in _joined(answers, verdicts)
    }
    settings = context.config.rank
    selection = select_pairs(
        [_ranked(item, judge, tasks[item.answer["task"]]) for item in judged.values()],
        order=settings.order,
        sources=settings.sources,
        margin=settings.margin,
        pairs_per_task=settings.pairs_per_task,
        successes_only=settings.successes_only,
    )
    if not selection.pairs:
        raise InputError(
            f"round {context.round} has no preference pairs: no answer is better than another",
            remedy="sample more answers per task, or allow repairs (--set repair.symbolic=true)",
        )
    write_rows(context.work / PAIRS, _rows(context, selection.pairs, judged, tasks, judge))
    write_text(context.work / SUMMARY, json.dumps(_summary(selection), indent=1) + "\n")


def _joined(answers: Path, verdicts: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return list(zip(read_rows(answers / ANSWERS), read_rows(verdicts / VERDICTS), strict=True))


def _ranked(item: _Judgement, judge: Judge, task: Task) -> Ranked:
    answer, verdict = item.answer, item.verdict
    weights = {s.id: s.weight for s in judge.rules_of(task).specifications}
    holds = [rule for rule, value in verdict["road"].items() if value in ("satisfied", "vacuous")]
    return Ranked(
        answer=answer["id"],
        task=answer["task"],
        text=answer["text"],
        identity=verdict["controller"] or f"text:{' '.join(answer['text'].split())}",
        parsed=verdict["parsed"],
        success=verdict["strict_success"],
        violated=frozenset(verdict["violated"]),
        progress=verdict["progress"] in ("satisfied", "vacuous"),
        satisfied=sum(value in ("satisfied", "vacuous") for value in verdict["paper"].values()),
        weight=float(sum(weights[rule] for rule in holds)),
        origin=answer["origin"],
        parent=answer["parent"],
    )


def _rows(
    context: StageContext,
    pairs: tuple[Pair, ...],
    judged: Mapping[str, _Judgement],
    tasks: Mapping[str, Task],
    judge: Judge,
) -> list[dict[str, Any]]:
    template = load_template(context.config.tasks.prompt)
    rows: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        task = tasks[pair.chosen.task]
        prompt = task_prompt(task, template, judge.vocabulary)
        rows.append(
            {
                "id": f"p{context.round:02}-{number:05}",
                "task": task.id,
                "prompt": {"hash": prompt.hash, "messages": prompt.chat()},
                "chosen": _side(judged[pair.chosen.answer]),
                "rejected": _side(judged[pair.rejected.answer]),
                "source": pair.source,
                "order": context.config.rank.order,
                "margin": pair.margin,
                "semantics": judge.semantics.to_json(),
                "round": context.round,
            }
        )
    return rows


def _side(item: _Judgement) -> dict[str, Any]:
    verdict = dict(item.verdict)
    del verdict["answer"], verdict["task"]
    return {
        "answer": item.answer["id"],
        "origin": item.answer["origin"],
        "parent": item.answer["parent"],
        "text": item.answer["text"],
        "controller": verdict["controller"],
        "verdicts": verdict,
    }


def _summary(selection: Selection) -> dict[str, Any]:
    pairs = selection.pairs
    return {
        "pairs": len(pairs),
        "tasks": len({pair.chosen.task for pair in pairs}),
        "successful": sum(pair.chosen.success for pair in pairs),
        "by_source": dict(sorted(Counter(pair.source for pair in pairs).items())),
        "by_task": dict(sorted(Counter(pair.chosen.task for pair in pairs).items())),
        "dropped": dict(selection.dropped),
    }
