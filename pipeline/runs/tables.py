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
from pipeline.runs.facts import duration, fact, model_name, percent
from pipeline.runs.folder import RunFolder
from pipeline.runs.manifest import SIDE_BY_SIDE
from pipeline.runs.plan import ENDING, ROUND, Step
from pipeline.runs.scores import (
    RATES,
    ModelScores,
    elapsed_seconds,
    headline_split,
    model_scores,
    selection,
    stage_seconds,
    step_seconds,
)
from pipeline.tables import plain_table
from worlds.statistics import Rate

SPLIT_WORDS = {
    "test": "held-out test tasks",
    "validation": "validation tasks",
    "train": "training tasks",
}
_LABEL = 8
_REASONS = 3
_MARKS = {
    "finished": ("✓", "green"),
    "outdated": ("↻", "yellow"),
    "missing": ("·", "dim"),
}


def scores_view(run: RunFolder, steps: Sequence[Step]) -> RenderableType:
    """The summary of a run: a row per model, what the champion gained, where the time went."""
    scores = model_scores(run, steps)
    if not scores:
        return Text("nothing has been evaluated yet", style="dim")
    split = headline_split(scores)
    chosen = selection(run)
    champion = model_name(chosen["champion"]) if chosen else None
    title = Text(f"scores on {SPLIT_WORDS[split]}, with 95 % intervals", style="dim")
    lines: list[RenderableType] = [
        Padding(title, (1, 0, 0, 0)),
        Padding(_models(scores, split, champion), (0, 0, 1, 0)),
    ]
    by_name = {one.name: one for one in scores}
    if champion in by_name and champion != "base" and "base" in by_name:
        lines.append(_gain(by_name["base"], by_name[champion], split))
    if chosen is not None:
        lines.append(_gate(chosen["champion"], chosen["gate"]))
    lines += [
        labelled("quantize", fact(step, run.path / step.folder))
        for step in steps
        if step.stage == "quantize" and (run.path / step.folder).is_dir()
    ]
    seconds = stage_seconds(run, steps)
    spent = " · ".join(
        f"{stage} {duration(seconds[stage])}" for stage in (*ROUND, *ENDING) if stage in seconds
    )
    total, took = sum(seconds.values()), elapsed_seconds(run, steps)
    if took < SIDE_BY_SIDE * total:
        spent = f"stages together {duration(total)}: {spent}"
        total = took
    lines.append(labelled("time", Text.assemble(duration(total), (f"  {spent}", "dim"))))
    return Group(*lines)


