"""Every way of answering side by side, rounds on every split, rules and tasks before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation import PROGRESS
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import NOTHING, Answer, Outcome, Scores
from pipeline.statistics import Rate, wilson
from pipeline.tasks import Task
from verifier.rules import RuleBook
from verifier.verdicts import VERDICT_VALUES

SPLIT_WORDS = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "test_known_worlds": "known worlds",
    "test_new_worlds": "new worlds",
}


@dataclass(frozen=True)
class Way:
    """A row of the comparison: one way of answering the held-out tasks.

    Attributes:
        group: Heading under which it stands.
        label: Its name.
        note: What it is, in a few words.
        strict: Strict success.
        paper: Paper score.
        parse: Parse rate; None where it means nothing.
        distinct: Distinct controllers with strict success.
        never_moving: Share of answers that never move.
        outcomes: What became of its answers; empty if they are not kept.
        chosen: Whether it is the champion.
    """

    group: str
    label: str
    note: str
    strict: Rate
    paper: Rate
    parse: Rate | None = None
    distinct: int | None = None
    never_moving: float | None = None
    outcomes: Mapping[Outcome, int] | None = None
    chosen: bool = False


def ways(run: Run) -> list[Way]:
    """All rows, in the order of the page."""
    return [
        way
        for group in (_rounds(run), _best_of(run), _variants(run), _trivial(run))
        for way in group
    ]


def _rounds(run: Run) -> Iterator[Way]:
    for one in run.rounds:
        note = "before training" if one.number == 0 else _trained_on(one)
        yield from _way("rounds", one, note, run)


def _trained_on(one: Round) -> str:
    pairs = one.training.get("pairs") or one.ranking.get("pairs")
    return f"{pairs:,} pairs" if isinstance(pairs, int) else ""


def _way(group: str, one: Round, note: str, run: Run) -> Iterator[Way]:
    scores = one.evaluation.test if one.evaluation else None
    if one.evaluation is None or scores is None:
        return
    yield Way(
        group,
        one.label,
        note,
        scores.strict_success,
        scores.paper_score,
        scores.parse_rate,
        scores.distinct_correct,
        scores.never_moving,
        outcomes_of(one.evaluation.on("test")),
        one is run.champion and bool(run.selection),
    )


def _best_of(run: Run) -> Iterator[Way]:
    both = [run.base, run.champion] if run.base is not run.champion else [run.base]
    for one in both:
        if one is None or one.evaluation is None or one.evaluation.best_of is None:
            continue
        n, strict, paper = one.evaluation.best_of
        yield Way(
            "chosen by the verifier",
            f"{one.label}, best of {n}",
            "no further training",
            strict,
            paper,
        )


_ABLATIONS = {
    "no_repair": "without pairs made by repair",
    "no_sft": "without the SFT term",
    "sft_on_best": "SFT on the best answers, no preferences",
    "paper_count": "ranked by the paper's count",
}


def _variants(run: Run) -> Iterator[Way]:
    for one in run.variants:
        yield from _way("ablations of round 1", one, _ABLATIONS.get(one.name, ""), run)


def _trivial(run: Run) -> Iterator[Way]:
    evaluation = run.champion.evaluation if run.champion else None
    for name, scores in (evaluation.trivial if evaluation else {}).items():
        yield Way(
            "looking at nothing",
            name.replace("_", " "),
            "",
            scores.strict_success,
            scores.paper_score,
            None,
            scores.distinct_correct,
            scores.never_moving,
        )


def outcomes_of(answers: Iterable[Answer]) -> dict[Outcome, int]:
    """How many answers came out how."""
    return dict(Counter(answer.outcome for answer in answers))


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
    before: Mapping[str, int]
    after: Mapping[str, int]
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
        """Less often than before, beyond both intervals."""
        return bool(self.change) and self.held_after.high < self.held_before.low

    @property
    def slipped(self) -> bool:
        """Less often than before, within the intervals."""
        return self.change is not None and round(self.change, 4) < 0 and not self.regressed


def held(counts: Mapping[str, int]) -> Rate:
    """Share of the answers that a rule applies to in which it holds."""
    trials = sum(counts.values()) - counts.get("inapplicable", 0)
    return wilson(counts.get("satisfied", 0) + counts.get("vacuous", 0), trials)


def rule_rows(book: RuleBook, before: Scores | None, after: Scores) -> list[RuleRow]:
    """The rules of a book in its order, then the task's progress where the book has it."""
    texts = {one.id: one.text for one in book.specifications}
    texts[PROGRESS] = "The task gets done: the manoeuvre is made in the end."
    old = before.rules.get(book.name, {}) if before else {}
    new = after.rules.get(book.name, {})
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
        if rule in new and set(new[rule]) - {"inapplicable"}
    ]


def ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """Verdict counts in the order of drawing, without zeros."""
    return {value: counts[value] for value in VERDICT_VALUES if counts.get(value)}


@dataclass(frozen=True)
class TaskTile:
    """A held-out task.

    Attributes:
        task: Its id.
        prompt: Its wording; the id if the bank is not at hand.
        answers: How many it got after training.
        correct: How many of them are proven correct.
        correct_before: Share before; None if not evaluated.
        distinct: Distinct correct controllers.
    """

    task: str
    prompt: str
    answers: int
    correct: int
    correct_before: float | None
    distinct: int


@dataclass(frozen=True)
class WorldRow:
    """The held-out tasks of a world."""

    world: str
    new: bool
    tiles: tuple[TaskTile, ...]
    before: Rate
    after: Rate
    distinct: int


def world_rows(run: Run, tasks: Mapping[str, Task]) -> list[WorldRow]:
    """Held-out tasks by world, the worlds that training never showed last."""
    after = run.champion.evaluation if run.champion else None
    if after is None:
        return []
    before = run.base.evaluation if run.base else None
    known = {task.world for task in tasks.values() if task.split == "train"}
    new_answers, old_answers = (
        _by_task(after.on("test")),
        _by_task(before.on("test") if before else ()),
    )
    worlds: dict[str, list[str]] = {}
    for name in new_answers:
        worlds.setdefault(tasks[name].world if name in tasks else "other", []).append(name)
    rows = []
    for world, names in worlds.items():
        new = [answer for name in names for answer in new_answers[name]]
        old = [answer for name in names for answer in old_answers.get(name, ())]
        rows.append(
            WorldRow(
                world.rsplit("/", 1)[-1].removesuffix(".yaml").replace("_", " "),
                bool(known) and world not in known,
                tuple(_tile(n, tasks, new_answers[n], old_answers.get(n, ())) for n in names),
                wilson(sum(answer.success for answer in old), len(old)),
                wilson(sum(answer.success for answer in new), len(new)),
                len({answer.controller for answer in new if answer.success}),
            )
        )
    return sorted(rows, key=lambda row: row.new)


def _by_task(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.task, []).append(answer)
    return groups


def _tile(
    name: str, tasks: Mapping[str, Task], new: Sequence[Answer], old: Sequence[Answer]
) -> TaskTile:
    return TaskTile(
        name,
        tasks[name].prompt if name in tasks else name,
        len(new),
        sum(answer.success for answer in new),
        sum(answer.success for answer in old) / len(old) if old else None,
        len({answer.controller for answer in new if answer.success}),
    )


@dataclass(frozen=True)
class OriginRow:
    """Answers of one origin in one round, and what became of them."""

    round: str
    origin: str
    answers: int
    outcomes: Mapping[Outcome, int]


ORIGIN_WORDS = {
    "free": "sampled freely",
    "constrained": "sampled within the grammar",
    "symbolic_repair": "repaired symbolically",
    "model_repair": "repaired by the model",
}

SOURCE_WORDS = {
    "samples": "samples alone",
    "symbolic_repair": "symbolic repair",
    "model_repair": "repair by the model",
}


def origin_rows(run: Run) -> list[OriginRow]:
    """Generated and repaired answers by round and origin."""
    rows = []
    for one in run.rounds:
        groups: dict[str, list[Answer]] = {}
        for answer in (*one.generated, *one.repaired):
            groups.setdefault(answer.origin, []).append(answer)
        for origin in sorted(groups, key=[*ORIGIN_WORDS, *groups].index):
            found = groups[origin]
            rows.append(
                OriginRow(
                    one.label, ORIGIN_WORDS.get(origin, origin), len(found), outcomes_of(found)
                )
            )
    return rows


@dataclass(frozen=True)
class PairRow:
    """The pairs of one round by their source."""

    round: str
    pairs: int
    tasks: int | None
    by_source: Mapping[str, int]
    dropped: Mapping[str, int]


def pair_rows(run: Run) -> list[PairRow]:
    """Pairs by round."""
    return [
        PairRow(
            one.label,
            int(one.ranking.get("pairs", 0)),
            one.ranking.get("tasks"),
            {
                source: one.ranking.get("by_source", {}).get(source, 0)
                for source in (*SOURCE_WORDS, *one.ranking.get("by_source", {}))
            },
            one.ranking.get("dropped") or {},
        )
        for one in run.rounds
        if one.ranking
    ]
