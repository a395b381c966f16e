"""``specdrive show``: controllers and worlds as pictures or text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click

from pipeline.commands import options
from pipeline.files import write_bytes
from pipeline.inputs import deterministic_aligner, read_candidates
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

_FORMATS = ("png", "svg", "dot", "text", "json", "smv")

_format_option = click.option(
    "--format", "-f", "form", type=click.Choice(_FORMATS), default="text", show_default=True
)
_out_option = click.option(
    "--out", "-o", type=click.Path(path_type=Path), metavar="PATH", help="Default: stdout."
)


@click.group("show")
def command() -> None:
    """Draw or print a controller or a world."""


@command.command("controller")
@click.argument("file")
@_format_option
@_out_option
@click.option("--canonical", is_flag=True, help="Reduce it first; loses steps and words.")
@options.semantics_option
@options.vocabulary_option
def show_controller(
    file: str, form: str, out: Path | None, canonical: bool, semantics: str, vocabulary: str
) -> None:
    """FILE: steps (.txt) or a controller (.json). Text form: plain-English steps."""
    words, profile = load_vocabulary(vocabulary), load_semantics(semantics)
    align = deterministic_aligner(words, profile.conditional)
    for candidate in read_candidates([file], words, align)[:1]:
        controller = candidate.controller
        if controller is None:
            raise InputError(candidate.problems[0], file=file, remedy="mend the step")
        if canonical:
            from verifier.canonical import canonical as reduce

            controller = reduce(controller)
        if form == "text":
            from verifier.steps import controller_to_steps

            steps = controller_to_steps(controller, words)
            lines = [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
            _emit("\n".join(lines).encode() + b"\n", out, form)
        elif form == "json":
            import json

            from verifier.controller import controller_to_json

            _emit(json.dumps(controller_to_json(controller), indent=1).encode() + b"\n", out, form)
        elif form == "smv":
            from verifier.smv import controller_smv

            _emit(controller_smv(controller, words, profile).encode(), out, form)
        else:
            from verifier.dot import controller_dot
            from verifier.drawing import Format, render

            _emit(render(controller_dot(controller, words), cast(Format, form)), out, form)


@command.command("world")
@click.argument("name", metavar="FILE")
@_format_option
@_out_option
@options.vocabulary_option
@click.pass_context
def show_world(ctx: click.Context, name: str, form: str, out: Path | None, vocabulary: str) -> None:
    """FILE: a shipped world's name or a .yaml file."""
    from worlds.load import load_world

    if form in ("text", "json"):
        from pipeline.commands.worlds import show_world as describe

        if out is not None:
            raise InputError("--out goes with png, svg and dot", remedy="redirect the output")
        ctx.invoke(describe, name=name, vocabulary=vocabulary, as_json=form == "json")
        return
    if form == "smv":
        raise InputError("smv is a format of controllers", remedy="use png, svg, dot or text")
    from verifier.dot import world_dot
    from verifier.drawing import Format, render

    words = load_vocabulary(vocabulary)
    _emit(render(world_dot(load_world(name, words), words), cast(Format, form)), out, form)


def _emit(content: bytes, out: Path | None, form: str) -> None:
    if out is not None:
        write_bytes(out, content)
        click.echo(str(out))
    elif form == "png" and sys.stdout.isatty():
        raise InputError("a PNG is not for the terminal", remedy="add --out FILE.png")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
