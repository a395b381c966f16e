"""The result in one sentence, and what a careful reader should take home."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.run_report.reading import Run
from pipeline.run_report.scores import METRICS
from pipeline.run_report.wording import count, percent, rate_text
from worlds.statistics import Rate

Change = Literal["better", "worse", "unclear"]

TASK_WORDS = {"test": "held-out task", "validation": "validation task", "train": "training task"}


@dataclass(frozen=True)
class Headline:
    """One of the three rates, before (None without a comparison) and after."""

    metric: str
    words: str
    before: Rate | None
    after: Rate

    @property
    def change(self) -> Change:
        """Whether they differ by more than chance, and in which direction."""
        return change(self.before, self.after) if self.before else "unclear"


def change(before: Rate, after: Rate) -> Change:
    """Whether the 95 % interval of the difference of two rates leaves out zero.

    Newcombe's interval (1998, method 10), which is made of the two Wilson intervals.
    """
    if before.value is None or after.value is None:
        return "unclear"
    difference = after.value - before.value
    if difference > math.hypot(after.value - after.low, before.high - before.value):
        return "better"
    if -difference > math.hypot(after.high - after.value, before.value - before.low):
        return "worse"
    return "unclear"


def headlines(run: Run) -> list[Headline]:
    """The three rates; none before anything is evaluated."""
    after, before = run.scores(run.after), run.scores(run.before)
    if after is None:
        return []
    return [
        Headline(metric, words, before.rate(metric) if before else None, after.rate(metric))
        for metric, words in METRICS.items()
    ]


def title(run: Run) -> str:
    """The result in one sentence."""
    after, before = run.scores(run.after), run.scores(run.before)
    if after is None:
        return "Nothing has been evaluated yet"
    new = after.strict_success
    if before is None:
        when = " before training" if run.champion is run.base else ""
        return f"{percent(new.value)} of the answers are proven correct{when}"
    old = before.strict_success
    span = f"from {percent(old.value)} to {percent(new.value)}"
    return {
        "better": f"Answers proven correct: {span}",
        "worse": f"Fewer answers proven correct: {span}",
        "unclear": f"No clear change in answers proven correct: {span}",
    }[change(old, new)]


def sentences(run: Run, regressions: Sequence[str]) -> list[str]:
    """What to take home, the unfavourable included.

    Args:
        run: The run.
        regressions: Rules that hold less often than before, beyond the interval.
    """
    if run.scores(run.after) is None:
        return ["The run has not got that far. What is finished is shown below."]
    found = [_result(run), _new_worlds(run), _chosen_on(run)]
    if run.before is not None:
        found.append(_regressed(regressions))
    return [sentence for sentence in (*found, _trivial(run)) if sentence]


def _result(run: Run) -> str:
    after, before = run.scores(run.after), run.scores(run.before)
    assert run.after is not None
    assert run.champion is not None
    assert after is not None
    answers = run.after.on(run.split)
    asked = len({answer.task for answer in answers})
    times = f"Asked for the steps of {count(asked, TASK_WORDS[run.split])}" if asked else "Asked"
    if asked and len(answers) > asked and len(answers) % asked == 0:
        times += f", {count(len(answers) // asked, 'time')} each"
    who = run.model if run.champion is run.base else f"{run.model} after {run.champion.label}"
    told = (
        f"{times}, {who} gave {rate_text(after.strict_success)} of its answers "
        "as controllers that are proven correct"
    )
    if before is None:
        return f"{told}."
    told += f"; before training it was {rate_text(before.strict_success)}."
    return (
        told
        + {
            "better": "",
            "worse": " That is worse.",
            "unclear": " That may be chance: the 95 % interval of the difference includes zero.",
        }[change(before.strict_success, after.strict_success)]
    )


def _new_worlds(run: Run) -> str:
    new = run.after.splits.get("test_new_worlds") if run.after else None
    if new is None or new.strict_success.value is None or run.champion is run.base:
        return ""
    return f"In worlds that training never showed it is {rate_text(new.strict_success)}."


def _chosen_on(run: Run) -> str:
    if run.selection and run.selection.get("split") == run.split:
        return "The champion was chosen on these very tasks, which flatters it."
    return ""


def _regressed(rules: Sequence[str]) -> str:
    if not rules:
        return "No rule holds less often than before beyond the interval."
    names = ", ".join(rule.replace("_", " ") for rule in rules)
    verb = "holds" if len(rules) == 1 else "hold"
    return f"{names[0].upper()}{names[1:]} {verb} less often than before, beyond the interval."


def _trivial(run: Run) -> str:
    still = run.after.trivial.get("always_stop") if run.after else None
    if still is None or still.paper_score.value is None:
        return ""
    return (
        f"Standing still for ever would score {percent(still.paper_score.value)} on the paper’s "
        f"rules and {percent(still.strict_success.value)} of strict success."
    )
