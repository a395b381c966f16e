"""``specdrive film``: an episode as a GIF, an MP4 or a filmstrip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import Semantics, load_semantics
from verifier.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from verifier.controller import Controller
    from worlds.recording.film import Ride, Violation
    from worlds.simulation.episode import Episode

_SUFFIXES = (".gif", ".mp4", ".png")


@click.command("film")
@click.argument("controller", metavar="CONTROLLER")
@click.option("--world", "-w", required=True, metavar="KIND/SCENARIO", help="A simulated world.")
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help=".gif or .mp4, or .png for a filmstrip; may be given as a name for each.",
    multiple=True,
)
@click.option("--seed", default=0, show_default=True, type=int, help="Of the (first) episode.")
@click.option("--worst", is_flag=True, help="Film the worst of several episodes.")
@click.option(
    "--episodes",
    "-n",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="With --worst: a collision is worst, then most rules broken, then the earliest.",
)
@click.option("--title", metavar="TEXT", help="By default the controller's file.")
@click.option("--speed", default=2.0, show_default=True, type=click.FloatRange(0.1, 50))
@click.option(
    "--zoom",
    default=1.0,
    show_default=True,
    type=click.FloatRange(1, 10),
    help="Show only the middle of the scene, so many times larger.",
)
@click.option("--pictures", default=6, show_default=True, type=click.IntRange(2), help="A strip's.")
@options.rules_option
@options.goal_option
@options.semantics_option
@options.vocabulary_option
@options.json_option
def command(
    controller: str,
    world: str,
    out: tuple[Path, ...],
    seed: int,
    worst: bool,
    episodes: int,
    title: str | None,
    speed: float,
    zoom: float,
    pictures: int,
    rules: str,
    goal: str | None,
    semantics: str,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Film a controller (.txt or .json) in a simulated world.

    Beside the scene stand what the controller sees, which of its steps it follows, what it does,
    and which rule it breaks.
    """
    from pipeline.files import write_bytes
    from pipeline.tables import progress_bar
    from worlds.recording.encoding import Pace, encode
    from worlds.recording.film import Ride, worst_episode
    from worlds.recording.filmstrip import filmstrip
    from worlds.simulation.driver import Course
    from worlds.simulation.registry import make_simulator

    for path in out:
        if path.suffix not in _SUFFIXES:
            raise InputError(
                f"cannot tell what to make of {path.name!r}",
                place="--out",
                remedy="end it in .gif, .mp4, or .png for a filmstrip",
            )
    words, profile = load_vocabulary(vocabulary), load_semantics(semantics)
    book = options.with_goal(load_rules(rules, words), goal, words)
    driven = _read(controller, words, profile)
    simulator = make_simulator(world, words)
    try:
        name = title or Path(controller).stem.replace("_", " ")
        ride = Ride(simulator, driven, goal, Course(profile), book, words, name, zoom)
        chosen = seed
        if worst:
            with progress_bar(f"driving in {world}", episodes) as advance:
                episode, _ = worst_episode(ride, range(seed, seed + episodes), advance)
            chosen = episode.seed
        film = ride.film(chosen)
    finally:
        simulator.close()
    for path in out:
        if path.suffix == ".png":
            write_bytes(path, filmstrip(film, words, pictures))
        else:
            write_bytes(path, encode(film, path.suffix, words, Pace(speed)))
    if as_json:
        options.print_json(_json(ride, film.episode, film.violations, out))
        return
    for path in out:
        click.echo(f"{path}: {world}, seed {chosen}")
    _tell(film.episode, film.violations, words)


def _read(file: str, words: Vocabulary, profile: Semantics) -> Controller:
    from pipeline.inputs import deterministic_aligner, read_candidates

    candidate = read_candidates([file], words, deterministic_aligner(words, profile.conditional))[0]
    if candidate.controller is None:
        raise InputError(candidate.problems[0], file=candidate.file, remedy="mend the step")
    return candidate.controller


def _tell(episode: Episode, violations: tuple[Violation, ...], words: Vocabulary) -> None:
    from worlds.recording.words import outcome

    click.echo(f"{outcome(episode, words)[0]}.")
    for violation in violations:
        when = _seconds(episode, violation)
        moment = "in the end" if when is None else f"after {when:g} s"
        click.echo(f"✗ {moment}: {violation.rule.text or violation.rule.formula}")
    if not violations:
        click.echo("✓ no rule broken")


def _seconds(episode: Episode, violation: Violation) -> float | None:
    if violation.decision is None:
        return None
    return round(episode.decisions[violation.decision].seconds, 3)


def _json(
    ride: Ride, episode: Episode, violations: tuple[Violation, ...], out: tuple[Path, ...]
) -> dict[str, object]:
    return {
        "files": [str(path) for path in out],
        "world": ride.simulator.name,
        "seed": episode.seed,
        "outcome": episode.outcome,
        "hash": episode.hash,
        "violations": [
            {"id": v.rule.id, "decision": v.decision, "seconds": _seconds(episode, v)}
            for v in violations
        ],
    }
