"""What is learned from simulation alone, beside what is learned from the model checker.

``python -m benchmarks.feedback FORMAL SIMULATED`` compares two runs that differ in who judges the
answers to learn from (``specdrive run quick`` and ``specdrive run simulated``) and writes
docs/results/feedback.json. Held-out answers of both were model-checked. It also asks the model
checker about every answer that the simulator has judged.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.results import Row, table_of, write_results
from pipeline.config_files import load_config
from pipeline.evaluation import Judge
from pipeline.files import read_rows
from pipeline.run_report.reading import Round, Run, read_run
from pipeline.stages.generate import ANSWERS, round_tasks
from pipeline.stages.verify import VERDICTS
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.statistics import Rate

PACKAGES = ("torch", "transformers", "trl", "peft", "libsumo", "highway-env")

Judgement = tuple[bool, bool]
"""Accepted by the simulator, and by the model checker."""

_PAIRS: tuple[Judgement, ...] = ((True, True), (True, False), (False, True), (False, False))


def judgements(folder: Path) -> Iterator[tuple[str, Judgement]]:
    """Kind and judgement of every readable answer that round 1 of a run judged by simulation.

    Kinds are ``sampled`` and ``repaired``.
    """
    config = load_config(folder)
    words = load_vocabulary(config.tasks.vocabulary)
    judge = Judge(words, load_semantics(config.tasks.semantics))
    first = folder / "round-01"
    tasks = round_tasks(first / "generate")
    for kind, answers, verdicts in (
        ("sampled", first / "generate", first / "verify"),
        ("repaired", first / "repair", first / "repair"),
    ):
        rows = zip(read_rows(answers / ANSWERS), read_rows(verdicts / VERDICTS), strict=True)
        for answer, verdict in rows:
            if verdict["parsed"]:
                proven = judge.judge(tasks[answer["task"]], answer["text"]).strict_success
                yield kind, (verdict["strict_success"], proven)


def agreement_rows(found: Sequence[tuple[str, Judgement]]) -> list[Row]:
    """How far the simulator's judgement is the model checker's."""
    counts = Counter(found)
    rows: list[Row] = []
    for kind in ("sampled", "repaired"):
        by = {pair: counts[kind, pair] for pair in _PAIRS}
        accepted, total = by[True, True] + by[True, False], sum(by.values())
        if not total:
            continue
        note = (
            f"Of {total} readable answers both accept {by[True, True]} and both refuse "
            f"{by[False, False]}; {by[True, False]} are accepted by simulation and not proven, "
            f"{by[False, True]} are proven and refused by simulation."
        )
        rows.append(
            Row(f"{kind} answers that simulation accepts", accepted, "answers",
                "of these proven correct", by[True, True], note=note)
        )  # fmt: skip
    return rows


def success_rows(formal: Run, simulated: Run) -> list[Row]:
    """Strict success on held-out tasks before and after."""
    base, ours = _rate(simulated, simulated.base), _rate(simulated, simulated.champion)
    theirs = _rate(formal, formal.champion)
    simulator = simulated.setting("simulate", "simulator", "a simulator")
    return [
        Row("strict success on held-out tasks before training", *_percent(base), note=_told(base)),
        Row(
            f"after one round judged by {simulator} alone",
            *_percent(ours),
            peer="judged by the model checker",
            peer_value=_percent(theirs)[0],
            target="> before, intervals apart",
            met=ours.low > base.high,
            note=f"{_told(ours)}; judged by the model checker {_told(theirs)}. Held-out answers "
            "are model-checked in both runs.",
        ),
    ]


def _rate(run: Run, one: Round | None) -> Rate:
    scores = run.scores(one.evaluation) if one is not None else None
    if scores is None:
        raise InputError("was not evaluated", file=run.folder, remedy="finish it with --resume")
    return scores.strict_success


def _percent(rate: Rate) -> tuple[float, str]:
    return 100 * (rate.value or 0.0), "%"


def _told(rate: Rate) -> str:
    return rate.percent()


def effort_rows(run: Run) -> list[Row]:
    """What judging by simulation costs."""
    return [
        Row(f"stage {stage.name} with simulation", stage.seconds, "s")
        for stage in run.stages
        if stage.place == "round-01" and stage.name in ("verify", "repair") and stage.seconds
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formal", type=Path, help="folder of a run judged by the model checker")
    parser.add_argument("simulated", type=Path, help="folder of a run judged by a simulator")
    arguments = parser.parse_args()
    formal, simulated = read_run(arguments.formal), read_run(arguments.simulated)
    rows = [
        *success_rows(formal, simulated),
        *agreement_rows(list(judgements(arguments.simulated))),
        *effort_rows(simulated),
    ]
    Console().print(table_of("Feedback", rows))
    print(write_results("feedback", rows, PACKAGES))


if __name__ == "__main__":
    main()
