"""A run on the terminal while it goes on: what is done, what is being done, what is to come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.runs.engine import Observer, Silent
from pipeline.runs.facts import counted, duration, fact
from pipeline.runs.plan import Step

_OTHERS = 6
"""Lines of a terminal that the view leaves free."""

_BAR = 14

_SIGN_OF_LIFE = 30.0
"""Seconds between two lines about the same stage in a log."""


class PlainView(Silent):
    """For logs: a line per stage that had to be carried out, and signs of life in long ones.

    Args:
        title: Name of the run.
        path: Its folder.
        steps: All of its steps, in order.
    """

    def __init__(self, title: str, path: Path, steps: Sequence[Step]) -> None:
        self._width = max((len(step.title) for step in steps), default=0)
        self._kept, self._told = 0, time.monotonic()
        self._say(f"{title}: {counted(len(steps), 'stage')} in {path}")

    def started(self, step: Step, resumed: bool) -> None:
        """Remember what is being done; say what needed not be."""
        if self._kept:
            self._say(f"{counted(self._kept, 'stage')} kept from before")
            self._kept = 0
        self._told = time.monotonic()
        if resumed:
            self._line(step.title, "continuing where it was interrupted")

    def progress(self, step: Step, what: str, done: int, total: int) -> None:
        """Say how far a long stage has come, now and then."""
        if time.monotonic() - self._told >= _SIGN_OF_LIFE:
            self._told = time.monotonic()
            self._line(step.title, f"{what} {done}/{total}")

    def finished(self, step: Step, folder: Path, seconds: float, skipped: bool) -> None:
        """Say what it has yielded, unless there was nothing to do."""
        if skipped:
            self._kept += 1
        else:
            self._line(step.title, f"{fact(step, folder)}  ({duration(seconds)})")

    def _line(self, title: str, text: str) -> None:
        self._say(f"{title:{self._width}}  {text}")

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


@dataclass
class _Going:
    """A stage that is being carried out."""

    what: str
    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    part_began: float = field(default_factory=time.monotonic)


class LiveView:
    """A table of all stages, redrawn in place.

    Args:
        title: Name of the run.
        steps: All of them, in order.
    """

    def __init__(self, title: str, steps: Sequence[Step]) -> None:
        self._title, self._steps = title, tuple(steps)
        self._began = time.monotonic()
        self._facts: dict[PurePosixPath, tuple[str, float, bool]] = {}  # by the steps' folders
        self._current: dict[PurePosixPath, _Going] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._height = 24

    def started(self, step: Step, resumed: bool) -> None:
        """Show the stage as a current one."""
        self._current[step.folder] = _Going("continuing" if resumed else "")

    def progress(self, step: Step, what: str, done: int, total: int) -> None:
        """Move the bar; what else is done in a stage has a pace of its own."""
        going = self._current[step.folder]
        if what != going.what:
            going.part_began = time.monotonic()
        going.what, going.done, going.total = what, done, total

    def finished(self, step: Step, folder: Path, seconds: float, skipped: bool) -> None:
        """Tick the stage off."""
        self._facts[step.folder] = (fact(step, folder), seconds, skipped)
        self._current.pop(step.folder, None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the state of this moment; called by rich at every refresh."""
        self._height = options.height or console.size.height
        yield self._render()

    def _render(self) -> RenderableType:
        elapsed = duration(time.monotonic() - self._began)
        done = sum(step.folder in self._facts for step in self._steps)
        head = Text.assemble(
            (self._title, "bold"), (f"   {done} of {len(self._steps)} stages   {elapsed}", "dim")
        )
        table = Table.grid(padding=(0, 2, 0, 0))
        for column in ("mark", "group", "stage", "result", "time"):
            # Where the terminal is narrow, only what can be said about a stage is cut short.
            table.add_column(
                no_wrap=column != "result", justify="right" if column == "time" else "left"
            )
        for row in self._rows():
            table.add_row(*row)
        return Group(Padding(head, (1, 0, 0, 0)), Padding(table, (0, 0, 1, 0)))

    def _rows(self) -> list[tuple[RenderableType, ...]]:
        """A row per stage; groups that are done or to come shrink to one where room is short."""
        groups: dict[str, list[Step]] = {}
        for step in self._steps:
            groups.setdefault(step.title.rpartition(" · ")[0] or step.stage, []).append(step)
        room = self._height - _OTHERS
        tight = len(self._steps) > room
        rows: list[tuple[RenderableType, ...]] = []
        for name, steps in groups.items():
            finished = all(step.folder in self._facts for step in steps)
            coming = not any(s.folder in self._facts or s.folder in self._current for s in steps)
            if tight and (finished or coming) and len(steps) > 1:
                rows.append(self._short(name, steps, finished))
            else:
                rows += [self._row(name if i == 0 else "", s) for i, s in enumerate(steps)]
        if len(rows) > room > 0:
            current = next((i for i, row in enumerate(rows) if row[0] is self._spinner), 0)
            first = max(0, min(current - room // 2, len(rows) - room))
            rows = rows[first : first + room]
        return rows

    def _row(self, group: str, step: Step) -> tuple[RenderableType, ...]:
        stage = "" if group == step.stage else step.stage
        if step.folder in self._facts:
            said, seconds, skipped = self._facts[step.folder]
            mark = Text("✓", style="dim green" if skipped else "green")
            style = "dim" if skipped else ""
            result = _one_line(f"{said}{' (kept)' if skipped else ''}", style)
            return mark, Text(group), Text(stage), result, Text(duration(seconds), style="dim")
        going = self._current.get(step.folder)
        if going is not None:
            spent = Text(duration(time.monotonic() - going.began), style="cyan")
            return self._spinner, Text(group), Text(stage, style="cyan"), _bar(going), spent
        return Text("·", style="dim"), Text(group, "dim"), Text(stage, "dim"), Text(), Text()

    def _short(
        self, name: str, steps: Sequence[Step], finished: bool
    ) -> tuple[RenderableType, ...]:
        if not finished:
            mark, spent = Text("·", style="dim"), Text()
            return mark, Text(name, "dim"), Text(f"{len(steps)} stages", "dim"), Text(), spent
        said = self._facts[steps[-1].folder][0]
        seconds = sum(self._facts[step.folder][1] for step in steps)
        stages = Text(f"{len(steps)} stages", "dim")
        spent = Text(duration(seconds), style="dim")
        return Text("✓", style="green"), Text(name), stages, _one_line(said), spent


def _bar(going: _Going) -> RenderableType:
    if not going.total:
        return _one_line(going.what, "cyan")
    left = ""
    if 0 < going.done < going.total:
        spent = time.monotonic() - going.part_began
        remaining = spent * (going.total - going.done) / going.done
        left = f"about {duration(remaining)} left  "
    said = Text(no_wrap=True, overflow="ellipsis")
    said.append(f"{going.done}/{going.total}  ").append(left, "dim").append(going.what, "cyan")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    bar = ProgressBar(going.total, going.done, width=_BAR, complete_style="cyan")
    grid.add_row(bar, said)
    return grid


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


@contextmanager
def run_view(title: str, path: Path, steps: Sequence[Step]) -> Iterator[Observer]:
    """A live view on stderr; where that is no terminal, a line per finished stage."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainView(title, path, steps)
        return
    view = LiveView(f"{title}  {path}", steps)
    with Live(view, console=console, refresh_per_second=8, transient=False):
        yield view


@contextmanager
def stage_view(title: str, step: Step) -> Iterator[Observer]:
    """A live view of one stage that goes away with it; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent()
        return
    view = LiveView(title, [step])
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view
