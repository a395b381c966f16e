"""Numbers and sentences as the page writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.run_report.reading import Run
from pipeline.run_report.scores import Scores
from pipeline.statistics import Rate

NONE = "–"
_GAP = "\u00a0"  # keeps a number and its unit on one line


def percent(value: float | None, digits: int = 1) -> str:
    """ "92.2 %"; a dash where there is no value."""
    return NONE if value is None else f"{100 * value:.{digits}f}{_GAP}%"


def interval(rate: Rate) -> str:
    """ "87.4 – 95.3"; nothing where there is no value."""
    return "" if rate.value is None else f"{100 * rate.low:.1f}{_GAP}–{_GAP}{100 * rate.high:.1f}"


def rate_text(rate: Rate) -> str:
    """ "92.2 % [87.4 – 95.3]"."""
    return NONE if rate.value is None else f"{percent(rate.value)} [{interval(rate)}]"


def number(value: float | None, digits: int = 0) -> str:
    """ "12,345"; a dash where there is no value."""
    return NONE if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def points(change: float) -> str:
    """A change of a rate in points: "+12.0", "−3.4", "0.0"."""
    rounded = round(100 * change, 1)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def duration(seconds: float | None) -> str:
    """ "3 h 20 min", "7 min 5 s", "8.2 s"."""
    if seconds is None:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f}{_GAP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_GAP}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{_GAP}min" + (f" {rest}{_GAP}s" if rest and minutes < 10 else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{_GAP}h" + (f" {minutes}{_GAP}min" if minutes else "")


def date(text: str) -> str:
    """ "25 November 2026" of an ISO time; the text itself if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y}"


def count(how_many: int, what: str, many: str | None = None) -> str:
    """ "1 task", "3 tasks"."""
    return f"{number(how_many)}{_GAP}{what if how_many == 1 else many or what + 's'}"


def headline_sentences(run: Run, regressions: Sequence[str]) -> list[str]:
    """What a careful reader should take home, the unfavourable included.

    Args:
        run: The run.
        regressions: Rules that hold less often than before, beyond their intervals.
    """
    after = run.champion.evaluation.test if run.champion and run.champion.evaluation else None
    if run.champion is None or after is None:
        return ["Nothing has been evaluated yet: the run has not got that far."]
    before = run.base.evaluation.test if run.base and run.base.evaluation else None
    if before is None or run.base is run.champion:
        return [_before_only(run, after), _trivial(run)]
    return [
        _change(run, before, after),
        _new_worlds(run),
        _regressed(regressions),
        _trivial(run),
    ]


def _before_only(run: Run, scores: Scores) -> str:
    assert run.champion is not None
    assert run.champion.evaluation is not None
    name = "Before any training" if run.champion is run.base else f"After {run.champion.label}"
    return (
        f"{name}, {run.champion.evaluation.model} writes a controller that is proven correct in "
        f"{rate_text(scores.strict_success)} of its answers to held-out tasks."
    )


def _change(run: Run, before: Scores, after: Scores) -> str:
    assert run.champion is not None
    assert run.champion.evaluation is not None
    old, new = before.strict_success, after.strict_success
    how = run.champion.label
    told = (
        f"{run.champion.evaluation.model} wrote a controller that is proven correct in "
        f"{percent(old.value)} of its answers to held-out tasks; after {how} it does in "
        f"{percent(new.value)}."
    )
    if old.value is not None and new.value is not None and new.low <= old.high:
        told += (
            " That is worse."
            if new.high < old.low
            else " The intervals overlap: this shows no gain."
        )
    return told


def _new_worlds(run: Run) -> str:
    assert run.champion is not None
    assert run.champion.evaluation is not None
    new = run.champion.evaluation.splits.get("test_new_worlds")
    if new is None or new.strict_success.value is None:
        return ""
    return f"In worlds that it was never trained in it is {percent(new.strict_success.value)}."


def _regressed(rules: Sequence[str]) -> str:
    if not rules:
        return "No rule holds measurably less often than before."
    verb = "holds" if len(rules) == 1 else "hold"
    return f"{', '.join(rules)} {verb} measurably less often than before."


def _trivial(run: Run) -> str:
    assert run.champion is not None
    assert run.champion.evaluation is not None
    still = run.champion.evaluation.trivial.get("always_stop")
    if still is None or still.paper_score.value is None:
        return ""
    return (
        f"Standing still for ever would score {percent(still.paper_score.value)} on the paper's "
        f"rules and {percent(still.strict_success.value, 0)} of strict success."
    )
