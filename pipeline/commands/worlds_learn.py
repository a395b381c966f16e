"""``specdrive worlds record``, ``learn`` and ``conform``: worlds from simulators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pipeline.commands import options
from verifier.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from worlds.learned.fairness import Choice
    from worlds.learned.model import LearnedWorld
    from worlds.learned.recordings import Recording

_files_argument = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_scenario_option = click.option(
    "--scenario",
    metavar="W",
    help="The hand-written world to compare with; by default the one that was simulated.",
)


@click.command("record")
@click.argument("world", metavar="KIND/SCENARIO")
@click.option("--out", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--episodes", "-n", default=100, show_default=True, type=click.IntRange(1))
@click.option("--steps", default=120, show_default=True, type=click.IntRange(1), help="At most.")
@click.option(
    "--driver",
    type=click.Choice(["hold", "explore"]),
    default="hold",
    show_default=True,
    help="The car holds before the place, or moves at random moments.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Of the first episode.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Processes. 0: this one, without protection from simulators that crash or hang.",
)
@options.vocabulary_option
@options.json_option
def record_world(
    world: str,
    out: Path,
    episodes: int,
    steps: int,
    driver: str,
    seed: int,
    workers: int,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Record what can be observed in a simulated world, episode by episode (JSON Lines)."""
    from pipeline.files import write_text
    from pipeline.tables import progress_bar
    from worlds.learned.recorder import RecordingPlan, record_episodes
    from worlds.learned.recordings import recordings_to_lines

    words = load_vocabulary(vocabulary)
    plan = RecordingPlan(world, steps, driver, workers)
    with progress_bar(f"recording {world}", episodes) as advance:
        recorded = record_episodes(plan, range(seed, seed + episodes), words, advance)
    write_text(out, recordings_to_lines(recorded.recordings))
    recordings = recorded.recordings
    labels = len({label for r in recordings for label in r.labels})
    facts: dict[str, Any] = {
        "world": world,
        "driver": driver,
        "file": str(out),
        "episodes": len(recordings),
        "steps": sum(r.steps for r in recordings),
        "labels": labels,
        "lost": [lost.to_json() for lost in recorded.lost],
    }
    if as_json:
        options.print_json(facts)
        return
    click.echo(
        f"{out}: {facts['episodes']:,} episodes, {facts['steps']:,} steps, "
        f"{labels:,} distinct labels"
    )
    for lost in recorded.lost:
        click.echo(f"lost: seed {lost.seed}, tried {lost.attempts} times: {lost.reason}")


