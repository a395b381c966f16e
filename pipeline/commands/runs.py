"""``specdrive runs``: what is there, what came of it, where a pair comes from, what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeline.runs.comparison import ScoreChange
    from pipeline.runs.engine import State
    from pipeline.runs.folder import RunFolder
    from pipeline.runs.plan import Step


@click.group("runs")
def command() -> None:
    """Runs on disk: list them, look into one, compare two, log one to MLflow later."""


@command.command("list")
@click.option(
    "--dir",
    "folder",
    default="runs",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the runs are.",
)
@options.json_option
def list_runs(folder: Path, as_json: bool) -> None:
    """All runs with their state and the scores of base and champion."""
    from pipeline.runs.folder import find_runs, open_run
    from pipeline.runs.tables import runs_view
    from pipeline.tables import make_console
    from verifier.errors import InputError

    rows: list[dict[str, Any]] = []
    for path in find_runs(folder):
        try:
            rows.append(_overview(open_run(path)))
        except InputError as error:  # one that is damaged must not hide the others
            rows.append({"run": str(path), "name": path.name, "problem": str(error)})
    if as_json:
        options.print_json(rows)
    elif not rows:
        click.echo(f"no runs in {folder}/")
    else:
        make_console().print(runs_view(rows))


@command.command("export")
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
def export(run: str, folder: Path) -> None:
    """Write a run's champion to FOLDER: adapter (16 bits), scores, certificates."""
    from pipeline.champion import export_champion
    from pipeline.runs.folder import open_run

    scores = export_champion(open_run(run), folder)
    click.echo(f"{folder}: round {scores['round']} of {scores['run']}")


@command.command("show")
@click.argument("run")
@click.option("--pair", metavar="ID", help="Where this pair comes from (VARIANT/ID in a variant).")
@click.option("--config", "whole_config", is_flag=True, help="The whole configuration as YAML.")
@options.json_option
def show(run: str, pair: str | None, whole_config: bool, as_json: bool) -> None:
    """Configuration, stages and scores of a run; or the provenance of one of its pairs."""
    from pipeline.runs.folder import open_run
    from pipeline.runs.plan import plan, shipped_stages
    from pipeline.tables import make_console

    opened = open_run(run)
    steps = plan(opened.config, shipped_stages())
    if pair is not None:
        from pipeline.runs.provenance import trace_pair
        from pipeline.runs.tables import trace_view

        trace = trace_pair(opened, steps, pair)
        if as_json:
            options.print_json(trace)
        else:
            make_console().print(trace_view(trace))
    elif whole_config:
        if as_json:
            options.print_json(opened.config.to_json())
        else:
            click.echo(opened.config.to_yaml(), nl=False)
    elif as_json:
        options.print_json(_details(opened, steps))
    else:
        make_console().print(_page(opened, steps))


@command.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--all", "everything", is_flag=True, help="Every split, with intervals.")
@options.json_option
def diff(first: str, second: str, everything: bool, as_json: bool) -> None:
    """How two runs differ in configuration and in scores.

    Changes are in percentage points; they stand out where the two 95 % intervals have nothing in
    common.
    """
    from pipeline.runs.comparison import config_differences, score_changes
    from pipeline.runs.folder import open_run
    from pipeline.tables import make_console

    one, two = open_run(first), open_run(second)
    differences = config_differences(one.config, two.config)
    changes = score_changes(one, two)
    if as_json:
        found = {
            "runs": [str(one.path), str(two.path)],
            "config": {key: {"first": a, "second": b} for key, (a, b) in differences.items()},
            "scores": [change.to_json() for change in changes],
        }
        options.print_json(found)
    else:
        make_console().print(_comparison(one, two, differences, changes, everything))


@command.command("sync")
@click.argument("run")
@click.option("--tracking-uri", metavar="URI", help="The MLflow store to bring up to date.")
@options.json_option
def sync_run(run: str, tracking_uri: str | None, as_json: bool) -> None:
    """Log to MLflow what is missing there: after a server was down, or to another store."""
    from pipeline.runs.folder import open_run
    from pipeline.tracking import sync

    result = sync(open_run(run).path, tracking_uri)
    if as_json:
        found = {
            "store": result.store,
            "run_id": result.run_id,
            "logged": list(result.logged),
            "already": list(result.already),
            "failed": result.failed,
        }
        options.print_json(found)
        return
    click.echo(f"{result.store}: {len(result.logged)} stages logged, {len(result.already)} known")
    for place, reason in result.failed.items():
        click.echo(f"  {place}: {reason}")


