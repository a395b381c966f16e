"""``specdrive generate``: sample a language model's answers to tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipeline.commands import options
from pipeline.files import write_text
from pipeline.prompts import load_template
from pipeline.sampling import sample_tasks
from pipeline.tasks import Task, load_tasks
from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary


@click.command("generate")
@click.option("--tasks", default="driving", show_default=True, help="A bank's name or a file.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many tasks.")
@click.option("--samples", "-n", default=4, show_default=True, type=click.IntRange(min=1))
@click.option("--model", default="smollm2", show_default=True, help="Name, hub id or folder.")
@click.option("--adapter", type=click.Path(path_type=Path), metavar="DIR", help="A LoRA adapter.")
@click.option("--device", default="auto", show_default=True)
@options.engine_option
@click.option("--prompt", default="observed", show_default=True, help="A template's name or file.")
@click.option("--seed", default=0, show_default=True)
@click.option("--temperature", default=0.5, show_default=True)
@click.option("--top-p", default=1.0, show_default=True)
@click.option("--max-new-tokens", default=120, show_default=True)
@click.option("--constrained", is_flag=True, help="Only steps in the vocabulary can be produced.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="JSON Lines; default: stdout.")
@options.vocabulary_option
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout, also with --out.")
def command(
    tasks: str,
    split: str | None,
    limit: int | None,
    samples: int,
    model: str,
    adapter: Path | None,
    device: str,
    engine: str,
    prompt: str,
    seed: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    constrained: bool,
    out: Path | None,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Sample answers. The same seed gives the same answers; known ones come from the cache."""
    words = load_vocabulary(vocabulary)
    chosen = [t for t in load_tasks(tasks, words) if split in (None, t.split)][:limit]
    if not chosen:
        raise InputError(f"no tasks in split {split}", file=tasks, remedy="choose another split")
    template = load_template(prompt)

    from pipeline.generation import Sampling
    from pipeline.models import load_model
    from pipeline.tables import progress_bar

    sampling = Sampling(temperature, top_p, max_new_tokens, seed)
    with progress_bar("sampling", len(chosen) * samples) as advance:
        answers = sample_tasks(
            load_model(model, device, adapter=adapter, engine=engine),
            chosen,
            template,
            words,
            samples,
            sampling,
            constrained=constrained,
            on_answers=lambda done: advance(len(done)),
        )
    by_id = {task.id: task for task in chosen}
    lines = "".join(
        json.dumps(_row(by_id[answer.task], answer.to_json()), ensure_ascii=False) + "\n"
        for answer in answers
    )
    if out is not None:
        write_text(out, lines)
    if as_json or out is None:
        click.echo(lines, nl=False)
    else:
        click.echo(f"{out}: {len(answers)} answers to {len(chosen)} tasks")


def _row(task: Task, answer: dict[str, Any]) -> dict[str, Any]:
    about = {"wording": task.prompt, "world": task.world, "action": task.action}
    return {"task": answer.pop("task"), **about, "split": task.split, **answer}
