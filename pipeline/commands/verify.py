"""``specdrive verify``: model-check controllers against a rule book in a world."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from pipeline.commands import options
from pipeline.files import write_bytes
from pipeline.inputs import Aligner, Candidate, deterministic_aligner, read_candidates
from verifier.checker import Checker
from verifier.rules import load_rules
from verifier.semantics import Semantics, load_semantics
from verifier.transition_system import TransitionSystem
from verifier.verdicts import Report
from verifier.vocabulary import Vocabulary, load_vocabulary
from worlds.load import load_world


@click.command("verify")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.world_option
@options.rules_option
@options.semantics_option
@options.vocabulary_option
@options.goal_option
@click.option(
    "--align",
    type=click.Choice(["deterministic", "model"]),
    default="deterministic",
    show_default=True,
    help="How steps are aligned: by vocabulary and synonyms, or by a language model whose "
    "decoding is constrained to the vocabulary.",
)
@click.option("--model", default="smollm2", show_default=True, help="For --align model.")
@click.option(
    "--draw",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Draw the controllers and counterexamples into this folder (SVG and PNG).",
)
@click.option("--details", is_flag=True, help="Every verdict, also of many files.")
@options.time_limit_option
@options.json_option
def command(
    files: tuple[str, ...],
    world: str,
    rules: str,
    semantics: str,
    vocabulary: str,
    goal: str | None,
    align: str,
    model: str,
    draw: Path | None,
    details: bool,
    time_limit: float,
    as_json: bool,
) -> int:
    """Model-check controllers: steps (.txt), controllers (.json) or folders of them.

    With --json: one report per line and file.
    """
    words = load_vocabulary(vocabulary)
    profile = load_semantics(semantics)
    book = options.with_goal(load_rules(rules, words), goal, words)
    place = load_world(world, words)
    checker = Checker(place, book, profile, words, time_limit)
    aligner = _aligner(align, model, words, profile, place)
    candidates = read_candidates(files, words, aligner)
    reports = []
    for candidate in candidates:
        report = _report(checker, candidate)
        reports.append(report)
        if as_json:
            options.print_json(report.to_json())
    if not as_json:
        if align == "model":
            _print_rephrased(candidates)
        _print(reports, checker, details)
    if draw is not None:
        _draw(draw, checker, candidates, reports)
    return 0 if all(report.clean for report in reports) else 1


def _report(checker: Checker, candidate: Candidate) -> Report:
    if candidate.controller is None:
        report = checker.unknown(candidate.problems)
    else:
        report = checker.check(candidate.controller)
    return dataclasses.replace(report, file=candidate.file)


def _aligner(
    align: str, model: str, vocabulary: Vocabulary, profile: Semantics, world: TransitionSystem
) -> Aligner:
    if align == "deterministic":
        return deterministic_aligner(vocabulary, profile.conditional)
    from pipeline.alignment import model_aligner
    from pipeline.prompts import Scene

    scene = Scene("", None, world.propositions, vocabulary.action_names)
    return model_aligner(model, vocabulary, profile.conditional, scene)


def _print(reports: list[Report], checker: Checker, details: bool) -> None:
    from pipeline import tables

    console = tables.make_console()
    if details or len(reports) <= 3:
        for report in reports:
            console.print(tables.report_view(report, checker.rules))
    else:
        console.print(tables.summary_table(reports))


def _print_rephrased(candidates: list[Candidate]) -> None:
    """What the model made of the texts: the verdicts are about these steps."""
    for candidate in candidates:
        if candidate.controller is not None:
            click.echo(f"{candidate.file}, as rephrased by the model:")
            for number, step in enumerate(candidate.controller.steps, start=1):
                click.echo(f"  {number}. {step}")


def _draw(
    folder: Path, checker: Checker, candidates: list[Candidate], reports: list[Report]
) -> None:
    from verifier.dot import controller_dot, counterexample_dot
    from verifier.drawing import render

    specifications = {s.id: s for s in checker.rules.specifications}
    for candidate, report in zip(candidates, reports, strict=True):
        controller = candidate.controller
        if controller is None:
            continue
        drawings = {"": controller_dot(controller, checker.vocabulary)} | {
            f".{verdict.id}": counterexample_dot(
                verdict.counterexample,
                specifications[verdict.id],
                controller.steps,
                checker.vocabulary,
            )
            for verdict in report.verdicts
            if verdict.counterexample is not None
        }
        for part, drawing in drawings.items():
            for form in ("svg", "png"):
                target = folder / f"{Path(candidate.file).stem}{part}.{form}"
                write_bytes(target, render(drawing, form))
