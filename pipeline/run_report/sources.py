"""Where correct answers and preference pairs come from, by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import Answer, Outcome, outcomes_of

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

DROP_WORDS = {
    "tie": "neither better",
    "margin": "too little difference",
    "duplicate": "answers given before",
    "not_successful": "chosen not correct",
    "cap": "over the limit per task",
}


@dataclass(frozen=True)
class OriginRow:
    """Answers of one origin in one round, and what became of them.

    Attributes:
        round: The round's name for readers.
        origin: In words.
        answers: How many.
        outcomes: What became of them.
        solved: Tasks with a correct answer of this origin.
        only: Those of them that no other origin solved in the round.
    """

    round: str
    origin: str
    answers: int
    outcomes: Mapping[Outcome, int]
    solved: int
    only: int


def origin_rows(run: Run) -> list[OriginRow]:
    """Generated and repaired answers by round and origin."""
    return [row for one in run.rounds for row in _origins(one)]


def _origins(one: Round) -> list[OriginRow]:
    groups: dict[str, list[Answer]] = {}
    for answer in (*one.generated, *one.repaired):
        groups.setdefault(answer.origin, []).append(answer)
    solved = {
        origin: {answer.task for answer in found if answer.success}
        for origin, found in groups.items()
    }
    return [
        OriginRow(
            one.label,
            ORIGIN_WORDS.get(origin, origin),
            len(groups[origin]),
            outcomes_of(groups[origin]),
            len(solved[origin]),
            len(solved[origin].difference(*(solved[o] for o in groups if o != origin))),
        )
        for origin in sorted(groups, key=[*ORIGIN_WORDS, *groups].index)
    ]


@dataclass(frozen=True)
class PairRow:
    """The pairs of one round, or of a variant.

    Attributes:
        round: Its name for readers.
        pairs: How many.
        tasks: Of how many tasks.
        successful: How many have a chosen answer that is proven correct.
        by_source: Source -> pairs, in the order of `SOURCE_WORDS`.
        dropped: Reason in words -> how many were left out, pairs or (given before) answers.
    """

    round: str
    pairs: int
    tasks: int | None
    successful: int | None
    by_source: Mapping[str, int]
    dropped: Mapping[str, int]


def pair_rows(run: Run) -> list[PairRow]:
    """Pairs by round, then those of the variants."""
    return [_pairs(one) for one in (*run.rounds, *run.variants) if one.ranking]


def _pairs(one: Round) -> PairRow:
    sources = one.ranking.get("by_source") or {}
    dropped = one.ranking.get("dropped") or {}
    return PairRow(
        one.label,
        int(one.ranking.get("pairs", 0)),
        one.ranking.get("tasks"),
        one.ranking.get("successful"),
        {source: sources.get(source, 0) for source in (*SOURCE_WORDS, *sources)},
        {_dropped_words(str(why)): n for why, n in dropped.items() if n},
    )


def _dropped_words(why: str) -> str:
    return DROP_WORDS.get(why, why.replace("_", " "))
