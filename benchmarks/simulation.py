"""Simulated worlds: what they cost, what they say of controllers, and whether the proofs agree.

``python -m benchmarks.simulation`` writes docs/results/simulation.json and
docs/pictures/simulation_fig11.png; ``--quick`` runs a little of everything and writes nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.results import FOLDER, Row, table_of, write_results
from benchmarks.simulation_agreement import (
    agreement_rows,
    cause_table,
    compare_all,
    disagreements,
)
from benchmarks.simulation_controllers import Entrant, entrants
from benchmarks.simulation_crew import crew_rows
from benchmarks.simulation_paper import (
    PICTURE,
    draw_paper_figure,
    drive_paper_controllers,
    paper_rows,
    paper_table,
)
from benchmarks.simulation_speed import speed_rows
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary, load_vocabulary

PACKAGES = ("highway-env", "gymnasium", "eclipse-sumo", "libsumo", "numpy", "spottl")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        blocks: Of each comparison of speed.
        block: Episodes in one of them.
        rounds: In which crews of 0, 1 and 2 processes take turns.
        round: Episodes in one of them.
        paper: Episodes of each of the paper's two controllers in each simulator.
        seeds: Episodes of each controller whose proofs are compared with what happens.
        sampled: Sampled answers of each scenario among these controllers.
        equal: Seeds of each world for which episodes must be equal in all processes.
        scenarios: Among which proofs are compared and episodes must be equal; None for all.
        workers: Processes, where speed is not what is measured.
    """

    blocks: int = 10
    block: int = 8
    rounds: int = 3
    round: int = 50
    paper: int = 200
    seeds: int = 40
    sampled: int = 3
    equal: int = 2
    scenarios: int | None = None
    workers: int = 2


QUICK = Size(1, 1, 1, 2, paper=4, seeds=2, sampled=1, equal=1, scenarios=2, workers=0)


def measure(
    vocabulary: Vocabulary, size: Size, picture: Path, console: Console
) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and the picture and the tables for the report.

    Args:
        vocabulary: The domain.
        size: How much.
        picture: Where the figure is written.
        console: Shows what is being done.
    """

    def tell(what: str) -> None:
        console.print(f"  {what}", style="dim")

    tell("speed beside the libraries")
    rows = list(speed_rows(vocabulary, size.blocks, size.block))
    semantics = load_semantics("default")
    field = first_scenarios(entrants(vocabulary, semantics, size.sampled), size.scenarios)
    tell("episodes per minute, and whether they are equal")
    rows += crew_rows(vocabulary, field, size.rounds, size.round, size.equal)
    tell("the paper's two controllers")
    paper = drive_paper_controllers(vocabulary, size.paper, size.workers)
    rows += paper_rows(paper)
    draw_paper_figure(paper, picture)
    tell(f"{len(field)} controllers beside their proofs")
    compared = compare_all(vocabulary, semantics, field, size.seeds, size.workers)
    rows += agreement_rows(compared)
    shows = "How often each rule is kept before and after training, in both simulators"
    return rows, {
        "pictures": [{"path": f"pictures/{picture.name}", "shows": shows}],
        "tables": [paper_table(paper).to_json(), cause_table(compared).to_json()],
        "disagreements": disagreements(compared),
    }


def first_scenarios(field: Sequence[Entrant], most: int | None) -> list[Entrant]:
    """Those for the first so many scenarios."""
    chosen = list(dict.fromkeys(one.scenario for one in field))[:most]
    return [one for one in field if one.scenario in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute's worth, nothing written")
    parser.add_argument("--episodes", type=int, help="of each of the paper's controllers (200)")
    parser.add_argument("--output", type=Path, help="write the results here instead")
    options = parser.parse_args(arguments)
    if options.episodes is not None and options.episodes < 1:
        parser.error("at least one episode")
    size = QUICK if options.quick else Size()
    size = replace(size, paper=options.episodes or size.paper)
    console = Console(width=None if sys.stdout.isatty() else 180)
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / PICTURE.name
        rows, more = measure(load_vocabulary(), size, drawn, console)
        console.print(table_of("simulation", rows))
        if options.output or not options.quick:
            path = write_results("simulation", rows, PACKAGES, options.output, more)
            beside = PICTURE if path.parent == FOLDER else path.parent / PICTURE.name
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(drawn, beside)
    return 0


if __name__ == "__main__":
    sys.exit(main())
