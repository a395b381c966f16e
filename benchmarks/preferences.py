"""Preference pairs of real answers: sampled, judged, repaired by edits and ranked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.answers import CORPUS
from pipeline.config import RunConfig
from pipeline.evaluation import Judge, Judged
from pipeline.files import read_rows, write_rows
from pipeline.prompts import Message, load_template
from pipeline.ranking import Ranked, select_pairs
from pipeline.repair.symbolic import repair
from pipeline.stages.repair import failures
from pipeline.tasks import Task, load_tasks, task_prompt
from pipeline.training.pairs import load_groups
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt, the better one first."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        messages = [{"role": m.role, "content": m.content} for m in self.messages]
        return {"messages": messages, "chosen": self.chosen, "rejected": self.rejected}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> Preference:
        """What `to_json` wrote."""
        messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
        return Preference(messages, row["chosen"], row["rejected"])


def preferences_of_run(path: Path, most: int) -> list[Preference]:
    """The first pairs of a run's rank/pairs.jsonl.

    Raises:
        InputError: The file is missing or a row is not a pair.
    """
    found = [
        Preference(group.messages, group.completions[p.chosen], group.completions[p.rejected])
        for group in load_groups(path)
        for p in group.pairs
        for _ in range(p.weight)
    ]
    return found[:most]


def preferences_of_corpus(config: RunConfig, most: int) -> list[Preference]:
    """The first pairs that the loop makes of the sampled answers to training tasks.

    As a run does with this configuration, but that no answer is repaired by the model.
    """
    return list(_first(_by_task(config), most))


def _first(groups: Iterator[list[Preference]], most: int) -> Iterator[Preference]:
    left = most
    while left > 0 and (group := next(groups, None)) is not None:
        yield from group[:left]
        left -= len(group)


def _by_task(config: RunConfig) -> Iterator[list[Preference]]:
    judge = Judge(load_vocabulary(config.tasks.vocabulary), load_semantics(config.tasks.semantics))
    template = load_template(config.tasks.prompt)
    sampled: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(CORPUS):
        if row["template"] == config.tasks.prompt:
            sampled[row["task"]].append(row)
    for task in load_tasks(config.tasks.bank, judge.vocabulary, ["train"]):
        answers = _ranked_answers(task, sampled[task.id], judge, config)
        prompt = task_prompt(task, template, judge.vocabulary).messages
        pairs = select_pairs(
            answers,
            order=config.rank.order,
            margin=config.rank.margin,
            pairs_per_task=config.rank.pairs_per_task,
            successes_only=config.rank.successes_only,
        ).pairs
        yield [Preference(prompt, pair.chosen.text, pair.rejected.text) for pair in pairs]


def _ranked_answers(
    task: Task, rows: Sequence[Mapping[str, Any]], judge: Judge, config: RunConfig
) -> list[Ranked]:
    judged = {row["id"]: judge.judge(task, row["text"]) for row in rows}
    ranked = [_ranked(judge, answer, key, "free") for key, answer in judged.items()]
    verdicts = {key: answer.to_json() for key, answer in judged.items()}
    for row in failures(rows, verdicts, config.repair.per_task):
        for found in repair(judge, task, row["text"], max_edits=config.repair.max_edits):
            key, answer = f"{row['id']}-repaired", judge.judge(task, found.text)
            ranked.append(_ranked(judge, answer, key, "symbolic_repair", row["id"]))
    return ranked


def _ranked(
    judge: Judge, answer: Judged, key: str, origin: str, parent: str | None = None
) -> Ranked:
    weights = {s.id: s.weight for s in judge.rules_of(answer.task).specifications}
    holding = [verdict.id for verdict in answer.road.verdicts if verdict.holds]
    return Ranked(
        answer=key,
        task=answer.task.id,
        text=answer.text,
        identity=answer.road.controller_hash or f"text:{' '.join(answer.text.split())}",
        parsed=answer.controller is not None,
        success=answer.strict_success,
        violated=frozenset(answer.violated),
        progress=answer.road.verdicts[-1].holds,
        satisfied=sum(verdict.holds for verdict in answer.paper.verdicts),
        weight=float(sum(weights[rule] for rule in holding)),
        origin=origin,
        parent=parent,
    )


def write_preferences(path: Path, preferences: Sequence[Preference]) -> None:
    """One JSON object a line."""
    write_rows(path, (preference.to_json() for preference in preferences))


def read_preferences(path: Path) -> list[Preference]:
    """What `write_preferences` wrote."""
    return [Preference.from_json(row) for row in read_rows(path)]
