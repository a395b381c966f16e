"""Tables of a run's scores, states and differences for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.runs.comparison import ScoreChange
from pipeline.runs.engine import State
from pipeline.runs.folder import RunFolder
from pipeline.runs.plan import ROUND, Step
from pipeline.runs.scores import (
    duration,
    fact,
    headline_split,
    model_scores,
    percent,
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


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per run, as ``runs list --json`` has it."""
    table = plain_table("run", "created", "stages", "strict success: base", "champion", "")
    table.add_column("time", justify="right")
    for row in rows:
        if "problem" in row:
            table.add_row(row["run"], Text(row["problem"], style="red"))
            continue
        done = f"{row['finished']}/{row['stages']}"
        gate = {True: Text("gate ✓", style="green"), False: Text("gate ✗", style="yellow")}
        base, best = row["base"], row["strict_success"]
        table.add_row(
            row["run"],
            row["created"][:16].replace("T", " "),
            Text(f"{done} running" if row["running"] else done, "cyan" if row["running"] else ""),
            percent(base["value"]) if base else "–",
            f"{percent(best['value'])} ({row['champion']}, {row['split']})" if best else "–",
            gate.get(row["gate"], Text()),
            duration(row["seconds"]),
        )
    return table


def values_table(values: Mapping[str, Any]) -> Table:
    """Dotted keys and their values."""
    table = plain_table()
    table.add_column("key", style="cyan", no_wrap=True)
    table.add_column("value")
    for key, value in values.items():
        table.add_row(key, Text(_plain(value)))
    return table


def differences_table(differences: Mapping[str, tuple[Any, Any]], first: str, second: str) -> Table:
    """Keys of a configuration with their values in two runs."""
    table = plain_table("configuration", first, second)
    for key, (one, two) in differences.items():
        table.add_row(key, Text(_plain(one)), Text(_plain(two)))
    return table


def changes_table(changes: Sequence[ScoreChange], first: str, second: str) -> Table:
    """Rates in two runs; bold where the intervals have nothing in common."""
    table = plain_table("model", "tasks", "", first, second)
    table.add_column("change", justify="right")
    before = ("", "")
    for change in changes:
        here = (change.model, change.split)
        style = "bold" if change.apart else ""
        moved = "–" if change.change is None else f"{100 * change.change:+.1f}"
        table.add_row(
            change.model if change.model != before[0] else "",
            change.split if here != before else "",
            change.metric.replace("_", " "),
            change.first.percent(),
            change.second.percent(),
            Text(moved, style=style),
        )
        before = here
    return table


def trace_view(trace: Mapping[str, Any]) -> RenderableType:
    """A pair with both answers, their controllers and verdicts, and what they were made from."""
    pair = trace["pair"]
    head = Text.assemble(
        (pair["id"], "bold"),
        f"  task {pair['task']}  source {pair['source']}  order {pair['order']}"
        f"  semantics {pair['semantics']['name']}",
    )
    prompt = pair["prompt"]["messages"][-1]["content"].strip()
    parts: list[RenderableType] = [
        Padding(head, (1, 0)),
        Text(f"prompt {pair['prompt']['hash']}", style="dim"),
        Padding(Text(prompt), (0, 0, 1, 2)),
    ]
    for side, style in (("chosen", "green"), ("rejected", "red")):
        for depth, link in enumerate(trace[side]):
            parts += _link(
                side if depth == 0 else "made from", style if depth == 0 else "dim", link
            )
    parts.append(Text(f"ranked in {trace['ranked']['folder']}", style="dim"))
    return Group(*parts)


def _link(label: str, style: str, link: Mapping[str, Any]) -> list[RenderableType]:
    answer, verdict = link["answer"], link["verdict"]
    correct = "correct" if verdict["strict_success"] else "not correct"
    broken = f"; violates {', '.join(verdict['violated'])}" if verdict["violated"] else ""
    scores = f"progress {verdict['progress']}; paper {percent(verdict['paper_score'])}"
    said = f"{correct}{broken}; {scores}"
    if not verdict["parsed"]:
        said = "not readable: " + "; ".join(verdict["problems"])
    return [
        Text.assemble((label, style), f"  {answer['id']}  {answer['origin']}"),
        Padding(Text(answer["text"].strip(), style="cyan"), (0, 0, 0, 2)),
        Padding(Text(said), (0, 0, 0, 2)),
        Padding(Text(f"controller {verdict['controller']}", style="dim"), (0, 0, 1, 2)),
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
