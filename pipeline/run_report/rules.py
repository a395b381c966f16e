"""Each rule before and after: verdicts, how often it holds, and whether it got worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation import PROGRESS
from pipeline.run_report.scores import NOTHING, Answer, Evaluation
from verifier.rules import RuleBook
from verifier.verdicts import VERDICT_VALUES
from worlds.statistics import Rate, wilson

Counts = Mapping[str, int]


@dataclass(frozen=True)
class RuleRow:
    """A rule before and after.

    Attributes:
        rule: Its id.
        text: What it says.
        before: Verdicts before; empty if there is no before.
        after: Verdicts after.
        held_before: Share of the answers it applies to in which it holds; unread ones do not.
        held_after: The same after.
    """

    rule: str
    text: str
    before: Counts
    after: Counts
    held_before: Rate
    held_after: Rate

    @property
    def change(self) -> float | None:
        """Difference of the two shares."""
        if self.held_before.value is None or self.held_after.value is None:
            return None
        return self.held_after.value - self.held_before.value

    @property
    def regressed(self) -> bool:
        """Less often than the lower end of the interval before, as the gate has it."""
        after = self.held_after.value
        return bool(self.change) and after is not None and after < self.held_before.low

    @property
    def slipped(self) -> bool:
        """Less often than before, within the interval before."""
        return self.change is not None and round(self.change, 4) < 0 and not self.regressed


def held(counts: Counts) -> Rate:
    """Share of the answers that a rule applies to in which it holds."""
    trials = sum(counts.values()) - counts.get("inapplicable", 0)
    return wilson(counts.get("satisfied", 0) + counts.get("vacuous", 0), trials)


def rule_rows(
    book: RuleBook, before: Evaluation | None, after: Evaluation, split: str
) -> list[RuleRow]:
    """The rules of a book in its order, then the task's progress where the book has it.

    Args:
        book: Texts and order.
        before: None if there is nothing to compare with.
        after: The model that is shown.
        split: The tasks.
    """
    texts = {one.id: one.text for one in book.specifications}
    texts[PROGRESS] = "The task gets done: the manoeuvre is made in the end."
    pool = (*(before.on(split) if before else ()), *after.on(split))
    elsewhere = inapplicable(book.name, pool)
    old = counted(before, split, book.name, elsewhere) if before else {}
    new = counted(after, split, book.name, elsewhere)
    order = [*texts, *(rule for rule in new if rule not in texts)]
    return [
        RuleRow(
            rule,
            texts.get(rule, ""),
            ordered(old.get(rule, {})),
            ordered(new[rule]),
            held(old[rule]) if rule in old else NOTHING,
            held(new[rule]),
        )
        for rule in order
        if rule in new and set(ordered(new[rule])) - {"inapplicable"}
    ]


def inapplicable(book: str, answers: Sequence[Answer]) -> set[tuple[str, str]]:
    """(task, rule) where the rule does not apply, as the verdicts on readable answers show."""
    return {
        (answer.task, rule)
        for answer in answers
        for rule, verdict in answer.verdicts.get(book, {}).items()
        if verdict == "inapplicable"
    }


def counted(
    evaluation: Evaluation, split: str, book: str, elsewhere: set[tuple[str, str]]
) -> dict[str, dict[str, int]]:
    """Rule -> verdict -> answers of a split.

    An answer that cannot be read is "unknown" under every rule, even one that does not apply where
    the task plays. Counting it there would make a rule of few places look broken, so it is moved
    to "inapplicable". Without answer rows the counts are those of the summary.
    """
    answers = evaluation.on(split)
    if not answers:
        scores = evaluation.splits.get(split)
        rules = scores.rules.get(book, {}) if scores else {}
        return {rule: dict(counts) for rule, counts in rules.items()}
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        for rule, verdict in answer.verdicts.get(book, {}).items():
            name = PROGRESS if rule.startswith(f"{PROGRESS}_") else rule
            moved = verdict == "unknown" and (answer.task, rule) in elsewhere
            found.setdefault(name, Counter())["inapplicable" if moved else verdict] += 1
    return {rule: dict(counts) for rule, counts in found.items()}


def ordered(counts: Counts) -> dict[str, int]:
    """Verdict counts in the order of drawing, without zeros."""
    return {value: counts[value] for value in VERDICT_VALUES if counts.get(value)}
