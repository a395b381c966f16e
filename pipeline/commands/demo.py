"""``specdrive demo``: the main job on real input, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.prompts import load_template
from pipeline.tasks import load_tasks
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from pipeline.demo import Demo


@click.command("demo")
@click.option(
    "--out",
    "-o",
    default="demo-report",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The report folder.",
)
@click.option("--tasks", "count", default=12, show_default=True, type=click.IntRange(min=1))
@click.option("--samples", "-n", default=4, show_default=True, type=click.IntRange(min=1))
@click.option("--model", default="smollm2", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(out: Path, count: int, samples: int, model: str, seed: int, as_json: bool) -> None:
    """A real model answers driving tasks; every answer is model-checked and reported."""
    from pipeline.demo import choose_tasks, run_demo, write_artefacts
    from pipeline.evaluation import Judge
    from pipeline.files import write_text
    from pipeline.generation import Sampling
    from pipeline.models import load_model
    from pipeline.report import demo_page
    from pipeline.tables import progress_bar

    words = load_vocabulary()
    tasks = choose_tasks(load_tasks("driving", words), count)
    judge = Judge(words, SHIPPED["default"])
    sampling = Sampling(temperature=0.5, max_new_tokens=120, seed=seed)
    with progress_bar("sampling", 2 * samples * len(tasks)) as advance:
        demo = run_demo(
            load_model(model), tasks, load_template("observed"), judge, sampling, samples, advance
        )
    write_artefacts(demo, out, words)
    write_text(out / "index.html", demo_page(demo, words))
    if as_json:
        click.echo((out / "summary.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print(demo, out)


def _print(demo: Demo, out: Path) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.demo import worst_verdict
    from pipeline.tables import make_console, plain_table, verdict_bar, verdict_key

    console = make_console()
    table = plain_table("answers", "number", "readable", "paper score", "strict success")
    for one in demo.series:
        s = one.summary
        rates = (s.parse_rate, s.paper_score, s.strict_success)
        table.add_row(one.name, str(s.answers), *(rate.percent() for rate in rates))
    console.print(Padding(table, (1, 0)))
    rules = plain_table("rule", *(one.name for one in demo.series))
    for key in dict.fromkeys(key for one in demo.series for key in one.summary.rules):
        counts = [one.summary.rules.get(key, {}) for one in demo.series]
        rules.add_row(Text(key[1]), *(verdict_bar(count) for count in counts))
    console.print(rules)
    console.print(verdict_key())
    if demo.worst is not None:
        verdict = worst_verdict(demo.worst)
        console.print(Padding(Text("The worst counterexample", style="bold"), (1, 0, 0, 0)))
        console.print(Text(f"Asked to {demo.worst.task.prompt}, the model answered:"))
        console.print(Padding(Text(demo.worst.text.strip(), style="cyan"), (0, 0, 0, 2)))
        console.print(Text.assemble((f"{verdict.id}: ", "red"), verdict.explanation or ""))
    seconds = demo.seconds
    cached = " (known answers come from the cache)" if seconds["sampling"] < 10 else ""
    console.print(
        Padding(
            Text(
                f"{seconds['sampling']:.0f} s of sampling{cached}, {seconds['verification']:.1f} s "
                f"of verification. The report: {(out / 'index.html').resolve()}"
            ),
            (1, 0, 0, 0),
        )
    )
