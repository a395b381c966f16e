"""``specdrive run``: rounds of sampling, verification and training, and what came of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options

if TYPE_CHECKING:
    from pipeline.runs.launch import Outcome

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one value of the configuration, e.g. train.lora.rank=8; repeatable.",
)
tracking_option = click.option(
    "--tracking-uri",
    metavar="URI",
    help="The MLflow store; default: the configuration's, MLFLOW_TRACKING_URI, a local database.",
)
INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


@click.command("run")
@click.argument("config")
@set_option
@click.option("--resume", is_flag=True, help="Continue the run that is there; else start it.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The run's folder; default: runs/NAME.",
)
@click.option("--name", metavar="NAME", help="The run's name; default: the configuration's.")
@tracking_option
@options.json_option
@click.pass_context
def command(
    context: click.Context,
    config: str,
    overrides: tuple[str, ...],
    resume: bool,
    folder: Path | None,
    name: str | None,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Sample, verify, repair, rank, train and evaluate, round by round; then report.

    CONFIG is a .yaml file, a name (quick, reproduce, llama2-7b), or a run's folder, whose
    configuration is then used. A run that was stopped, by whatever means, goes on with --resume;
    what is finished is not done again unless it depends on something that has changed.
    """
    from pipeline.config import load_config
    from pipeline.runs.folder import is_run
    from pipeline.runs.launch import carry_out

    if name is not None:
        overrides = (*overrides, f"name={json.dumps(name)}")
    settings = load_config(config, overrides)
    if folder is None and resume and name is None and is_run(Path(config)):
        folder = Path(config)
    try:
        outcome = carry_out(settings, folder, resume=resume, tracking_uri=tracking_uri)
    except KeyboardInterrupt:
        path = folder or Path("runs") / settings.name
        again = f"what is finished is kept; continue with: specdrive run {path} --resume"
        click.echo(f"specdrive: interrupted; {again}", err=True)
        context.exit(INTERRUPTED)
    if as_json:
        options.print_json(_to_json(outcome))
    else:
        _print(outcome)


def _to_json(outcome: Outcome) -> dict[str, Any]:
    from pipeline.runs.scores import model_scores, scores_json, selection, stage_seconds

    run = outcome.run
    return {
        "run": str(run.path),
        "name": run.config.name,
        "stages": len(outcome.steps),
        "carried_out": outcome.carried_out,
        "models": [scores_json(one) for one in model_scores(run, outcome.steps)],
        "selection": selection(run),
        "seconds": stage_seconds(run, outcome.steps),
        "report": str(outcome.report) if outcome.report else None,
    }


def _print(outcome: Outcome) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.runs.tables import scores_view
    from pipeline.tables import make_console

    console = make_console()
    console.print(scores_view(outcome.run, outcome.steps))
    if outcome.report is not None:
        console.print(
            Padding(Text.assemble(("report  ", "dim"), str(outcome.report.resolve())), (0, 0, 1, 0))
        )
