"""Scores of answers: every answer read, verified under both rule books, and counted.

Paper score and strict success are defined in the design (semantics) and always reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pipeline.tasks import STOP, Task
from verifier.canonical import canonical
from verifier.checker import DEFAULT_TIME_LIMIT, Checker
from verifier.controller import Controller
from verifier.rules import RuleBook, load_rules, progress_specification
from verifier.semantics import Semantics
from verifier.steps import Alignment, steps_to_controller
from verifier.trivial_controllers import constant_controllers
from verifier.verdicts import Report
from verifier.vocabulary import EPSILON, Vocabulary
from worlds.load import load_world
from worlds.statistics import Rate, wilson

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

    @property
    def violated(self) -> tuple[str, ...]:
        """Ids of the rules of ``road`` that are violated, progress left out."""
        return tuple(v.id for v in self.road.verdicts[:-1] if v.value == "violated")

    @property
    def progress(self) -> str:
        """The verdict on the task's manoeuvre."""
        return self.road.verdicts[-1].value

    def to_json(self) -> dict[str, Any]:
        """Verdicts by rule, as stored beside an answer."""
        return {
            "parsed": self.controller is not None,
            "controller": self.road.controller_hash,
            "strict_success": self.strict_success,
            "paper_score": self.paper_score,
            "violated": list(self.violated),
            "progress": self.progress,
            "problems": [problem.to_line() for problem in self.alignment.problems],
            "road": {verdict.id: verdict.value for verdict in self.road.verdicts},
            "paper": {verdict.id: verdict.value for verdict in self.paper.verdicts},
        }


class Checks(Protocol):
    """What decides about controllers in one world under one rule book."""

    def check(self, controller: Controller, *, counterexamples: bool = True) -> Report:
        """The verdict of every specification."""
        ...

    def unknown(self, problems: Sequence[str]) -> Report:
        """The report on a text that could not be read."""
        ...


MakeChecks = Callable[[str, RuleBook], Checks]
"""Of a world (a shipped name or the path of its file) and a rule book."""


class Judge:
    """Reads and verifies answers; one checker per world, rule book and manoeuvre.

    Args:
        vocabulary: The domain.
        semantics: The profile under which everything is judged.
        time_limit: Seconds per specification.
        make_checks: What decides; by default the model checker.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        semantics: Semantics,
        time_limit: float = DEFAULT_TIME_LIMIT,
        make_checks: MakeChecks | None = None,
    ) -> None:
        self.vocabulary, self.semantics, self.time_limit = vocabulary, semantics, time_limit
        self.road, self.paper = (load_rules(name, vocabulary) for name in ("road", "paper"))
        self._world = lru_cache(maxsize=None)(lambda name: load_world(name, vocabulary))
        self._make_checks = make_checks or self.model_checker
        self._checkers: dict[tuple[str, str], Checks] = {}

    def judge(self, task: Task, text: str, *, counterexamples: bool = False) -> Judged:
        """Read ``text`` and verify it in the task's world."""
        alignment = steps_to_controller(text, self.vocabulary, self.semantics.conditional)
        return self.judge_alignment(task, text, alignment, counterexamples=counterexamples)

    def judge_alignment(
        self, task: Task, text: str, alignment: Alignment, *, counterexamples: bool = False
    ) -> Judged:
        """Verify what was read from ``text`` in the task's world."""
        rules = self.rules_of(task)
        road, paper = (
            self._report(self.checker(task.world, book), alignment, counterexamples)
            for book in (rules, self.paper)
        )
        return Judged(task, text, alignment, rules, road, paper)

    def rules_of(self, task: Task) -> RuleBook:
        """``road`` and the task's progress specification."""
        return self.road.with_specification(progress_specification(task.action))

    def checker(self, world: str, rules: RuleBook) -> Checks:
        """The checker for a world and a rule book, made on first use."""
        key = (world, rules.hash)
        if key not in self._checkers:
            self._checkers[key] = self._make_checks(world, rules)
        return self._checkers[key]

    def model_checker(self, world: str, rules: RuleBook) -> Checker:
        """A model checker for a world and a rule book, whatever else decides."""
        return Checker(self._world(world), rules, self.semantics, self.vocabulary, self.time_limit)

    def _report(self, checker: Checks, alignment: Alignment, counterexamples: bool) -> Report:
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
        distinct_correct: Number of distinct controllers with strict success.
        trivial_answers: Share whose controller never moves; None without answers.
        tokens_per_answer: Mean number of sampled tokens; None if nothing was sampled.
    """

    answers: int
    distinct: int
    parse_rate: Rate
    paper_score: Rate
    strict_success: Rate
    rules: dict[tuple[str, str], dict[str, int]]
    distinct_correct: int = 0
    trivial_answers: float | None = None
    tokens_per_answer: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Rates as ``{"value", "low", "high"}``, and the verdict counts per rule."""
        books: dict[str, dict[str, dict[str, int]]] = {}
        for (book, rule), counts in self.rules.items():
            books.setdefault(book, {})[rule] = counts
        return {
            "answers": self.answers,
            "distinct_controllers": self.distinct,
            "distinct_correct": self.distinct_correct,
            "trivial_answers": self.trivial_answers,
            "tokens_per_answer": self.tokens_per_answer,
            "parse_rate": self.parse_rate.to_json(),
            "paper_score": self.paper_score.to_json(),
            "strict_success": self.strict_success.to_json(),
            "rules": books,
        }


