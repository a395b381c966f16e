"""Options that several sub-commands share, and how their results are printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from verifier.errors import InputError
from verifier.rules import RuleBook, progress_specification
from verifier.vocabulary import Vocabulary

F = TypeVar("F", bound=Callable[..., Any])

world_option = click.option(
    "--world", "-w", required=True, metavar="W", help="A shipped world's name or a .yaml file."
)
rules_option = click.option(
    "--rules",
    "-r",
    default="road",
    show_default=True,
    metavar="R",
    help="A shipped rule book's name or a .yaml file.",
)
semantics_option = click.option(
    "--semantics",
    "-s",
    default="default",
    show_default=True,
    metavar="S",
    help="A semantics profile: default, paper or a .yaml file.",
)
vocabulary_option = click.option(
    "--vocabulary",
    default="driving",
    show_default=True,
    metavar="V",
    help="The domain's words: driving or a .yaml file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
time_limit_option = click.option(
    "--time-limit",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Per specification; beyond it the verdict is unknown.",
)

engine_option = click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "transformers", "native"]),
    help="What samples; native (CPU): as served, unquantized weights in bfloat16. "
    "auto takes it for quantized checkpoints.",
)

goal_option = click.option(
    "--goal", metavar="ACTION", help="Also require the task's manoeuvre: F ACTION."
)


def with_goal(book: RuleBook, goal: str | None, vocabulary: Vocabulary) -> RuleBook:
    """The book with the progress rule of a task, if there is a goal.

    Raises:
        InputError: The goal is not an action.
    """
    if goal is None:
        return book
    if goal not in vocabulary.action_names:
        raise InputError(
            f"unknown action {goal!r}",
            place="--goal",
            remedy=f"use one of {', '.join(vocabulary.action_names)}",
        )
    return book.with_specification(progress_specification(goal))


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))
