"""Verification reports on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from verifier.rules import RuleBook
from verifier.verdicts import VERDICT_VALUES, Report, score

_FILL = {"satisfied": "█", "vacuous": "▓", "violated": "░", "unknown": "·", "inapplicable": " "}

STYLES = {
    "satisfied": ("✓", "green"),
    "vacuous": ("○", "cyan"),
    "violated": ("✗", "bold red"),
    "unknown": ("?", "yellow"),
    "inapplicable": ("–", "dim"),
}
"""Symbol and style of each verdict."""


def make_console() -> Console:
    """A console on stdout; 100 columns where the output is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, to be advanced by the number of items done; quiet off a terminal."""
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)


def plain_table(*headings: str) -> Table:
    """A table without lines."""
    table = Table(*headings, box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in table.columns:
        column.overflow = "fold"
    return table


def verdict_text(value: str) -> Text:
    """Symbol and word of a verdict, coloured."""
    symbol, style = STYLES[value]
    return Text(f"{symbol} {value}", style=style)


def verdict_bar(counts: Mapping[str, int], width: int = 16) -> Text:
    """How often each verdict was given, as a bar, and how many of the applicable hold."""
    total = sum(counts.values())
    if not total:
        return Text("")
    bar, drawn, seen = Text(), 0, 0
    for value in VERDICT_VALUES:
        seen += counts.get(value, 0)
        upto = round(width * seen / total)
        bar.append(_FILL[value] * (upto - drawn), style=STYLES[value][1])
        drawn = upto
    holds = counts.get("satisfied", 0) + counts.get("vacuous", 0)
    applicable = total - counts.get("inapplicable", 0)
    return bar.append(f" {holds}/{applicable}" if applicable else " –")


def verdict_key() -> Text:
    """What the parts of a `verdict_bar` stand for."""
    shown = [value for value in VERDICT_VALUES if _FILL[value].strip()]
    return Text("   ").join(
        Text.assemble((f"{_FILL[value]} ", STYLES[value][1]), value) for value in shown
    )


def score_line(report: Report) -> Text:
    """'9 satisfied · 3 vacuous · ...', leaving out what is zero."""
    counts = score(report.verdicts)
    parts = [
        Text(f"{counts[value]} {value}", style=STYLES[value][1])
        for value in VERDICT_VALUES
        if counts[value]
    ]
    return Text(" · ").join(parts)


def report_view(report: Report, rules: RuleBook) -> RenderableType:
    """One controller in full: every rule's verdict, then the counterexamples in English."""
    table = plain_table()
    table.add_column("rule", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what it says")
    texts = {s.id: s.text or s.formula for s in rules.specifications}
    for verdict in report.verdicts:
        table.add_row(verdict.id, verdict_text(verdict.value), texts[verdict.id])
    states = f" · {report.states} states" if report.states is not None else ""
    head = Text.assemble(
        (report.file or "controller", "bold"),
        f"  in {report.world}, rules {report.rules}, semantics {report.semantics.name}{states}",
    )
    parts: list[RenderableType] = [head, Padding(table, (0, 0, 0, 2))]
    parts += [_paragraph("not understood: ", problem, "yellow") for problem in report.problems]
    for verdict in report.verdicts:
        if verdict.value == "violated":
            text = verdict.explanation or verdict.reason or "no counterexample was asked for"
            parts.append(_paragraph(f"{verdict.id}: ", text, "red"))
        elif verdict.value == "unknown" and not report.problems:
            parts.append(_paragraph(f"{verdict.id}: ", verdict.reason or "", "yellow"))
    return Group(*parts, Padding(score_line(report), (0, 0, 1, 2)))


def _paragraph(label: str, text: str, style: str) -> Padding:
    return Padding(Text.assemble((label, style), text), (0, 0, 0, 2))


def summary_table(reports: Sequence[Report]) -> Table:
    """Many controllers: one row each, with the rules that are violated."""
    table = plain_table()
    table.add_column("file", overflow="fold")
    for value in VERDICT_VALUES:
        table.add_column(value, justify="right")
    table.add_column("violated rules, or why it is unknown", overflow="fold")
    for report in reports:
        counts = score(report.verdicts)
        violated = [verdict.id for verdict in report.verdicts if verdict.value == "violated"]
        remark = ", ".join(violated) if violated else (report.problems or ("",))[0]
        numbers = [
            Text(str(counts[value]), style=STYLES[value][1] if counts[value] else "dim")
            for value in VERDICT_VALUES
        ]
        table.add_row(report.file or "", *numbers, remark)
    return table
