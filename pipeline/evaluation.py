"""Scores of answers: every answer read, verified under both rule books, and counted.

Paper score and strict success are defined in the design (semantics) and always reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.statistics import Rate, wilson
from pipeline.tasks import Task
from verifier.checker import DEFAULT_TIME_LIMIT, Checker
from verifier.controller import Controller
from verifier.rules import RuleBook, load_rules, progress_specification
from verifier.semantics import Semantics
from verifier.steps import Alignment, steps_to_controller
from verifier.verdicts import Report
from verifier.vocabulary import Vocabulary
from worlds.load import load_world

PROGRESS = "progress"
"""In summaries, the progress rules of all manoeuvres together."""


@dataclass(frozen=True)
class Judged:
    """An answer with its controller and verdicts.

    Attributes:
        task: What was asked.
        text: The answer.
        alignment: Its controller, or the problems that keep it from being one.
        rules: ``road`` and the task's progress specification.
        road: The report under these.
        paper: The report under ``paper``.
    """

    task: Task
    text: str
    alignment: Alignment
    rules: RuleBook
    road: Report
    paper: Report

    @property
    def controller(self) -> Controller | None:
        """None if the answer could not be read."""
        return self.alignment.controller

    @property
    def paper_score(self) -> float:
        """Share of the paper's rules that hold; 0 if the answer could not be read."""
        return sum(v.holds for v in self.paper.verdicts) / len(self.paper.verdicts)

    @property
    def strict_success(self) -> bool:
        """No rule of ``road`` violated or unknown, and the task's manoeuvre is made."""
        *rules, progress = self.road.verdicts
        return progress.value == "satisfied" and all(
            verdict.holds or verdict.value == "inapplicable" for verdict in rules
        )


class Judge:
    """Reads and verifies answers; one checker per world, rule book and manoeuvre.

    Args:
        vocabulary: The domain.
        semantics: The profile under which everything is judged.
        time_limit: Seconds per specification.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        semantics: Semantics,
        time_limit: float = DEFAULT_TIME_LIMIT,
    ) -> None:
        self.vocabulary, self.semantics, self.time_limit = vocabulary, semantics, time_limit
        self.road, self.paper = (load_rules(name, vocabulary) for name in ("road", "paper"))
        self._world = lru_cache(maxsize=None)(lambda name: load_world(name, vocabulary))
        self._checkers: dict[tuple[str, str], Checker] = {}

    def judge(self, task: Task, text: str, *, counterexamples: bool = False) -> Judged:
        """Read ``text`` and verify it in the task's world."""
        alignment = steps_to_controller(text, self.vocabulary, self.semantics.conditional)
        return self.judge_alignment(task, text, alignment, counterexamples=counterexamples)

    def judge_alignment(
        self, task: Task, text: str, alignment: Alignment, *, counterexamples: bool = False
    ) -> Judged:
        """Verify what was read from ``text`` in the task's world."""
        rules = self.road.with_specification(progress_specification(task.action))
        road, paper = (
            self._report(self.checker(task.world, book), alignment, counterexamples)
            for book in (rules, self.paper)
        )
        return Judged(task, text, alignment, rules, road, paper)

    def checker(self, world: str, rules: RuleBook) -> Checker:
        """The checker for a world and a rule book, made on first use."""
        key = (world, rules.hash)
        if key not in self._checkers:
            self._checkers[key] = Checker(
                self._world(world), rules, self.semantics, self.vocabulary, self.time_limit
            )
        return self._checkers[key]

    def _report(self, checker: Checker, alignment: Alignment, counterexamples: bool) -> Report:
        if alignment.controller is None:
            return checker.unknown([problem.to_line() for problem in alignment.problems])
        return checker.check(alignment.controller, counterexamples=counterexamples)


@dataclass(frozen=True)
class Summary:
    """Scores of a set of answers.

    Attributes:
        answers: How many.
        distinct: Number of distinct controllers (by canonical hash).
        parse_rate: Share that became a controller.
        paper_score: Mean share of the paper's rules that hold (unread answers count 0).
        strict_success: Share with strict success.
        rules: (rule book, rule id) -> how often each verdict was given.
    """

    answers: int
    distinct: int
    parse_rate: Rate
    paper_score: Rate
    strict_success: Rate
    rules: dict[tuple[str, str], dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Rates as ``{"value", "low", "high"}``, and the verdict counts per rule."""
        books: dict[str, dict[str, dict[str, int]]] = {}
        for (book, rule), counts in self.rules.items():
            books.setdefault(book, {})[rule] = counts
        return {
            "answers": self.answers,
            "distinct_controllers": self.distinct,
            "parse_rate": self.parse_rate.to_json(),
            "paper_score": self.paper_score.to_json(),
            "strict_success": self.strict_success.to_json(),
            "rules": books,
        }


def summarize(judged: Sequence[Judged]) -> Summary:
    """Count verdicts and successes."""
    count = len(judged)
    rules: dict[tuple[str, str], dict[str, int]] = {}
    for item in judged:
        for report in (item.road, item.paper):
            for verdict in report.verdicts:
                rule = PROGRESS if verdict.id.startswith(f"{PROGRESS}_") else verdict.id
                counts = rules.setdefault((report.rules, rule), {})
                counts[verdict.value] = counts.get(verdict.value, 0) + 1
    hashes = {item.road.controller_hash for item in judged if item.controller is not None}
    return Summary(
        answers=count,
        distinct=len(hashes),
        parse_rate=wilson(sum(item.controller is not None for item in judged), count),
        paper_score=wilson(sum(item.paper_score for item in judged), count),
        strict_success=wilson(sum(item.strict_success for item in judged), count),
        rules=rules,
    )


def worst(judged: Iterable[Judged]) -> Judged | None:
    """The answer that breaks the most safety rules of ``road`` (the first of several)."""

    def broken(item: Judged) -> int:
        return sum(
            verdict.value == "violated" and not verdict.id.startswith(f"{PROGRESS}_")
            for verdict in item.road.verdicts
        )

    ranked = sorted((item for item in judged if broken(item)), key=broken, reverse=True)
    return ranked[0] if ranked else None
