"""``specdrive perception effect``: P_Φ of controllers that see through a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.perception_detector import EVALUATION_SEED, condition_option
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from verifier.controller import Controller
    from worlds.perception.effect import Effect, Sight
    from worlds.simulation.interface import Simulator
    from worlds.statistics import Rate

_ACCURACIES = (0.99, 0.95, 0.9, 0.8)


@click.command("effect")
@click.argument("files", nargs=-1, required=True, metavar="CONTROLLER...")
@click.option("--world", "-w", required=True, metavar="W", help="A simulated world.")
@click.option("--action", metavar="ACTION", help="The manoeuvre asked for; any if left out.")
@options.rules_option
@options.semantics_option
@options.vocabulary_option
@click.option(
    "--episodes", "-n", default=200, show_default=True, type=click.IntRange(min=2), metavar="N"
)
@click.option(
    "--accuracy",
    "accuracies",
    multiple=True,
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    help="Of a calibrated noise model, the same for every proposition; may be repeated. "
    f"By default {', '.join(map(str, _ACCURACIES))}, unless there is other noise.",
)
@click.option(
    "--correlation",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Time for which the noise of --accuracy lasts.",
)
@click.option(
    "--noise",
    "noises",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="A noise model (see: specdrive perception calibrate --noise); may be repeated.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A trained detector; may be repeated.",
)
@condition_option
@click.option(
    "--band",
    "bands",
    multiple=True,
    type=click.FloatRange(0, 0.5, max_open=True),
    help="Also stop and look again within this distance of the threshold; may be repeated.",
)
@click.option(
    "--max-seconds",
    default=120.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Simulated time after which an episode is given up.",
)
@click.option(
    "--first-seed",
    default=EVALUATION_SEED,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of the first episode.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Also draw effect.png and, with bands, one picture per controller and detector.",
)
@options.json_option
def effect(
    files: tuple[str, ...],
    world: str,
    action: str | None,
    rules: str,
    semantics: str,
    vocabulary: str,
    episodes: int,
    accuracies: tuple[float, ...],
    correlation: float,
    noises: tuple[Path, ...],
    detectors: tuple[Path, ...],
    condition: str,
    bands: tuple[float, ...],
    max_seconds: float,
    first_seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Drive controllers that are told the truth, or what a detector says; compare P_Φ.

    Traces are judged on the truth. Every way of seeing is driven with the same seeds. The bound
    says how much P_Φ can fall by perception errors at most.
    """
    from pipeline.inputs import deterministic_aligner, read_candidates
    from worlds.simulation.driver import Course
    from worlds.simulation.registry import make_simulator

    words, profile = load_vocabulary(vocabulary), load_semantics(semantics)
    book = load_rules(rules, words)
    candidates = read_candidates(files, words, deterministic_aligner(words, profile.conditional))
    controllers: dict[str, Controller] = {}
    for candidate in candidates:
        if candidate.controller is None:
            raise InputError(
                candidate.problems[0], file=candidate.file, remedy="mend it: specdrive verify"
            )
        controllers[candidate.file] = candidate.controller
    simulator = make_simulator(world, words)
    try:
        _check_action(action, simulator)
        sights = _sights(simulator, accuracies, correlation, noises, detectors, condition, bands)
        seeds = range(first_seed, first_seed + episodes)
        course = Course(profile, max_seconds)
        found = _drive(simulator, controllers, action, course, book, words, sights, seeds)
    finally:
        simulator.close()
    written = [] if out is None else _draw(found, world, out)
    if as_json:
        options.print_json(
            {
                "world": world,
                "rules": book.name,
                "semantics": profile.to_json(),
                "action": action,
                "first_seed": first_seed,
                "controllers": {
                    name: [e.to_json() for e in effects] for name, effects in found.items()
                },
            }
        )
        return
    _print(found)
    for path in written:
        click.echo(f"written: {path}")


def _check_action(action: str | None, simulator: Simulator) -> None:
    if action is not None and action not in simulator.actions:
        raise InputError(
            f"{simulator.name} has no manoeuvre {action!r}",
            place="--action",
            remedy=f"use {', '.join(simulator.actions)}",
        )


