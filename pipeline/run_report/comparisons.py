"""Every way of answering the same tasks, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import Outcome, outcomes_of
from pipeline.run_report.wording import count, points
from worlds.statistics import Rate

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
        yield from _way("rounds", one, "before training" if not one.number else _pairs(one), run)


def _pairs(one: Round) -> str:
    found = one.ranking.get("pairs", one.training.get("pairs"))
    return f"trained on {count(found, 'pair')}" if isinstance(found, int) else ""


def _way(group: str, one: Round, note: str, run: Run) -> Iterator[Way]:
    scores = run.scores(one.evaluation)
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
        outcomes_of(one.evaluation.on(run.split)),
        one is run.champion and bool(run.selection),
    )


def _best_of(run: Run) -> Iterator[Way]:
    both = [run.base, run.champion] if run.base is not run.champion else [run.base]
    for one in both:
        if one is None or one.evaluation is None or one.evaluation.best_of is None:
            continue
        n, strict, paper = one.evaluation.best_of
        note = "the best by verdict"
        yield Way("chosen by the verifier", f"{one.label}, best of {n}", note, strict, paper)


_SETTINGS: dict[tuple[str, str], str] = {
    ("rank.successes_only", "False"): "chosen answers need not be correct",
    ("rank.sources", "['samples']"): "without pairs made by repair",
    ("train.sft_weight", "0.0"): "without the SFT term",
    ("train.method", "sft"): "SFT on the preferred answers alone",
    ("rank.order", "paper_count"): "ranked by the paper’s count of rules",
    ("rank.order", "weighted"): "ranked by a weighted sum",
}


def variant_note(run: Run, name: str) -> str:
    """What a variant changes in what is learned, from the run's configuration."""
    listed = run.config.get("variants")
    for variant in listed if isinstance(listed, list) else ():
        if isinstance(variant, Mapping) and variant.get("name") == name:
            changed: Any = variant.get("set")
            changes = changed.items() if isinstance(changed, Mapping) else ()
            return "; ".join(
                _SETTINGS.get((k, str(v)), f"{k} = {v}")
                for k, v in changes
                if not k.startswith("evaluate.")
            )
    return ""


def _variants(run: Run) -> Iterator[Way]:
    parent = next((one for one in run.rounds if one.number == 1), None)
    beside = run.scores(parent.evaluation) if parent else None
    for one in run.variants:
        note, scores = variant_note(run, one.name), run.scores(one.evaluation)
        old = beside.strict_success.value if beside else None
        new = scores.strict_success.value if scores else None
        if old is not None and new is not None:
            note = f"{note}: {points(new - old)} points on round 1" if note else ""
        yield from _way("variants of round 1", one, note, run)


def _trivial(run: Run) -> Iterator[Way]:
    for name, scores in (run.after.trivial if run.after else {}).items():
        yield Way(
            "looking at nothing",
            name.replace("_", " "),
            _TRIVIAL.get(name, ""),
            scores.strict_success,
            scores.paper_score,
            None,
            scores.distinct_correct,
            scores.never_moving,
        )


_TRIVIAL = {
    "always_stop": "stands still for ever",
    "always_go": "makes the manoeuvre at every step",
}