def summarize(judged: Sequence[Judged], tokens: Sequence[int] = ()) -> Summary:
    """Count verdicts and successes; ``tokens`` are the lengths of the sampled answers."""
    count = len(judged)
    rules: dict[tuple[str, str], dict[str, int]] = {}
    for item in judged:
        for report in (item.road, item.paper):
            for verdict in report.verdicts:
                rule = PROGRESS if verdict.id.startswith(f"{PROGRESS}_") else verdict.id
                counts = rules.setdefault((report.rules, rule), {})
                counts[verdict.value] = counts.get(verdict.value, 0) + 1
    controllers = {
        item.road.controller_hash: item.controller for item in judged if item.controller is not None
    }
    unmoved = {key for key, controller in controllers.items() if never_moves(controller)}
    return Summary(
        answers=count,
        distinct=len(controllers),
        parse_rate=wilson(sum(item.controller is not None for item in judged), count),
        paper_score=wilson(sum(item.paper_score for item in judged), count),
        strict_success=wilson(sum(item.strict_success for item in judged), count),
        rules=rules,
        distinct_correct=len({i.road.controller_hash for i in judged if i.strict_success}),
        trivial_answers=sum(i.road.controller_hash in unmoved for i in judged) / count
        if count
        else None,
        tokens_per_answer=sum(tokens) / len(tokens) if tokens else None,
    )


def never_moves(controller: Controller) -> bool:
    """Whether the controller can do nothing but stop, whatever it sees."""
    return all(t.action in (EPSILON, STOP) for t in canonical(controller).transitions)


def trivial_answers(judge: Judge, tasks: Sequence[Task]) -> dict[str, list[Judged]]:
    """Controllers that look at nothing: one that always stops, one that always goes.

    The latter makes the task's manoeuvre at every step.
    """
    constant = constant_controllers(judge.vocabulary.action_names)

    def one(task: Task, action: str) -> Judged:
        return judge.judge_alignment(task, "", Alignment(constant[f"always_{action}"], ()))

    return {
        "always_stop": [one(task, STOP) for task in tasks],
        "always_go": [one(task, task.action) for task in tasks],
    }


def best(judged: Iterable[Judged]) -> Judged:
    """What a verifier would choose: strict success, then fewest violations (first of several)."""
    return max(judged, key=_merit)


def _merit(item: Judged) -> tuple[bool, bool, int, bool, float]:
    return (
        item.strict_success,
        item.controller is not None,
        -len(item.violated),
        item.progress == "satisfied",
        item.paper_score,
    )
