"""``specdrive simulate``: drive controllers in simulated worlds and judge their traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from pipeline.inputs import Candidate
    from pipeline.simulation_tables import Shown
    from verifier.controller import Controller
    from worlds.simulation.campaign import Campaign, Settings
    from worlds.simulation.sequential import Comparison

_CHECK_SEEDS = (0, 1, 2)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("simulate")
@click.argument("files", nargs=-1, metavar="[CONTROLLER...]")
@click.option("--world", "-w", metavar="KIND/SCENARIO", help="A simulated world; see --list.")
@click.option("--task-action", metavar="ACTION", help="The manoeuvre asked for: turn_right, ...")
@click.option(
    "--episodes",
    "-n",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Per controller.",
)
@click.option("--seed", default=0, show_default=True, help="Of the first episode.")
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(min=1), help="Processes."
)
@options.semantics_option
@click.option(
    "--rules",
    "-r",
    default="road",
    show_default=True,
    type=click.Choice(["road", "paper"]),
    help="The rule book that is shown and decides the exit code; JSON has both.",
)
@options.vocabulary_option
@click.option(
    "--max-seconds",
    default=120.0,
    show_default=True,
    type=_POSITIVE,
    metavar="SECONDS",
    help="Simulated time after which an episode counts as unfinished.",
)
@click.option(
    "--wall-seconds",
    default=120.0,
    show_default=True,
    type=_POSITIVE,
    metavar="SECONDS",
    help="Wall-clock time after which a simulator counts as hung.",
)
@click.option(
    "--rank",
    is_flag=True,
    help="With two controllers: stop as soon as it is clear which one is better.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Draw how often each rule is kept, one or two controllers.",
)
@click.option("--details", is_flag=True, help="Everything that was lost or is impossible.")
@click.option("--traces", is_flag=True, help="With --json: every episode, too.")
@click.option("--list", "list_worlds", is_flag=True, help="List the simulated worlds.")
@click.option("--check", metavar="KIND/SCENARIO", help="Check that a simulator keeps its contract.")
@options.json_option
def command(
    files: tuple[str, ...],
    world: str | None,
    task_action: str | None,
    episodes: int,
    seed: int,
    workers: int,
    semantics: str,
    rules: str,
    vocabulary: str,
    max_seconds: float,
    wall_seconds: float,
    rank: bool,
    plot: Path | None,
    details: bool,
    traces: bool,
    list_worlds: bool,
    check: str | None,
    as_json: bool,
) -> int:
    """Drive controllers in a simulated world, many episodes each, and judge every trace.

    Controllers are steps (.txt), controllers (.json) or folders of them. Of every rule: the share
    of the traces that keep it, with a 95 % interval, beside what the model checker proves in the
    hand-written world; where they differ, why. Two controllers are compared episode by episode.
    """
    words = load_vocabulary(vocabulary)
    if list_worlds:
        return _list(words, as_json)
    if check is not None:
        return _check(check, words, as_json)
    if world is None or not files:
        raise click.UsageError("name a controller and --world, or use --list or --check")

    from pipeline.inputs import deterministic_aligner, read_candidates
    from worlds.simulation.campaign import Settings
    from worlds.simulation.driver import Course

    profile = load_semantics(semantics)
    candidates = read_candidates(files, words, deterministic_aligner(words, profile.conditional))
    controllers = _controllers(candidates)
    if (rank and len(controllers) != 2) or (plot and not 1 <= len(controllers) <= 2):
        what = "--rank compares two" if rank else "--plot draws one or two"
        raise InputError(f"{what} controllers, not {len(controllers)}", remedy="name the files")
    settings = Settings(
        episodes=episodes,
        seed=seed,
        course=Course(profile, max_seconds=max_seconds),
        workers=workers,
        wall_seconds=wall_seconds,
    )
    campaigns, comparison = _drive(controllers, world, task_action, settings, words, rank)
    shown = _shown(campaigns, words, None if as_json else rules)
    if as_json:
        _print_json(candidates, shown, comparison, traces)
    else:
        _print(candidates, shown, comparison, details)
    if plot is not None:
        from pipeline.simulation_plot import draw_before_after

        draw_before_after(_shown(campaigns, words, rules), plot)
    clean = all(
        not campaign.lost and not any(rule.violations for rule in campaign.rules_of(rules))
        for campaign in campaigns
    )
    return 0 if clean and len(controllers) == len(candidates) else 1


def _controllers(candidates: list[Candidate]) -> dict[str, Controller]:
    """Those that could be read, by the shortest names that tell them apart."""
    stems = [Path(candidate.file).stem for candidate in candidates]
    return {
        stem if stems.count(stem) == 1 else candidate.file: candidate.controller
        for stem, candidate in zip(stems, candidates, strict=True)
        if candidate.controller is not None
    }


def _drive(
    controllers: dict[str, Controller],
    world: str,
    task_action: str | None,
    settings: Settings,
    vocabulary: Vocabulary,
    rank: bool,
) -> tuple[list[Campaign], Comparison | None]:
    """Campaigns, and the comparison if there are two."""
    from pipeline.tables import progress_bar
    from worlds.simulation.campaign import compare, race, simulate

    with progress_bar("driving", len(controllers) * settings.episodes) as advance:
        if rank:
            one, other = controllers.items()
            comparison, campaigns = race(
                one, other, world, task_action, settings, vocabulary, advance
            )
            return campaigns, comparison
        campaigns = simulate(controllers, world, task_action, settings, vocabulary, advance)
    if len(campaigns) == 2:
        before, after = campaigns
        return campaigns, compare(before, after, vocabulary)
    return campaigns, None


def _shown(campaigns: list[Campaign], vocabulary: Vocabulary, book: str | None) -> list[Shown]:
    """Campaigns beside the proofs, of one book or of both."""
    from pipeline.simulation_tables import Shown
    from worlds.simulation.agreement import agreement

    return [
        Shown(
            campaign,
            tuple(a for a in agreement(campaign, vocabulary) if book in (None, a.rule.book)),
        )
        for campaign in campaigns
    ]


def _print_json(
    candidates: list[Candidate], shown: list[Shown], comparison: Comparison | None, traces: bool
) -> None:
    from worlds.simulation.agreement import summary

    for candidate in candidates:
        if candidate.controller is None:
            options.print_json({"file": candidate.file, "problems": list(candidate.problems)})
    for one in shown:
        compared = {
            "agreement": summary(one.agreements),
            "rules": [agreement.to_json() for agreement in one.agreements],
        }
        options.print_json(one.campaign.to_json(episodes=traces) | compared)
    if comparison is not None:
        names = [one.label for one in shown]
        options.print_json({"comparison": names, **comparison.to_json()})


def _print(
    candidates: list[Candidate], shown: list[Shown], comparison: Comparison | None, details: bool
) -> None:
    from pipeline import simulation_tables
    from pipeline.tables import make_console

    console = make_console()
    for candidate in candidates:
        for problem in candidate.problems:
            console.print(f"{candidate.file}: not understood: {problem}", style="yellow")
    if comparison is not None:
        before, after = shown
        console.print(simulation_tables.before_after_view(before, after, comparison, details))
    for one in shown if comparison is None or details else ():
        console.print(simulation_tables.campaign_view(one, details))


def _list(vocabulary: Vocabulary, as_json: bool) -> int:
    """Every scenario and the kinds of simulators that have it."""
    from worlds.load import load_scenario
    from worlds.simulation.registry import KINDS, simulated_worlds

    known = simulated_worlds()
    scenarios = dict.fromkeys(name.partition("/")[2] for name in known)
    rows: list[dict[str, Any]] = [
        {
            "scenario": scenario,
            "worlds": [f"{kind}/{scenario}" for kind in KINDS if f"{kind}/{scenario}" in known],
            "text": load_scenario(scenario, vocabulary).text,
        }
        for scenario in sorted(scenarios)
    ]
    if as_json:
        options.print_json(rows)
        return 0
    from pipeline.simulation_tables import worlds_table
    from pipeline.tables import make_console

    make_console().print(
        worlds_table(
            (
                row["scenario"],
                {kind: f"{kind}/{row['scenario']}" in row["worlds"] for kind in KINDS},
                row["text"],
            )
            for row in rows
        )
    )
    return 0


def _check(name: str, vocabulary: Vocabulary, as_json: bool) -> int:
    """Whether a simulator keeps its contract: 1 if something is wrong."""
    from worlds.simulation.check import check_processes, check_simulator
    from worlds.simulation.registry import make_simulator

    findings = check_simulator(lambda: make_simulator(name, vocabulary), vocabulary, _CHECK_SEEDS)
    if not any(finding.severity == "error" for finding in findings):
        findings += check_processes(name, vocabulary, _CHECK_SEEDS)
    if as_json:
        options.print_json({"world": name, "findings": [vars(finding) for finding in findings]})
    else:
        from pipeline.simulation_tables import findings_view
        from pipeline.tables import make_console

        make_console().print(findings_view(name, findings, len(_CHECK_SEEDS)))
    return 1 if any(finding.severity == "error" for finding in findings) else 0
