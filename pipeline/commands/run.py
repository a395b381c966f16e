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
@click.option("--resume", is_flag=True, help="Continue the run that is there, or start it.")
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

    CONFIG is a .yaml file, a name (quick, reproduce, simulated, llama2-7b), or a run's folder,
    whose configuration is then used.

    A run that was stopped, by whatever means, goes on with --resume. What is finished is kept.
    If the configuration, the model or a file that it names has changed since, the stages that
    depend on the change are done again, and nothing else is; with --set train.beta=0.2, for
    instance, everything from the first training on.

    Exit codes: 0 the run is complete; 2 it cannot go on, one line says why; 130 interrupted.
    """
    from pipeline.config_files import load_config
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

    from pipeline.runs.tables import labelled, scores_view
    from pipeline.tables import make_console

    console = make_console()
    run = outcome.run
    if not outcome.carried_out:
        console.print(f"{run.path} is complete: nothing had to be done", style="dim")
    console.print(scores_view(run, outcome.steps))
    places = {"results": f"{run.path}   (specdrive runs show {run.path})"}
    if outcome.report is not None:
        places["report"] = str(outcome.report.resolve())
    if outcome.store is not None:
        is_server = outcome.store.startswith(("http://", "https://"))
        view = "" if is_server else "mlflow ui --backend-store-uri "
        places["mlflow"] = f"{view}{outcome.store}"
    for label, what in places.items():
        console.print(Padding(labelled(label, what), 0))
