"""Tables of a run's scores, states and differences for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.runs.engine import State
from pipeline.runs.folder import RunFolder
from pipeline.runs.plan import ROUND, Step
from pipeline.runs.scores import (
    duration,
    fact,
    headline_split,
    model_scores,
    selection,
    stage_seconds,
    step_seconds,
)
from pipeline.tables import plain_table

_MARKS = {
    "finished": ("✓", "green"),
    "outdated": ("↻", "yellow"),
    "missing": ("·", "dim"),
}


def scores_view(run: RunFolder, steps: Sequence[Step]) -> RenderableType:
    """The summary of a run: a row per model, the champion marked, and where the time went."""
    scores = model_scores(run, steps)
    if not scores:
        return Text("nothing has been evaluated yet", style="dim")
    split = headline_split(scores)
    chosen = selection(run)
    champion = chosen["champion"] if chosen else None
    table = plain_table(f"on {split} tasks", "strict success", "paper score", "readable")
    for heading in ("distinct", "pairs", "time"):
        table.add_column(heading, justify="right")
    for one in scores:
        is_champion = champion is not None and one.name == _model_name(champion)
        summary = one.splits.get(split, {})
        table.add_row(
            Text(f"{one.name}{' ★' if is_champion else ''}", style="bold" if is_champion else ""),
            *(
                one.rate(m, split).percent()
                for m in ("strict_success", "paper_score", "parse_rate")
            ),
            str(summary.get("distinct_controllers", "–")),
            "" if one.pairs is None else str(one.pairs),
            duration(one.seconds),
        )
    seconds = stage_seconds(run, steps)
    spent = " · ".join(
        f"{stage} {duration(seconds[stage])}" for stage in (*ROUND, "select") if stage in seconds
    )
    lines: list[RenderableType] = [Padding(table, (1, 0))]
    if chosen is not None:
        lines.append(_gate(chosen["champion"], chosen["gate"]))
    lines.append(Text.assemble(("time    ", "dim"), f"{duration(sum(seconds.values()))}: {spent}"))
    return Group(*lines)


def _gate(champion: str, gate: dict) -> Text:
    name = _model_name(champion)
    if gate["passed"]:
        return Text.assemble(("gate    ", "dim"), (f"passed by {name}", "green"))
    reasons = "; ".join(gate["reasons"])
    return Text.assemble(("gate    ", "dim"), (f"not passed by {name}: ", "yellow"), reasons)


def _model_name(champion: str) -> str:
    """'round 1' for ``round-01``."""
    number = int(champion.removeprefix("round-"))
    return "base" if number == 0 else f"round {number}"


def states_view(run: RunFolder, steps: Sequence[Step], states: Sequence[State]) -> Table:
    """Every stage with its state, result and time."""
    table = plain_table("", "stage", "result")
    table.add_column("time", justify="right")
    for step, state in zip(steps, states, strict=True):
        mark, style = _MARKS[state]
        seconds = step_seconds(run, step)
        result = fact(step, run.path / step.folder)
        if state != "finished":
            result = f"{result} ({state})".strip() if result else state
        table.add_row(
            Text(mark, style=style),
            Text(step.title, style="dim" if state == "missing" else ""),
            Text(result, style="" if state == "finished" else style),
            "" if seconds is None else duration(seconds),
        )
    return table