@click.command("learn")
@_files_argument
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.yaml",
    help="Write the world here, for: specdrive verify --world FILE.yaml",
)
@click.option("--name", metavar="NAME", help="Of the world; by default the file's.")
@click.option(
    "--history",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10),
    help="Labels that a state remembers.",
)
@click.option(
    "--initial",
    type=click.Choice(["first", "all"]),
    default="first",
    show_default=True,
    help="Initial are the states that episodes began in, or all.",
)
@click.option(
    "--assume",
    type=click.Choice(["data", "written", "none"]),
    default="data",
    show_default=True,
    help="Fairness: that the way was clear again and again, if every long episode had it; or the "
    "assumptions of the hand-written world; or none.",
)
@click.option(
    "--compare",
    type=click.Path(exists=True, path_type=str),
    metavar="CONTROLLER",
    help="Verify it here and in the hand-written world, and explain the differences.",
)
@_scenario_option
@options.rules_option
@options.goal_option
@options.semantics_option
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PICTURE",
    help="Draw the learning curve (.png, .svg).",
)
@options.vocabulary_option
@options.json_option
def learn_from_recordings(
    files: tuple[str, ...],
    out: Path | None,
    name: str | None,
    history: int,
    initial: Literal["first", "all"],
    assume: str,
    compare: str | None,
    scenario: str | None,
    rules: str,
    goal: str | None,
    semantics: str,
    plot: Path | None,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Make a world of recordings, and say how much of the simulator they have shown."""
    from pipeline.commands import worlds_learn_views as views
    from pipeline.files import write_bytes, write_text
    from pipeline.tables import make_console
    from worlds.learned.coverage import coverage
    from worlds.learned.model import learn_world
    from worlds.learned.recordings import read_recordings
    from worlds.learned.world_file import world_to_yaml
    from worlds.load import load_scenario

    words = load_vocabulary(vocabulary)
    recordings = read_recordings(files)
    written = scenario or recordings[0].scenario
    title = name or (out.stem if out else "learned_" + Path(written).stem)
    learned = learn_world(recordings, words, name=title, history=history, initial=initial)
    learned, choices = _assume(learned, recordings, assume, written, words)
    covered = coverage(recordings, history)
    rows = _compare(compare, learned, written, rules, goal, semantics, words)
    if out is not None:
        actions = load_scenario(written, words).actions
        reasons = views.reasons(learned, covered, choices)
        write_text(out, world_to_yaml(learned, reasons=reasons, actions=actions))
    if plot is not None:
        write_bytes(plot, views.curve_picture(covered, plot.suffix))
    if as_json:
        facts: dict[str, Any] = {
            "name": title,
            "file": str(out) if out else None,
            "hash": learned.world.hash,
            "coverage": covered.to_json(),
            "taken_to_stay": [learned.world.states[i] for i in learned.stays],
            "assumptions": [choice.to_json() for choice in choices],
        }
        if rows is not None:
            facts["comparison"] = [row.to_json() for row in rows]
        options.print_json(facts)
        return
    console = make_console()
    console.print(views.learned_view(learned, covered, choices, words))
    if rows is not None:
        console.print(views.comparison_view(rows, written, learned.world.name, words))
    for made in filter(None, (out, plot)):
        console.print(f"wrote {made}")


def _assume(
    learned: LearnedWorld,
    recordings: list[Recording],
    assume: str,
    scenario: str,
    words: Vocabulary,
) -> tuple[LearnedWorld, tuple[Choice, ...]]:
    from worlds.learned.assumptions import applicable, proposals, support
    from worlds.learned.fairness import choose_assumptions
    from worlds.load import load_world

    known = learned.world.propositions
    if assume == "none":
        return learned, ()
    if assume == "data":
        candidates = proposals(recordings, known)
        return choose_assumptions(learned, candidates, words, need_support=True)
    formulas = dict.fromkeys(a.formula for a in load_world(scenario, words).assumptions)
    candidates = [support(f, recordings, known) for f in applicable(formulas, known, words)]
    return choose_assumptions(learned, candidates, words, need_support=False)


def _compare(
    controller: str | None,
    learned: LearnedWorld,
    scenario: str,
    rules: str,
    goal: str | None,
    semantics: str,
    words: Vocabulary,
) -> Any:
    if controller is None:
        return None
    from pipeline.inputs import deterministic_aligner, read_candidates
    from verifier.errors import InputError
    from verifier.rules import load_rules
    from verifier.semantics import load_semantics
    from worlds.learned.comparison import compare_worlds
    from worlds.load import load_world

    profile = load_semantics(semantics)
    book = options.with_goal(load_rules(rules, words), goal, words)
    align = deterministic_aligner(words, profile.conditional)
    candidate = read_candidates([controller], words, align)[0]
    if candidate.controller is None:
        raise InputError(candidate.problems[0], file=controller, remedy="mend the step")
    place = load_world(scenario, words)
    return compare_worlds(candidate.controller, place, learned.world, book, profile, words)


@click.command("conform")
@_files_argument
@_scenario_option
@click.option("--examples", default=3, show_default=True, type=click.IntRange(1), help="Per rule.")
@options.vocabulary_option
@options.json_option
def conform_recordings(
    files: tuple[str, ...], scenario: str | None, examples: int, vocabulary: str, as_json: bool
) -> int:
    """Hold recordings against the hand-written world: what it excludes, what it only imagines.

    Exit code 1 if something was recorded that the hand-written world excludes.
    """
    from pipeline.commands import worlds_learn_views as views
    from pipeline.tables import make_console
    from worlds.learned.conformance import conform
    from worlds.learned.recordings import read_recordings
    from worlds.load import load_scenario, load_world

    words = load_vocabulary(vocabulary)
    recordings = read_recordings(files)
    written = scenario or recordings[0].scenario
    found = conform(recordings, load_scenario(written, words), load_world(written, words))
    if as_json:
        options.print_json(found.to_json())
    else:
        make_console().print(views.conformance_view(found, words, examples))
    return int(bool(found.exclusions))
