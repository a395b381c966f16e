"""Controllers x specifications per second against three ways to do the same, and growth.

``python -m benchmarks.verification`` writes docs/results/verification.json; ``--quick`` runs a
minute's worth of it and writes nothing. Every comparison is paired: the same models in one run,
in alternating blocks, CPU time of both sides, and the verdicts must be equal.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.answers import Answer, load_answers
from benchmarks.growth import SIZES, growth_rows
from benchmarks.nusmv_peer import Nusmv, NusmvPeer, find_nusmv
from benchmarks.paired import Comparison, Contest, MismatchError, cpu_seconds
from benchmarks.profiling import where_time_goes
from benchmarks.random_models import distinct_controllers, observed
from benchmarks.results import Row, at_least, table_of, write_results
from benchmarks.spot_peer import SpotPeer
from benchmarks.storm_peer import StormPeer
from verifier.canonical import controller_hash
from verifier.checker import Checker
from verifier.controller import Controller
from verifier.rules import RuleBook, load_rules
from verifier.semantics import Semantics, load_semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary, load_vocabulary
from worlds.load import load_world, shipped_worlds

Verdicts = Callable[[Controller], tuple[bool | None, ...]]

PACKAGES = ("spottl", "stormpy", "pyboolnet")
SPOT, CACHED = "Spot from Python", "Spot from Python, negations cached"
STORM, NUSMV = "Storm", "NuSMV-a, a process per controller"
TARGETS = {SPOT: 15.0, NUSMV: 100.0}
"""On distinct controllers, in the world where the ratio is lowest."""
_UNIT = "checks / s"
"""A check is one controller against one specification."""


@dataclass(frozen=True)
class Setting:
    """What every part of the benchmark shares."""

    vocabulary: Vocabulary
    semantics: Semantics
    rules: RuleBook
    nusmv: Nusmv | None
    storm: bool
    seconds: float
    """For one comparison."""

    @property
    def formulas(self) -> list[str]:
        """Of all specifications."""
        return [s.formula for s in self.rules.specifications]

    def ours(self, world: TransitionSystem, vacuity: bool = False) -> Verdicts:
        """Our checker, made ready for the world."""
        checker = Checker(world, self.rules, self.semantics, self.vocabulary)

        def verdicts(controller: Controller) -> tuple[bool, ...]:
            values = checker.values(controller, vacuity=vacuity)
            return tuple(value in ("satisfied", "vacuous") for value, _ in values)

        return verdicts

    def peers(self, world: TransitionSystem) -> Iterator[tuple[str, Verdicts]]:
        """Those that run here, made ready for the world."""
        fixed = (world, self.formulas, self.semantics, self.vocabulary)
        yield SPOT, SpotPeer(*fixed).holds
        yield CACHED, SpotPeer(*fixed, cached=True).holds
        if self.storm:
            yield STORM, StormPeer(world, self.formulas, self.semantics).holds
        if self.nusmv is not None:
            yield NUSMV, NusmvPeer(*fixed, self.nusmv).holds


_MOST_TRANSITIONS = 100_000


def comparable_worlds(names: Sequence[str], setting: Setting) -> list[TransitionSystem]:
    """The shipped worlds of these names, but unions and the free environment.

    The peers have no notion of unions, and take minutes for one controller among the free
    environment's million transitions.
    """
    worlds = [load_world(name, setting.vocabulary) for name in names]
    return [
        world
        for world in worlds
        if all(a.states is None for a in world.assumptions)
        and world.num_transitions <= _MOST_TRANSITIONS
    ]


def distinct_rows(
    worlds: Sequence[TransitionSystem],
    answers: Sequence[Answer],
    setting: Setting,
    show: Callable[[Row], None],
) -> list[Row]:
    """Distinct controllers, world by world; then the median and the lowest over the worlds."""
    found: dict[str, list[tuple[TransitionSystem, Comparison]]] = {}
    rows: list[Row] = []
    count = len(setting.formulas)
    for world in worlds:
        controllers = _controllers_for(world, answers, setting.vocabulary)
        contenders = [(n, p, setting.ours(world)) for n, p in setting.peers(world)]
        with_vacuity = setting.ours(world, vacuity=True)
        contenders.append((f"{SPOT}; ours decides vacuity too", contenders[0][1], with_vacuity))
        for name, peer, ours in contenders:
            comparison = Contest(ours, peer).run(controllers, setting.seconds)
            found.setdefault(name, []).append((world, comparison))
            what = f"distinct controllers in {world.name} ({len(world.states)} states)"
            rows.append(_row(what, name, comparison, count))
            show(rows[-1])
    overall = [row for name in found for row in _overall(name, found[name], setting)]
    return [*overall, *rows]


def _overall(
    name: str, results: Sequence[tuple[TransitionSystem, Comparison]], setting: Setting
) -> Iterator[Row]:
    """Median and lowest over the worlds; where a target is missed, also where our time goes."""
    count = len(setting.formulas)
    ordered = sorted(results, key=lambda result: result[1].ratio)
    ratios = [comparison.ratio for _, comparison in ordered]
    rates = [comparison.rates(count) for _, comparison in ordered]
    yield Row(
        f"distinct controllers, median of {len(ratios)} worlds",
        statistics.median(ours for ours, _ in rates),
        _UNIT,
        name,
        statistics.median(theirs for _, theirs in rates),
        statistics.median(ratios),
        (ratios[0], ratios[-1]),
        note="The spread is over the worlds: lowest and highest.",
    )
    world, lowest = ordered[0]
    worst = _row(f"distinct controllers, lowest: {world.name}", name, lowest, count)
    if name in TARGETS:
        worst = at_least(worst, TARGETS[name])
    if worst.met is False:
        controllers = _controllers_for(world, (), setting.vocabulary)[:300]
        shares = where_time_goes(setting.ours(world), controllers)
        note = f"Missed: {worst.ratio:.3g}× of {TARGETS[name]:g}×. Our time there: {shares}."
        worst = dataclasses.replace(worst, note=note)
    yield worst


def _controllers_for(
    world: TransitionSystem, answers: Sequence[Answer], vocabulary: Vocabulary
) -> list[Controller]:
    """Pairwise different: those of the sampled answers for this world, then random ones."""
    rng = random.Random(world.name)
    names = observed(world, vocabulary) or vocabulary.proposition_names
    drawn = distinct_controllers(1_000, names, vocabulary.action_names, rng)
    sampled = [a.controller for a in answers if a.world == world.name]
    different = {controller_hash(c): c for c in [*sampled, *drawn]}
    controllers = list(different.values())
    rng.shuffle(controllers)
    return controllers


def _row(what: str, peer: str, comparison: Comparison, count: int) -> Row:
    ours, theirs = comparison.rates(count)
    return Row(what, ours, _UNIT, peer, theirs, comparison.ratio, comparison.spread)


def batch_rows(answers: Sequence[Answer], setting: Setting, most: int) -> list[Row]:
    """A batch of sampled answers with its duplicates, from nothing on both sides."""
    by_world: dict[str, list[Controller]] = {}
    for answer in answers[:most]:
        by_world.setdefault(answer.world, []).append(answer.controller)
    worlds = {w.name: w for w in comparable_worlds(list(by_world), setting)}
    spent = Comparison()
    different: set[tuple[str, str]] = set()
    for name, world in worlds.items():
        controllers = by_world[name]
        ours, our_time = _from_nothing(lambda w=world: setting.ours(w), controllers)
        theirs, peer_time = _from_nothing(
            lambda w=world: (
                SpotPeer(w, setting.formulas, setting.semantics, setting.vocabulary).holds
            ),
            controllers,
        )
        if ours != theirs:
            raise MismatchError(f"a sampled answer in {name}: ours {ours}, peer {theirs}")
        spent.add(len(controllers), our_time, peer_time)
        different |= {(name, controller_hash(c)) for c in controllers}
    if not spent.items:
        return []
    number, count = sum(spent.items), len(setting.formulas)
    what = f"batch of {number:,} sampled answers in {len(worlds)} worlds"
    row = _row(what, SPOT, spent, count)
    note = (
        f"{len(different):,} different controllers. Both sides from nothing, world by world: "
        "automata of world and specifications are part of the time; the ratio is that of the "
        "totals, the spread is over the worlds."
    )
    total = sum(spent.peer) / sum(spent.ours)
    return [at_least(dataclasses.replace(row, ratio=total, note=note), 40)]


def _from_nothing(
    make: Callable[[], Verdicts], controllers: Sequence[Controller]
) -> tuple[list[tuple[bool | None, ...]], float]:
    began = cpu_seconds()
    verdicts = make()
    return [verdicts(c) for c in controllers], cpu_seconds() - began


def main() -> None:
    """Run it, print the tables, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute's worth, nothing written")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args()
    vocabulary = load_vocabulary()
    setting = Setting(
        vocabulary,
        load_semantics("default"),
        load_rules("paper", vocabulary),
        find_nusmv(),
        importlib.util.find_spec("stormpy") is not None,
        seconds=0.5 if options.quick else 1.0,
    )
    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, missing in ((STORM, not setting.storm), (NUSMV, setting.nusmv is None)):
        if missing:
            console.print(f"{name}: not here (pip install 'specdrive[bench]')", style="yellow")
    quick_worlds = ("paper_traffic_light", "traffic_light", "two_way_stop")
    names = quick_worlds if options.quick else shipped_worlds()
    answers, texts = load_answers(vocabulary, setting.semantics)
    console.print(f"{len(answers):,} readable of {texts:,} sampled answers")

    def show(row: Row) -> None:
        console.print(f"  {row.what}: {row.ratio or 0:,.1f}x {row.peer}", style="dim")

    rows = distinct_rows(comparable_worlds(names, setting), answers, setting, show)
    rows += batch_rows(answers, setting, most=300 if options.quick else 3_000)
    sizes, largest = (SIZES[:3], SIZES[2]) if options.quick else (SIZES, SIZES[-1])
    rows += growth_rows(sizes, setting.storm, largest, largest)
    console.print(table_of("verification (a check: one controller, one specification)", rows))
    if options.output or not options.quick:
        write_results("verification", rows, PACKAGES, options.output)


if __name__ == "__main__":
    main()
