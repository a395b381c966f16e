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
    from rich.console import Console

    from pipeline.evaluation import Judge, Summary
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
@click.option(
    "--samples",
    "-n",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="Answers per task.",
)
@click.option("--seed", default=0, show_default=True, help="Of sampling.")
@click.option(
    "--temperature", default=0.2, show_default=True, help="0 takes the most probable token."
)
@click.option("--max-new-tokens", default=120, show_default=True, help="Limit per answer.")
@click.option("--constrained", is_flag=True, help="Only steps in the vocabulary can be produced.")
@click.option("--prompt", default="observed", show_default=True, help="A template's name or file.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@options.engine_option
@options.semantics_option
@options.vocabulary_option
@click.option("--details", is_flag=True, help="Every task and every rule.")
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
    engine: str,
    semantics: str,
    vocabulary: str,
    details: bool,
    as_json: bool,
) -> None:
    """Sample answers to tasks, model-check every one, and report rates with 95 % intervals.

    MODEL is smollm2 (the default), a local folder or a Hugging Face id; a folder may be a
    quantized checkpoint. The tasks' worlds are shipped ones or files beside the task file. Known
    answers come from the cache.
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

    judge = Judge(words, profile)
    sampling = Sampling(temperature, 1.0, max_new_tokens, seed)
    loaded = load_model(model, device, adapter=adapter, engine=engine)
    with progress_bar("sampling", len(chosen) * samples) as advance:
        card = evaluate_tasks(
            loaded,
            chosen,
            template,
            judge,
            samples,
            sampling,
            constrained=constrained,
            on_answers=lambda done: advance(len(done)),
        )
    if as_json:
        options.print_json(card.to_json())
    else:
        _print(card, judge, details or len(chosen) <= _FEW, details)


def _print(card: Scorecard, judge: Judge, each_task: bool, every_rule: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.scorecard import explained
    from pipeline.tables import make_console, plain_table

    console = make_console()
    adapter = f" with {card.model.adapter}" if card.model.adapter is not None else ""
    total, how = card.summary, card.sampling
    console.print(
        Text.assemble(
            (f"{card.model.identifier}{adapter}", "bold"),
            f": {_count(total.answers, 'answer')} to {_count(len(card.tasks), 'task')} "
            f"(temperature {how.temperature:g}, seed {how.seed}), "
            f"{_count(total.distinct, 'distinct controller')}, {total.distinct_correct} correct",
        )
    )
    groups = card.by_task if each_task else card.by_world
    table = plain_table("task" if each_task else "world", "answers", *_RATES)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, summary in groups.items():
        table.add_row(Path(name).name, str(summary.answers), *_percents(summary))
    if len(groups) > 1:
        table.add_row("all", str(total.answers), *_percents(total), style="bold")
    console.print(Padding(table, (1, 0)))
    _print_rules(console, card, judge, every_rule)
    if card.worst is not None:
        verdict = explained(card.worst)
        console.print(Padding(Text("The worst counterexample", style="bold"), (1, 0, 0, 0)))
        console.print(Text(f"Asked to {card.worst.task.prompt}, the model answered:"))
        console.print(Padding(Text(card.worst.text.strip(), style="cyan"), (0, 0, 0, 2)))
        console.print(Text.assemble((f"{verdict.id}: ", "red"), verdict.explanation or ""))
    if card.unread is not None:
        unread = total.answers - round((total.parse_rate.value or 0) * total.answers)
        heading = f"Not readable: {unread} of {total.answers} answers, the first of them"
        console.print(Padding(Text(heading, style="bold"), (1, 0, 0, 0)))
        console.print(Padding(Text(card.unread.text.strip(), style="cyan"), (0, 0, 0, 2)))
        console.print(Text(card.unread.alignment.problems[0].to_line(), style="yellow"))


def _print_rules(console: Console, card: Scorecard, judge: Judge, every_rule: bool) -> None:
    """How often each rule was broken; those that never were are only counted."""
    from rich.text import Text

    from pipeline.evaluation import PROGRESS
    from pipeline.tables import plain_table, verdict_bar, verdict_key

    texts = {
        (book.name, rule.id): rule.text
        for book in (judge.road, judge.paper)
        for rule in book.specifications
    } | {(judge.road.name, PROGRESS): "The manoeuvre is made in the end."}
    table = plain_table("rule", "answers under which it holds", "what it says")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    kept = 0
    for key, counts in card.summary.rules.items():
        broken = counts.get("violated", 0)
        kept += not broken
        if broken or every_rule:
            table.add_row(" ".join(key), verdict_bar(counts), texts.get(key, ""))
    if table.row_count:
        console.print(table)
        console.print(verdict_key())
    if kept and not every_rule:
        console.print(Text(f"{kept} rules were never broken (--details shows them)", style="dim"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _percents(summary: Summary) -> tuple[str, ...]:
    rates = (summary.parse_rate, summary.paper_score, summary.strict_success)
    return tuple(rate.percent() for rate in rates)
