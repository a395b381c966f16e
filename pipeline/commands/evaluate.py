"""``specdrive evaluate``: what a model, with or without an adapter, scores on tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.prompts import load_template
from pipeline.tasks import SPLITS, load_tasks
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from pipeline.evaluation import Summary
    from pipeline.scorecard import Scorecard

_FEW = 12
"""With so few tasks the table has a row for each; otherwise one for each world."""
_RATES = ("readable", "paper score", "strict success")


@click.command("evaluate")
@click.argument("model", default="smollm2", metavar="[MODEL]")
@click.option("--adapter", type=click.Path(path_type=Path), metavar="DIR", help="A LoRA adapter.")
@click.option("--tasks", default="driving", show_default=True, help="A bank's name or a file.")
@click.option(
    "--split", "splits", multiple=True, type=click.Choice(SPLITS), help="Only these; repeatable."
)
@click.option("--samples", "-n", default=4, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--temperature", default=0.5, show_default=True)
@click.option("--max-new-tokens", default=120, show_default=True)
@click.option("--constrained", is_flag=True, help="Only steps in the vocabulary can be produced.")
@click.option("--prompt", default="observed", show_default=True, help="A template's name or file.")
@click.option("--device", default="auto", show_default=True)
@options.semantics_option
@options.vocabulary_option
@click.option("--details", is_flag=True, help="One row per task, also of many tasks.")
@options.json_option
def command(
    model: str,
    adapter: Path | None,
    tasks: str,
    splits: tuple[str, ...],
    samples: int,
    seed: int,
    temperature: float,
    max_new_tokens: int,
    constrained: bool,
    prompt: str,
    device: str,
    semantics: str,
    vocabulary: str,
    details: bool,
    as_json: bool,
) -> None:
    """Sample answers to tasks, model-check every one, and report rates with 95 % intervals.

    MODEL is smollm2 (the default), a local folder or a Hugging Face id. The tasks' worlds are
    shipped ones or files beside the task file. Known answers come from the cache.
    """
    words = load_vocabulary(vocabulary)
    profile = load_semantics(semantics)
    chosen = [t for t in load_tasks(tasks, words) if not splits or t.split in splits]
    if not chosen:
        raise InputError(
            f"no tasks in split {', '.join(splits)}", file=tasks, remedy="choose another split"
        )
    template = load_template(prompt)

    from pipeline.evaluation import Judge
    from pipeline.generation import Sampling
    from pipeline.models import load_model
    from pipeline.scorecard import evaluate_tasks
    from pipeline.tables import progress_bar

    sampling = Sampling(temperature, 1.0, max_new_tokens, seed)
    loaded = load_model(model, device, adapter=adapter)
    with progress_bar("sampling", len(chosen) * samples) as advance:
        card = evaluate_tasks(
            loaded,
            chosen,
            template,
            Judge(words, profile),
            samples,
            sampling,
            constrained=constrained,
            on_answers=lambda done: advance(len(done)),
        )
    if as_json:
        options.print_json(card.to_json())
    else:
        _print(card, details or len(chosen) <= _FEW)


def _print(card: Scorecard, each_task: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.scorecard import explained
    from pipeline.tables import make_console, plain_table, verdict_bar, verdict_key

    console = make_console()
    adapter = f" with {card.model.adapter}" if card.model.adapter is not None else ""
    total = card.summary
    console.print(
        Text.assemble(
            (f"{card.model.identifier}{adapter}", "bold"),
            f": {total.answers} answers to {len(card.tasks)} tasks, "
            f"{total.distinct} distinct controllers, {total.distinct_correct} of them correct",
        )
    )
    groups = card.by_task if each_task else card.by_world
    table = plain_table("task" if each_task else "world", "answers", *_RATES)
    for name, summary in groups.items():
        table.add_row(name, str(summary.answers), *_percents(summary))
    table.add_row("all", str(total.answers), *_percents(total), style="bold")
    console.print(Padding(table, (1, 0)))
    rules = plain_table("rule", "verdicts")
    for (book, rule), counts in total.rules.items():
        rules.add_row(f"{book} {rule}", verdict_bar(counts))
    console.print(rules)
    console.print(verdict_key())
    if card.worst is not None:
        verdict = explained(card.worst)
        console.print(Padding(Text("The worst counterexample", style="bold"), (1, 0, 0, 0)))
        console.print(Text(f"Asked to {card.worst.task.prompt}, the model answered:"))
        console.print(Padding(Text(card.worst.text.strip(), style="cyan"), (0, 0, 0, 2)))
        console.print(Text.assemble((f"{verdict.id}: ", "red"), verdict.explanation or ""))


def _percents(summary: Summary) -> tuple[str, ...]:
    rates = (summary.parse_rate, summary.paper_score, summary.strict_success)
    return tuple(rate.percent() for rate in rates)
