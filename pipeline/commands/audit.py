"""``specdrive audit``: what a rule book means in a world, before anything is trained on it."""

from __future__ import annotations

import click

from pipeline.commands import options
from verifier.audit import DEFAULT_RANDOM_CONTROLLERS, Audit, audit
from verifier.rules import load_rules
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world


@click.command("audit")
@options.world_option
@options.rules_option
@options.semantics_option
@options.vocabulary_option
@options.goal_option
@options.time_limit_option
@click.option("--seed", default=0, show_default=True, help="For the random controllers.")
@click.option(
    "--random",
    "random_controllers",
    default=DEFAULT_RANDOM_CONTROLLERS,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many random controllers.",
)
@options.json_option
def command(
    world: str,
    rules: str,
    semantics: str,
    vocabulary: str,
    goal: str | None,
    time_limit: float,
    seed: int,
    random_controllers: int,
    as_json: bool,
) -> None:
    """Audit a rule book in a world.

    Implied members, trivial controllers and their scores, whether all members can hold together,
    and which can only hold vacuously.
    """
    words = load_vocabulary(vocabulary)
    result = audit(
        load_world(world, words),
        options.with_goal(load_rules(rules, words), goal, words),
        load_semantics(semantics),
        words,
        time_limit=time_limit,
        seed=seed,
        random_controllers=random_controllers,
    )
    if as_json:
        options.print_json(result.to_json())
    else:
        _print(result)


def _print(result: Audit) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.tables import STYLES, make_console, plain_table

    console = make_console()
    head = f"  in {result.world}, semantics {result.semantics.name}: "
    count = f"{len(result.applicable)} rules apply, {len(result.inapplicable)} do not"
    console.print(Text.assemble((result.rules, "bold"), head, count))
    table = plain_table("trivial controller", "satisfied", "vacuous", "violates")
    for score in result.trivial:
        numbers = [Text(str(score.counts[v]), style=STYLES[v][1]) for v in ("satisfied", "vacuous")]
        style = "yellow" if score.high else ""
        table.add_row(
            Text(score.controller, style=style), *numbers, ", ".join(score.violated) or "nothing"
        )
    console.print(Padding(table, (0, 0, 1, 2)))
    shown = tuple(score.controller for score in result.trivial)
    for sentence in result.findings():
        if sentence.startswith(shown):
            continue
        style = "yellow" if sentence.startswith("Warning") else ""
        console.print(Padding(Text(f"· {sentence}", style=style), (0, 0, 0, 2)))