def _sights(
    simulator: Simulator,
    accuracies: Sequence[float],
    correlation: float,
    noises: Sequence[Path],
    detectors: Sequence[Path],
    condition: str,
    bands: Sequence[float],
) -> list[Sight]:
    from worlds.perception.effect import Sight
    from worlds.perception.noise import NoisyEyes, load_noise, uniform_noise

    if not (accuracies or noises or detectors):
        accuracies = _ACCURACIES
    rows: list[Sight] = []
    for accuracy in accuracies:
        model = uniform_noise(simulator.propositions, accuracy, correlation)
        rows.append(Sight(f"accuracy {accuracy:g}", NoisyEyes(model), model=model))
    for path in noises:
        model = load_noise(path)
        unknown = sorted(set(model.channels) - set(simulator.propositions))
        if unknown:
            raise InputError(
                f"{simulator.name} does not observe {unknown[0]}",
                file=path,
                remedy="estimate the noise in the same scenario",
            )
        rows.append(Sight(f"noise {path.stem}", NoisyEyes(model), model=model))
    for folder in detectors:
        from worlds.perception.conditions import CONDITIONS
        from worlds.perception.detector import load_detector
        from worlds.perception.detector_eyes import DetectorEyes

        loaded = load_detector(folder)
        loaded.check(simulator.propositions, simulator.name)
        eyes = DetectorEyes(loaded, CONDITIONS[condition])
        name = f"detector {folder.name}" + ("" if condition == "day" else f", {condition}")
        rows.append(Sight(name, eyes))
    widths = sorted({0.0, *bands})
    return [Sight(s.name, s.eyes, band, s.model) for s in rows for band in widths]


def _drive(
    simulator: Simulator,
    controllers: Mapping[str, Controller],
    action: str | None,
    course: Any,
    book: Any,
    words: Vocabulary,
    sights: Sequence[Sight],
    seeds: range,
) -> dict[str, list[Effect]]:
    from pipeline.tables import progress_bar
    from worlds.perception.effect import PERFECT, Setting, drive_all, effect_of

    found: dict[str, list[Effect]] = {}
    total = len(controllers) * (1 + len(sights)) * len(seeds)
    with progress_bar(f"episodes in {simulator.name}", total) as done:
        for name, controller in controllers.items():
            setting = Setting(simulator, controller, action, course, book, words)
            truthful = drive_all(setting, PERFECT, seeds, done)
            found[name] = [effect_of(setting, PERFECT, truthful, truthful)]
            for sight in sights:
                driven = drive_all(setting, sight, seeds, done)
                found[name].append(effect_of(setting, sight, driven, truthful))
    return found


def _draw(found: Mapping[str, Sequence[Effect]], world: str, out: Path) -> list[Path]:
    from pipeline.files import write_bytes
    from worlds.perception.effect_plots import band_picture, effect_picture

    short = {Path(name).stem: effects for name, effects in found.items()}
    if len(short) < len(found):
        short = dict(found)
    pictures = {out / "effect.png": effect_picture(short, f"P_Φ in {world}, by what is seen")}
    for name, effects in short.items():
        for sight in dict.fromkeys(e.condition for e in effects):
            rows = [e for e in effects if e.condition == sight]
            if len(rows) > 1:
                title = f"Unsure → stop: {Path(name).stem}, {sight}"
                file = f"bands_{Path(name).stem}_{sight}.png".replace(" ", "_").replace(",", "")
                pictures[out / file] = band_picture(rows, title)
    for path, content in pictures.items():
        write_bytes(path, content)
    return list(pictures)


def _print(found: Mapping[str, Sequence[Effect]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.tables import make_console, plain_table

    console = make_console()
    for name, effects in found.items():
        console.print(Text(name, style="bold"))
        table = plain_table(
            "seen", "band", "violates nothing %", "finished %", "collides %", "seconds",
            "looks again", "differs %", "at most",
        )  # fmt: skip
        for e in effects:
            bound = "" if e.divergence is None else f"{100 * e.divergence.choice:.1f}"
            table.add_row(
                e.condition,
                f"{e.band:g}" if e.band else "",
                _rate(e.unviolated),
                _percent(e.finished.value),
                _percent(e.collisions.value),
                f"{e.seconds[0]:.1f} ± {e.seconds[1]:.1f}",
                f"{e.hesitations:.1f}" if e.hesitations else "",
                "" if e.condition == "truth" else _percent(e.differs.value),
                bound,
            )
        console.print(Padding(table, (0, 0, 1, 2)))
        _print_specifications(effects)


def _print_specifications(effects: Sequence[Effect]) -> None:
    from rich.padding import Padding

    from pipeline.tables import make_console, plain_table

    changed = [
        name
        for name in effects[0].satisfied
        if any(e.satisfied[name].value != effects[0].satisfied[name].value for e in effects)
    ]
    shown = [e for e in effects if e.band == 0]
    if not changed:
        return
    table = plain_table("P_Φ, %", *(e.condition for e in shown))
    for name in changed:
        cells = []
        for e in shown:
            floor = f" ≥ {100 * e.lowest[name]:.0f}" if name in e.lowest else ""
            cells.append(_rate(e.satisfied[name]) + floor)
        table.add_row(name, *cells)
    make_console().print(Padding(table, (0, 0, 1, 2)))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _rate(rate: Rate) -> str:
    return f"{_percent(rate.value)} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"