def _overview(run: RunFolder) -> dict[str, Any]:
    """A row of the list; cheap: nothing is hashed."""
    from pipeline.runs.folder import is_locked
    from pipeline.runs.plan import plan, shipped_stages
    from pipeline.runs.scores import headline_split, model_scores, selection, step_seconds

    steps = plan(run.config, shipped_stages())
    scores = model_scores(run, steps)
    split = headline_split(scores)
    chosen = selection(run)
    champion = None
    if chosen is not None and (number := int(chosen["champion"].removeprefix("round-"))):
        champion = f"round {number}"
    named = {one.name: one.rate("strict_success", split).to_json() for one in scores}
    seconds = [step_seconds(run, step) for step in steps]
    return {
        "run": str(run.path),
        "name": run.info["name"],
        "created": run.info["created"],
        "running": is_locked(run.path),
        "stages": len(steps),
        "finished": sum(spent is not None for spent in seconds),
        "seconds": sum(spent or 0.0 for spent in seconds),
        "split": split,
        "base": named.get("base"),
        "champion": champion,
        "strict_success": named.get(champion) if champion else None,
        "gate": chosen["gate"]["passed"] if chosen else None,
    }


def _states(run: RunFolder, steps: tuple[Step, ...]) -> list[State]:
    from pipeline.runs.engine import Engine, Silent
    from pipeline.runs.plan import shipped_stages
    from pipeline.runs.surroundings import outside_inputs
    from verifier.errors import InputError

    try:
        outside = outside_inputs(run.config)
    except InputError:  # the model is no longer there: what was made with it still is
        return ["finished" if (run.path / s.folder).is_dir() else "missing" for s in steps]
    engine = Engine(run, shipped_stages(), outside, Silent())
    return [engine.state(step) for step in steps]


def _details(run: RunFolder, steps: tuple[Step, ...]) -> dict[str, Any]:
    from pipeline.runs.facts import fact
    from pipeline.runs.scores import model_scores, scores_json, selection, step_seconds

    return {
        **_overview(run),
        "config": run.config.to_json(),
        "stage_list": [
            {
                "stage": step.stage,
                "round": step.round,
                "variant": step.variant,
                "folder": str(step.folder),
                "state": state,
                "seconds": step_seconds(run, step),
                "result": fact(step, run.path / step.folder) or None,
            }
            for step, state in zip(steps, _states(run, steps), strict=True)
        ],
        "models": [scores_json(one) for one in model_scores(run, steps)],
        "selection": selection(run),
    }


def _page(run: RunFolder, steps: tuple[Step, ...]) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.runs.comparison import non_defaults
    from pipeline.runs.folder import is_locked
    from pipeline.runs.tables import labelled, moment, scores_view, states_view, values_table

    state = "  running" if is_locked(run.path) else ""
    made = f"  {run.path}  made {moment(run.info['created'])} UTC"
    head = Text.assemble((run.info["name"], "bold"), (made, "dim"), (state, "cyan"))
    settings = non_defaults(run.config)
    parts: list[RenderableType] = [
        Padding(head, (1, 0)),
        states_view(run, steps, _states(run, steps)),
    ]
    parts.append(scores_view(run, steps))
    if settings:
        title = Text("what the configuration sets (all of it: --config)", style="dim")
        parts += [Padding(title, (1, 0, 0, 0)), values_table(settings)]
    page = run.path / "report" / "index.html"
    if page.exists():
        parts.append(Padding(labelled("report", str(page.resolve())), (1, 0)))
    return Group(*parts)


def _comparison(
    one: RunFolder,
    two: RunFolder,
    differences: dict[str, tuple[Any, Any]],
    changes: list[ScoreChange],
    everything: bool,
) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.runs.facts import PREFERRED_SPLITS
    from pipeline.runs.tables import (
        SPLIT_WORDS,
        all_changes_table,
        changes_table,
        differences_table,
    )

    names = (one.info["name"], two.info["name"])
    if names[0] == names[1]:  # only the folders tell them apart
        names = (str(one.path), str(two.path))
    same = Text("the configurations are equal", style="dim")
    table = differences_table(differences, *names) if differences else same
    parts: list[RenderableType] = [Padding(table, (1, 0))]
    known = {change.split for change in changes}
    split = next((split for split in PREFERRED_SPLITS if split in known), None)
    if split is None:
        parts.append(Text("nothing has been evaluated yet", style="dim"))
    elif everything:
        parts.append(all_changes_table(changes, *names))
    else:
        title = f"{names[0]} → {names[1]} on {SPLIT_WORDS[split]} (all splits, intervals: --all)"
        parts += [Text(title, style="dim"), changes_table(changes, split)]
    return Padding(Group(*parts), (0, 0, 1, 0))