def labelled(label: str, what: str | Text) -> Table:
    """A line 'label  what', the labels of several lines aligned."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=_LABEL, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, what)
    return grid


def _models(scores: Sequence[ModelScores], split: str, champion: str | None) -> Table:
    table = plain_table()
    table.add_column("model", no_wrap=True)
    for heading in ("strict success", "paper score", "readable"):
        table.add_column(heading, no_wrap=True)
    table.add_column("solutions", justify="right")  # distinct correct controllers
    table.add_column("pairs", justify="right")
    for one in scores:
        best = one.name == champion
        solutions = one.splits.get(split, {}).get("distinct_correct")
        table.add_row(
            Text(f"{one.name}{' ★' if best else ''}", style="bold" if best else ""),
            *(interval(one.rate(metric, split)) for metric in RATES),
            "–" if solutions is None else str(solutions),
            "" if one.pairs is None else str(one.pairs),
        )
    return table


def _gain(before: ModelScores, after: ModelScores, split: str) -> Table:
    """'strict success 0.0 % → 41.2 %, paper score ...'."""
    parts = []
    for metric, words in (("strict_success", "strict success"), ("paper_score", "paper score")):
        old, new = before.rate(metric, split), after.rate(metric, split)
        if old.value is None or new.value is None:
            continue
        apart = old.high < new.low or new.high < old.low
        style = ("green" if new.value > old.value else "red") if apart else ""
        parts.append(Text.assemble(f"{words} {percent(old.value)} → ", (percent(new.value), style)))
    return labelled("gain", Text(", ").join(parts))


def interval(rate: Rate) -> Text:
    """'12.5 % [8.1, 18.9]', the bounds in the background."""
    value, bracket, bounds = rate.percent().partition(" [")
    return Text.assemble(value, (bracket + bounds, "dim"))


def _gate(champion: str, gate: Mapping[str, Any]) -> Table:
    name = model_name(champion)
    if gate["passed"]:
        return labelled("gate", Text(f"passed by {name}", style="green"))
    shown, rest = gate["reasons"][:_REASONS], gate["reasons"][_REASONS:]
    reasons = "; ".join(
        [*shown, *([f"and {len(rest)} more in select/selection.json"] if rest else [])]
    )
    return labelled("gate", Text.assemble((f"not passed by {name}: ", "yellow"), reasons))


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


def runs_view(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row per run, as ``runs list --json`` has it; below, the runs that cannot be read."""
    table = plain_table()
    for heading in ("run", "made", "stages", "strict success", "champion", "gate"):
        table.add_column(heading, no_wrap=heading != "run", overflow="fold")
    table.add_column("time", justify="right")
    for row in rows:
        if "problem" in row:
            continue
        done = f"{row['finished']}/{row['stages']}"
        gate = {True: Text("passed", style="green"), False: Text("not passed", style="yellow")}
        rates = [rate["value"] for rate in (row["base"], row["strict_success"]) if rate]
        split = "" if row["split"] == "test" or not rates else f" ({row['split']})"
        table.add_row(
            row["run"],
            moment(row["created"]),
            Text(f"{done} running" if row["running"] else done, "cyan" if row["running"] else ""),
            (" → ".join(map(percent, rates)) or "–") + split,
            row["champion"] or "–",
            gate.get(row["gate"], Text("–")),
            duration(row["seconds"]),
        )
    problems = [Text(row["problem"], style="red") for row in rows if "problem" in row]
    return Group(*([table] if table.rows else []), *problems)


def moment(iso: str) -> str:
    """'2026-11-25 03:10' in UTC."""
    return iso[:16].replace("T", " ")


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


def changes_table(changes: Sequence[ScoreChange], split: str) -> Table:
    """A row per model: its rates on one split in two runs; coloured where the intervals part."""
    table = plain_table("model")
    words = {"parse_rate": "readable"}
    for metric in RATES:
        table.add_column(words.get(metric, metric.replace("_", " ")), no_wrap=True)
    rows: dict[str, list[Text]] = {}
    for change in changes:
        if change.split == split:
            rows.setdefault(change.model, []).append(_moved(change))
    for model, cells in rows.items():
        table.add_row(model, *cells)
    return table


def _moved(change: ScoreChange) -> Text:
    """'57.8 % → 61.0 %  +3.2'."""
    values = f"{percent(change.first.value)} → {percent(change.second.value)}"
    if change.change is None:
        return Text(values, style="dim")
    style = ("bold green" if change.change > 0 else "bold red") if change.apart else "dim"
    return Text.assemble(values, (f"  {100 * change.change:+.1f}", style))


def all_changes_table(changes: Sequence[ScoreChange], first: str, second: str) -> Table:
    """Every rate of every model and split in two runs, with intervals; bold where these part."""
    table = plain_table("model", "tasks", "", first, second)
    table.add_column("change", justify="right")
    before = ("", "")
    for change in changes:
        here = (change.model, change.split)
        moved = "–" if change.change is None else f"{100 * change.change:+.1f}"
        table.add_row(
            change.model if change.model != before[0] else "",
            change.split.replace("_", " ") if here != before else "",
            change.metric.replace("_", " "),
            interval(change.first),
            interval(change.second),
            Text(moved, style="bold" if change.apart else ""),
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
