"""``specdrive worlds``: the shipped scenarios and the user's own."""

from __future__ import annotations

import click

from pipeline.commands import options, worlds_learn
from verifier.vocabulary import load_vocabulary
from worlds.load import load_scenario, load_world, shipped_worlds


@click.group("worlds")
def command() -> None:
    """List, show and check worlds, and learn them from simulators."""


command.add_command(worlds_learn.record_world)
command.add_command(worlds_learn.learn_from_recordings)
command.add_command(worlds_learn.conform_recordings)


@command.command("list")
@options.vocabulary_option
@options.json_option
def list_worlds(vocabulary: str, as_json: bool) -> None:
    """The shipped worlds."""
    from pipeline.tables import make_console, plain_table

    words = load_vocabulary(vocabulary)
    rows = []
    for name in shipped_worlds():
        world = load_world(name, words)
        rows.append(
            {
                "name": name,
                "states": len(world.states),
                "transitions": world.num_transitions,
                "propositions": list(world.propositions),
                "actions": list(load_scenario(name, words).actions),
                "text": world.text,
            }
        )
    if as_json:
        options.print_json(rows)
        return
    table = plain_table()
    table.add_column("name", no_wrap=True)
    table.add_column("states", justify="right")
    table.add_column("transitions", justify="right")
    table.add_column("what it is")
    for row in rows:
        table.add_row(row["name"], f"{row['states']:,}", f"{row['transitions']:,}", row["text"])
    make_console().print(table)


@command.command("show")
@click.argument("name")
@options.vocabulary_option
@options.json_option
def show_world(name: str, vocabulary: str, as_json: bool) -> None:
    """One world: its description, reasons, labels and assumptions."""
    from rich.text import Text

    from pipeline.tables import make_console, plain_table

    words = load_vocabulary(vocabulary)
    world, scenario = load_world(name, words), load_scenario(name, words)
    if as_json:
        options.print_json(
            {
                "name": world.name,
                "text": world.text,
                "reasons": list(scenario.reasons),
                "actions": list(scenario.actions),
                "hash": world.hash,
                "propositions": list(world.propositions),
                "states": {
                    s: sorted(label) for s, label in zip(world.states, world.labels, strict=True)
                },
                "initial": [world.states[i] for i in world.initial],
                "transitions": {
                    world.states[i]: [world.states[j] for j in row]
                    for i, row in enumerate(world.successors)
                },
                "assumptions": sorted({a.formula for a in world.assumptions}),
            }
        )
        return
    console = make_console()
    console.print(Text.assemble((world.name, "bold"), f": {world.text}"))
    for reason in scenario.reasons:
        console.print(Text(f"  · {reason}"))
    console.print(
        f"{len(world.states):,} states, {world.num_transitions:,} transitions, "
        f"{len(world.initial):,} initial"
    )
    for assumption in dict.fromkeys(a.formula for a in world.assumptions):
        console.print(Text(f"assumes {assumption}"))
    table = plain_table()
    for heading in ("state", "label", "may be followed by"):
        table.add_column(heading, overflow="fold")
    most = 40
    for i, state in list(enumerate(world.states))[:most]:
        row = world.successors[i]
        label = ", ".join(sorted(world.labels[i])) or "(nothing)"
        follow = "any state" if len(row) == len(world.states) else _some(world.states, row)
        table.add_row(state, label, follow)
    console.print(table)
    if len(world.states) > most:
        console.print(f"and {len(world.states) - most:,} more states; --json lists all of them")


def _some(states: tuple[str, ...], row: tuple[int, ...]) -> str:
    shown = ", ".join(states[j] for j in row[:6])
    return shown if len(row) <= 6 else f"{shown} and {len(row) - 6} more"


@command.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.vocabulary_option
@options.json_option
def check_worlds(names: tuple[str, ...], vocabulary: str, as_json: bool) -> int:
    """Look for deadlocks, unreachable states and assumptions that no path satisfies.

    Exit code 1 if a world has errors: no other command accepts it.
    """
    from worlds.load import check_scenario

    words = load_vocabulary(vocabulary)
    found = {name: check_scenario(name, words) for name in names}
    if as_json:
        options.print_json(
            [{"name": name, "findings": [vars(f) for f in rows]} for name, rows in found.items()]
        )
    else:
        for name, findings in found.items():
            for finding in findings:
                click.echo(f"{name}: {finding}")
            if not findings:
                click.echo(f"{name}: nothing to report")
    return int(any(f.severity == "error" for findings in found.values() for f in findings))
