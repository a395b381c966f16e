"""Which of two answers is preferred, and which pairs are worth training on.

The order ``road`` is partial (design: semantics). Strict successes stand above everything; an
answer that could not be read stands below everything that could. Between the others, one is
preferred only if it is no worse in safety (it breaks a subset of the rules) and no worse in
progress, and better in one. So an answer that never moves and one that moves unsafely are not
compared, and standing still is never an improvement by itself. ``paper_count`` (the paper's: more
specifications satisfied) and ``weighted`` (the sum of the weights of the road rules that hold) are
total orders for comparison.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

Order = Literal["road", "paper_count", "weighted"]
Source = Literal["samples", "symbolic_repair", "model_repair"]


@dataclass(frozen=True)
class Ranked:
    """What the orders need to know of an answer.

    Attributes:
        answer: Its id.
        task: Id of the task it answers.
        text: The answer.
        identity: Hash of its controller; of its text if it could not be read.
        parsed: Whether it could be read.
        success: Strict success.
        violated: Safety rules of ``road`` that it breaks or that stayed unknown.
        progress: Whether the manoeuvre is made.
        satisfied: Rules of ``paper`` that hold.
        weight: Sum of the weights of the rules of ``road`` that hold, progress included.
        origin: How it came about.
        parent: Id of the answer that it repairs.
    """

    answer: str
    task: str
    text: str
    identity: str
    parsed: bool
    success: bool
    violated: frozenset[str]
    progress: bool
    satisfied: int
    weight: float
    origin: str
    parent: str | None = None


@dataclass(frozen=True)
class Pair:
    """``chosen`` is preferred to ``rejected`` by ``margin``."""

    chosen: Ranked
    rejected: Ranked
    margin: float

    @property
    def source(self) -> Source:
        """Where the contrast comes from: plain samples, or a repair on either side."""
        origins = {self.chosen.origin, self.rejected.origin}
        if "symbolic_repair" in origins:
            return "symbolic_repair"
        return "model_repair" if "model_repair" in origins else "samples"


@dataclass(frozen=True)
class Selection:
    """Pairs to train on, and how many were dropped for what reason."""

    pairs: tuple[Pair, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def margin_road(one: Ranked, other: Ranked) -> float | None:
    """How far ``one`` is above ``other`` in the partial order, or None if it is not.

    A rule kept or the manoeuvre made counts 1, success 1 more; being readable counts 1.
    """
    if not one.parsed:
        return None
    if not other.parsed:
        return 3.0 if one.success else 1.0
    if one.success or other.success:
        if one.success == other.success:
            return None
        faults = len(other.violated) + (not other.progress)
        return 1.0 + faults if one.success else None
    if not one.violated <= other.violated or one.progress < other.progress:
        return None
    difference = len(other.violated) - len(one.violated) + one.progress - other.progress
    return float(difference) if difference > 0 else None


def margin_paper_count(one: Ranked, other: Ranked) -> float | None:
    """Difference of the numbers of satisfied specifications, if positive."""
    difference = one.satisfied - other.satisfied
    return float(difference) if difference > 0 else None


def margin_weighted(one: Ranked, other: Ranked) -> float | None:
    """Difference of the weighted sums, if positive."""
    difference = one.weight - other.weight
    return difference if difference > 0 else None


MARGINS: dict[Order, Callable[[Ranked, Ranked], float | None]] = {
    "road": margin_road,
    "paper_count": margin_paper_count,
    "weighted": margin_weighted,
}


def select_pairs(
    answers: Iterable[Ranked],
    *,
    order: Order = "road",
    sources: Sequence[Source] = ("samples", "symbolic_repair", "model_repair"),
    margin: float = 0.0,
    pairs_per_task: int = 12,
    successes_only: bool = False,
) -> Selection:
    """Pairs of every task: no ties, no near-ties, no repetition, the same number per task.

    A repair is first paired with the answer that it repairs: they differ only in the fault. Then
    chosen controllers take turns, so that no one answer fills the quota.

    Args:
        answers: Answers with verdicts; those whose origin is not among ``sources`` are left out.
        order: Which order.
        sources: Which kinds of answers may take part.
        margin: Pairs must be further apart than this.
        pairs_per_task: At most so many per task.
        successes_only: Only pairs whose chosen answer is a strict success.
    """
    groups: defaultdict[str, dict[str, Ranked]] = defaultdict(dict)
    dropped = {"tie": 0, "margin": 0, "duplicate": 0, "not_successful": 0, "cap": 0}
    for answer in answers:
        if answer.origin in ("symbolic_repair", "model_repair") and answer.origin not in sources:
            continue
        if answer.origin in ("free", "constrained") and "samples" not in sources:
            continue
        # Equivalent controllers are one answer; the first text stands for all.
        if answer.identity in groups[answer.task]:
            dropped["duplicate"] += 1
        else:
            groups[answer.task][answer.identity] = answer
    pairs: list[Pair] = []
    for group in groups.values():
        pairs += _pairs_of_task(list(group.values()), order, margin, successes_only, dropped)[
            :pairs_per_task
        ]
    dropped["cap"] -= len(pairs)
    return Selection(tuple(pairs), dropped)


def _pairs_of_task(
    group: list[Ranked], order: Order, margin: float, successes_only: bool, dropped: dict[str, int]
) -> list[Pair]:
    """All admissible pairs of one task, those to keep first in front."""
    found: list[Pair] = []
    for one, other in permutations(group, 2):
        apart = MARGINS[order](one, other)
        if apart is None:
            dropped["tie"] += one.answer < other.answer and MARGINS[order](other, one) is None
        elif apart <= margin:
            dropped["margin"] += 1
        elif successes_only and not one.success:
            dropped["not_successful"] += 1
        else:
            found.append(Pair(one, other, apart))
    dropped["cap"] += len(found)
    return _in_turns(found, order)


def _in_turns(pairs: Sequence[Pair], order: Order) -> list[Pair]:
    """Every chosen answer's first pair, then every second one, and so on.

    Under ``road`` successes go first, and an answer's pairs are in the order of what they teach:
    with the answer it repairs, then with one that could not be read, then with the nearest. The
    orders for comparison know no success: their pairs stay in the order of the answers.
    """
    by_chosen: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_chosen[pair.chosen.answer].append(pair)
    ours = order == "road"
    queue: list[tuple[tuple[object, ...], Pair]] = []
    for own in by_chosen.values():
        if ours:
            own.sort(
                key=lambda p: (not _repairs(p), p.rejected.parsed, p.margin, p.rejected.answer)
            )
        for turn, pair in enumerate(own):
            chosen = pair.chosen
            first = (not chosen.success, turn, len(chosen.text)) if ours else (turn,)
            queue.append(((*first, chosen.answer), pair))
    queue.sort(key=lambda entry: entry[0])
    return [pair for _, pair in queue]


def _repairs(pair: Pair) -> bool:
    return pair.chosen.parent == pair.rejected.answer
