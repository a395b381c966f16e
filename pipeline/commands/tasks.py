"""``specdrive tasks``: task banks."""

from __future__ import annotations

from collections import Counter

import click

from pipeline.commands import options
from pipeline.tasks import Task, load_tasks, shipped_tasks
from verifier.vocabulary import load_vocabulary


@click.group("tasks")
def command() -> None:
    """List, show and check task banks."""


@command.command("list")
@options.vocabulary_option
@options.json_option
def list_tasks(vocabulary: str, as_json: bool) -> None:
    """The shipped task banks."""
    words = load_vocabulary(vocabulary)
    rows = []
    for name in shipped_tasks():
        tasks = load_tasks(name, words)
        splits = Counter(task.split for task in tasks)
        rows.append({"name": name, "tasks": len(tasks), "splits": dict(splits)})
    if as_json:
        options.print_json(rows)
        return
    for row in rows:
        splits = ", ".join(f"{count} {split}" for split, count in row["splits"].items())
        click.echo(f"{row['name']}: {row['tasks']} tasks ({splits})")


@command.command("show")
@click.argument("name", default="driving")
@click.option("--split", type=click.Choice(["train", "validation", "test"]))
@options.vocabulary_option
@options.json_option
def show_tasks(name: str, split: str | None, vocabulary: str, as_json: bool) -> None:
    """The tasks of one bank (a shipped name or a file)."""
    from pipeline.tables import make_console, plain_table

    tasks = [t for t in load_tasks(name, load_vocabulary(vocabulary)) if split in (None, t.split)]
    if as_json:
        options.print_json([_to_json(task) for task in tasks])
        return
    table = plain_table()
    for heading in ("id", "prompt", "world", "action", "split"):
        table.add_column(heading, overflow="fold")
    for task in tasks:
        table.add_row(task.id, task.prompt, str(task.world), task.action, task.split)
    make_console().print(table)


@command.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.vocabulary_option
@options.json_option
def check_tasks(names: tuple[str, ...], vocabulary: str, as_json: bool) -> None:
    """Check that task banks are well formed and their worlds load."""
    from worlds.load import load_world

    words = load_vocabulary(vocabulary)
    banks = {name: load_tasks(name, words) for name in names}
    for tasks in banks.values():
        for world in dict.fromkeys(task.world for task in tasks):
            load_world(world, words)
    if as_json:
        options.print_json([{"name": n, "tasks": len(t), "errors": []} for n, t in banks.items()])
        return
    for name, tasks in banks.items():
        click.echo(f"{name}: {len(tasks)} tasks, well formed")


def _to_json(task: Task) -> dict[str, str]:
    fields = ("id", "prompt", "world", "action", "split")
    return {field: str(getattr(task, field)) for field in fields}
