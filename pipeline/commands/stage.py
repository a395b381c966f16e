"""``specdrive stage``: one stage of a run, for schedulers and for doing something again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.commands.run import INTERRUPTED, set_option, tracking_option
from verifier.errors import InputError

if TYPE_CHECKING:
    from pipeline.runs.folder import RunFolder
    from pipeline.runs.plan import Step


@click.command("stage")
@click.argument("name")
@click.option("--run", "run_name", required=True, metavar="DIR", help="The run's folder or name.")
@click.option(
    "--round",
    "number",
    type=click.IntRange(min=0),
    metavar="N",
    help="0 is the base; default: the first round in which it is not finished, else the last.",
)
@click.option("--variant", metavar="NAME", help="In this variant instead of a round.")
@click.option("--force", is_flag=True, help="Also if its results are there, or damaged.")
@click.option(
    "--config", metavar="CONFIG", help="Make the run with this configuration if it is not there."
)
@set_option
@tracking_option
@options.json_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    run_name: str,
    number: int | None,
    variant: str | None,
    force: bool,
    config: str | None,
    overrides: tuple[str, ...],
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Carry out one stage: generate, verify, repair, rank, train, evaluate, select or quantize.

    What it needs must be finished. Results that are there and up to date are kept.
    """
    from pipeline.runs.facts import duration, fact
    from pipeline.runs.folder import open_run
    from pipeline.runs.launch import carry_out_stage, prepare
    from pipeline.runs.scores import step_seconds
    from pipeline.training.processes import dismiss, is_follower

    if is_follower():
        _follow(context)
        return
    if config is not None:
        prepare(config, overrides, Path(run_name))
    elif overrides:
        raise InputError("--set needs --config", remedy="or set it with: specdrive run --resume")
    run = open_run(run_name)
    step = _choose(run, name, number, variant)
    try:
        changed = carry_out_stage(run, step, force=force, tracking_uri=tracking_uri)
        dismiss()
    except KeyboardInterrupt:
        click.echo("specdrive: interrupted; run the same command to continue", err=True)
        context.exit(INTERRUPTED)
    folder = run.path / step.folder
    if as_json:
        found = {
            "run": str(run.path),
            "stage": step.stage,
            "round": step.round,
            "variant": step.variant,
            "folder": str(folder),
            "carried_out": changed,
            "seconds": step_seconds(run, step),
        }
        options.print_json(found)
    else:
        done = f"done in {duration(step_seconds(run, step) or 0)}" if changed else "up to date"
        click.echo(f"{step.title}: {done}; {fact(step, folder)}")


def _follow(context: click.Context) -> None:
    """As one of several processes, only help the first to train."""
    from pipeline.stages.train import take_part

    try:
        take_part()
    except InputError:  # the first process says what it is
        context.exit(2)


def _choose(run: RunFolder, stage: str, number: int | None, variant: str | None) -> Step:
    """The step that was asked for.

    Raises:
        InputError: There is none.
    """
    from pipeline.runs.engine import Engine, Silent
    from pipeline.runs.plan import ENDING, find_steps, plan, shipped_stages

    stages = shipped_stages()
    steps = plan(run.config, stages)
    found = find_steps(steps, stage, number, variant)
    if stage in ENDING and all(step.stage != stage for step in steps):
        raise InputError(
            f"the run has no stage {stage!r}",
            file=run.path,
            remedy=f"give it one: specdrive run {run.path} --resume --set {stage}.enabled=true",
        )
    if not found:
        where = f"variant {variant!r}" if variant is not None else f"round {number}"
        places = ", ".join(s.title for s in steps if s.stage == stage)
        raise InputError(
            f"no stage {stage!r} in {where}", file=run.path, remedy=f"there are: {places}"
        )
    if len(found) == 1:
        return found[0]
    from pipeline.runs.surroundings import outside_inputs

    engine = Engine(run, stages, outside_inputs(run.config), Silent())
    return next((step for step in found if engine.state(step) != "finished"), found[-1])
