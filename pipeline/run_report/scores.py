"""Answers and evaluations as a run stores them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from worlds.statistics import Rate

Outcome = Literal["correct", "unfinished", "unsafe", "both", "undecided", "unreadable"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

OUTCOME_WORDS: dict[Outcome, str] = {
    "correct": "proven correct",
    "unfinished": "safe, never gets there",
    "unsafe": "gets there, breaks a rule",
    "both": "breaks a rule, never gets there",
    "undecided": "not decided in time",
    "unreadable": "not readable",
}

METRICS = {
    "strict_success": "strict success",
    "paper_score": "paper score",
    "parse_rate": "parse rate",
}
"""The three rates that are always told, with their words."""

NOTHING = Rate(None, 0.0, 1.0)

HEADLINE_SPLITS = ("test", "validation", "train")
"""The tasks that the page is about: the first of these that were evaluated."""


@dataclass(frozen=True)
class Scores:
    """The scores of one set of answers (`pipeline.evaluation.Summary`, as stored).

    ``rules`` is book -> rule -> verdict -> how many answers.
    """

    answers: int
    strict_success: Rate
    paper_score: Rate
    parse_rate: Rate
    distinct: int | None
    distinct_correct: int | None
    never_moving: float | None
    tokens: float | None
    rules: Mapping[str, Mapping[str, Mapping[str, int]]]

    def rate(self, metric: str) -> Rate:
        """One of `METRICS`."""
        return getattr(self, metric)


@dataclass(frozen=True)
class Answer:
    """An answer and what was found out about it.

    Attributes:
        id: Its id in its stage.
        task: What it answers.
        split: Of the task.
        origin: free, constrained, symbolic_repair or model_repair.
        parent: The answer that it repairs.
        text: The answer.
        tokens: How many were sampled.
        controller: Hash; None if the text could not be read.
        success: Strict success.
        outcome: What became of it, in one word.
        violated: The road rules that it breaks, progress left out.
        verdicts: Book -> rule -> verdict.
    """

    id: str
    task: str
    split: str
    origin: str
    parent: str | None
    text: str
    tokens: int
    controller: str | None
    success: bool
    outcome: Outcome
    violated: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Evaluation:
    """What a model did on every split.

    Attributes:
        model: Its hash or name, as stored.
        samples: Per task and seed.
        seeds: Of sampling.
        temperature: Of sampling.
        splits: train, validation, test, test_known_worlds, test_new_worlds, as far as there are.
        best_of: n, and the rates of the best of n answers by the verifier.
        variations: In words -> scores, of tasks paraphrased and propositions renamed.
        trivial: Controllers that look at nothing, on the same tasks.
        perplexity: On neutral text.
        perplexity_tokens: How long that text is.
        kl: Divergence from the base, per answer and per token.
        per_seed: Strict success and others for each seed of sampling.
        answers: All of them.
    """

    model: str
    samples: int | None
    seeds: tuple[int, ...]
    temperature: float | None
    splits: Mapping[str, Scores]
    best_of: tuple[int, Rate, Rate] | None
    variations: Mapping[str, Scores]
    trivial: Mapping[str, Scores]
    perplexity: float | None
    perplexity_tokens: int | None
    kl: Mapping[str, float]
    per_seed: Mapping[str, Mapping[str, float | None]]
    answers: tuple[Answer, ...] = field(default=(), repr=False)

    @property
    def headline_split(self) -> str | None:
        """The first of `HEADLINE_SPLITS` with answers; None without any."""
        return next((name for name in HEADLINE_SPLITS if self._answers(name)), None)

    def _answers(self, split: str) -> int:
        scores = self.splits.get(split)
        return scores.answers if scores else 0

    def on(self, split: str) -> tuple[Answer, ...]:
        """The answers to tasks of a split."""
        return tuple(answer for answer in self.answers if answer.split == split)


def rate_of(data: Any) -> Rate:
    """A rate as stored; without value where there is none."""
    if not isinstance(data, Mapping) or data.get("value") is None:
        return NOTHING
    value = float(data["value"])
    return Rate(value, float(data.get("low", value)), float(data.get("high", value)))


def scores_of(data: Mapping[str, Any]) -> Scores:
    """Scores as stored."""
    return Scores(
        answers=int(data.get("answers", 0)),
        strict_success=rate_of(data.get("strict_success")),
        paper_score=rate_of(data.get("paper_score")),
        parse_rate=rate_of(data.get("parse_rate")),
        distinct=data.get("distinct_controllers"),
        distinct_correct=data.get("distinct_correct"),
        never_moving=data.get("trivial_answers"),
        tokens=data.get("tokens_per_answer"),
        rules=data.get("rules") or {},
    )


def evaluation_of(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Evaluation:
    """An evaluation from its summary and its answer rows."""
    best = summary.get("best_of")
    perplexity = summary.get("perplexity") or {}
    return Evaluation(
        model=str(summary.get("model") or ""),
        samples=summary.get("samples"),
        seeds=tuple(summary.get("seeds") or ()),
        temperature=summary.get("temperature"),
        splits={name: scores_of(data) for name, data in (summary.get("splits") or {}).items()},
        best_of=(int(best["n"]), rate_of(best["strict_success"]), rate_of(best["paper_score"]))
        if best
        else None,
        variations=dict(_variations(summary)),
        trivial={name: scores_of(data) for name, data in (summary.get("trivial") or {}).items()},
        perplexity=perplexity.get("neutral"),
        perplexity_tokens=perplexity.get("tokens"),
        kl=summary.get("kl") or {},
        per_seed=summary.get("per_seed") or {},
        answers=answers_of(rows, ()),
    )


_VARIATIONS = {"paraphrased": "tasks paraphrased", "renamed": "propositions renamed"}


def _variations(summary: Mapping[str, Any]) -> Iterator[tuple[str, Scores]]:
    """Each variation in words; where several renamings are kept apart, one of each."""
    for key, words in _VARIATIONS.items():
        data = summary.get(key)
        if not isinstance(data, Mapping):
            continue
        if "strict_success" in data:
            yield words, scores_of(data)
            continue
        for name, part in data.items():
            if isinstance(part, Mapping):
                yield f"{words}: {name.replace('_', ' ')}", scores_of(part)


def answers_of(
    rows: Iterable[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]
) -> tuple[Answer, ...]:
    """Answer rows joined with their verdicts (or with the verdict that a row carries itself)."""
    by_answer = {row["answer"]: row for row in verdicts}
    return tuple(
        _answer(row, row.get("verdict") or by_answer[row["id"]])
        for row in rows
        if row.get("verdict") or row["id"] in by_answer
    )


def _answer(row: Mapping[str, Any], verdict: Mapping[str, Any]) -> Answer:
    return Answer(
        id=str(row["id"]),
        task=str(row["task"]),
        split=str(row.get("split", "")),
        origin=str(row.get("origin", "free")),
        parent=row.get("parent"),
        text=str(row.get("text", "")),
        tokens=int(row.get("tokens") or 0),
        controller=verdict.get("controller"),
        success=bool(verdict.get("strict_success")),
        outcome=outcome_of(verdict),
        violated=tuple(verdict.get("violated") or ()),
        verdicts={book: verdict.get(book) or {} for book in ("road", "paper")},
    )


def outcomes_of(answers: Iterable[Answer]) -> dict[Outcome, int]:
    """How many answers came out how."""
    return dict(Counter(answer.outcome for answer in answers))


def outcome_of(verdict: Mapping[str, Any]) -> Outcome:
    """What became of an answer, from its verdict row."""
    if not verdict.get("parsed"):
        return "unreadable"
    if verdict.get("strict_success"):
        return "correct"
    arrives = verdict.get("progress") == "satisfied"
    if verdict.get("violated"):
        return "unsafe" if arrives else "both"
    return "undecided" if arrives or verdict.get("progress") == "unknown" else "unfinished"
