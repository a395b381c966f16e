"""The learning section of docs/results.md: tables of numbers as JSON, and as markdown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.results import number
from pipeline.run_report.wording import duration, points

Kind = Literal["text", "rate", "share", "count", "number", "difference", "seconds"]
"""How a column is written: rates and differences have bounds, shares are rates without."""

Bounds = Mapping[str, float | None]
"""``value``, ``low`` and ``high``; in shares of one."""

Cell = str | int | float | Bounds | None
_NONE = "–"
_JOINED = {" %": "\u00a0%", " to ": "\u00a0to\u00a0", "–": "–\u2060"}


@dataclass(frozen=True)
class Table:
    """A table and the sentence that says what it shows.

    Attributes:
        title: Its heading.
        sentence: What it shows.
        columns: Name -> kind, in order. One that is empty in every row is not written.
        rows: Column -> value.
        notes: What is needed to read it rightly.
    """

    title: str
    sentence: str
    columns: Mapping[str, Kind]
    rows: Sequence[Mapping[str, Cell]]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Table:
        """From what `to_json` gave."""
        return Table(**data)

    def to_markdown(self) -> Iterator[str]:
        """Heading, sentence, table and notes, line by line; nothing without rows."""
        shown: dict[str, Kind] = {
            name: kind
            for name, kind in self.columns.items()
            if any(row.get(name) not in (None, "") for row in self.rows)
        }
        if not shown:
            return
        yield from (f"### {self.title}", "", self.sentence, "")
        yield _line(escaped(name) for name in shown)
        yield _line("---" if kind == "text" else "---:" for kind in shown.values())
        for row in self.rows:
            yield _line(_unbroken(cell_text(row.get(n), kind), kind) for n, kind in shown.items())
        yield ""
        for note in self.notes:
            yield from (note, "")


def section(content: Mapping[str, Any]) -> Iterator[str]:
    """The section of docs/results.md, line by line.

    Args:
        content: docs/results/learning.json.
    """
    machine = content["machine"]
    versions = ", ".join(f"{package} {number}" for package, number in content["versions"].items())
    yield from (f"## Learning: the run `{content['run']}`", "")
    yield f"`python -m benchmarks.learning RUN...` · commit {content['commit']}, {content['date']}"
    yield f"· {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    yield from (f"· {versions}", "")
    for paragraph in content["summary"]:
        yield from (paragraph, "")
    yield from (f"![{content['picture']['shows']}]({content['picture']['path']})", "")
    for table in content["tables"]:
        yield from Table.from_json(table).to_markdown()
    yield from ("<details><summary>The whole configuration</summary>", "", "```yaml")
    yield from (f"{key}: {json.dumps(value)}" for key, value in content["configuration"].items())
    yield from ("```", "", "</details>", "")


def cell_text(value: Cell, kind: Kind) -> str:
    """A value as its column writes it; a dash where there is none."""
    if value is None or value == "":
        return _NONE if kind != "text" else ""
    if isinstance(value, Mapping):
        return difference_text(value) if kind == "difference" else rate_text(value)
    if isinstance(value, str):
        return escaped(value)
    match kind:
        case "share":
            return f"{100 * value:.1f} %"
        case "count":
            return f"{value:,.0f}"
        case "seconds":
            return duration(value).replace("\u00a0", " ")
        case _:
            return number(value)


def _unbroken(text: str, kind: Kind) -> str:
    """A number that stays with its unit, and an interval on one line, where a cell is narrow."""
    if kind == "text" or text == _NONE:
        return text
    for broken, whole in _JOINED.items():
        text = text.replace(broken, whole)
    return text


def rate_text(rate: Bounds) -> str:
    """ "95.6 % (91–98)"."""
    value, low, high = rate["value"], rate["low"], rate["high"]
    if value is None or low is None or high is None:
        return _NONE
    return f"{100 * value:.1f} % ({100 * low:.0f}–{100 * high:.0f})"


def difference_text(change: Bounds) -> str:
    """ "+12.3 (+4.1 to +20.0)", in points."""
    value, low, high = change["value"], change["low"], change["high"]
    if value is None or low is None or high is None:
        return _NONE
    return f"{points(value)} ({points(low)} to {points(high)})"


def escaped(text: str) -> str:
    """A text that stays one cell of a table and no markup of its own."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def _line(cells: Iterator[str]) -> str:
    return "| " + " | ".join(cells) + " |"
