"""What is learned from simulation alone, beside what is learned from the model checker.

``python -m benchmarks.feedback [FORMAL SIMULATED]`` compares two runs that differ in who judges the
answers to learn from (``specdrive run quick`` and ``specdrive run simulated``) and writes
docs/results/feedback.json. Held-out answers of both were model-checked. It also asks the model
checker about every answer that the simulator has judged.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from scipy.stats import fisher_exact

from benchmarks.results import Row, table_of, write_results
from pipeline.config_files import load_config
from pipeline.evaluation import Judge
from pipeline.files import read_rows
from pipeline.run_report.reading import Round, Run, read_run
from pipeline.run_report.scores import Scores
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


def judgements(folder: Path) -> Iterator[tuple[str, Judgement, tuple[str, ...]]]:
    """Every readable answer that round 1 of a run judged by simulation.

    Yields:
        Its kind (``sampled`` or ``repaired``), both judgements, and the rules that it breaks
        according to the model checker.
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
                proven = judge.judge(tasks[answer["task"]], answer["text"])
                accepted = verdict["strict_success"], proven.strict_success
                yield kind, accepted, proven.violated


def agreement_rows(
    found: Sequence[tuple[str, Judgement, tuple[str, ...]]], simulator: str
) -> list[Row]:
    """How far the simulator's judgement is the model checker's."""
    counts = Counter((kind, pair) for kind, pair, _ in found)
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
        missed = Counter(
            rule
            for one, pair, rules in found
            if (one, pair) == (kind, (True, False))
            for rule in rules
        )
        if missed:
            often = ", ".join(f"{rule} {count}" for rule, count in missed.most_common())
            note += f" Rules that these can break and did not in {simulator}: {often}."
        rows.append(
            Row(f"{kind} answers that simulation accepts", accepted, "answers",
                "of these proven correct", by[True, True], note=note)
        )  # fmt: skip
    return rows


def success_rows(formal: Run, simulated: Run) -> list[Row]:
    """Strict success on held-out tasks before and after."""
    base, ours = _scores(simulated, simulated.base), _scores(simulated, simulated.champion)
    theirs = _scores(formal, formal.champion)
    chance = _chance(base, ours)
    simulator = simulated.setting("simulate", "simulator", "a simulator")
    return [
        Row(
            "strict success on held-out tasks before training",
            *_percent(base.strict_success),
            note=base.strict_success.percent(),
        ),
        Row(
            f"after one round judged by {simulator} alone",
            *_percent(ours.strict_success),
            peer="judged by the model checker",
            peer_value=_percent(theirs.strict_success)[0],
            target="> before (p < 0.05)",
            met=chance < 0.05,
            note=f"{ours.strict_success.percent()}; judged by the model checker "
            f"{theirs.strict_success.percent()}. Fisher's exact test against before, one-sided: "
            f"p = {chance:.2g}. Held-out answers are model-checked in both runs.",
        ),
    ]


def _chance(before: Scores, after: Scores) -> float:
    """Probability of so many more successes if nothing had changed (Fisher)."""
    table = [
        [round((one.strict_success.value or 0.0) * one.answers), one.answers]
        for one in (after, before)
    ]
    found: Any = fisher_exact([[hit, n - hit] for hit, n in table], "greater")
    return float(found.pvalue)


def _scores(run: Run, one: Round | None) -> Scores:
    scores = run.scores(one.evaluation) if one is not None else None
    if scores is None:
        raise InputError("was not evaluated", file=run.folder, remedy="finish it with --resume")
    return scores


def _percent(rate: Rate) -> tuple[float, str]:
    return 100 * (rate.value or 0.0), "%"


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
    for name, default, judge in (
        ("formal", "runs/quick", "the model checker"),
        ("simulated", "runs/simulated", "a simulator"),
    ):
        told = f"folder of a run judged by {judge} (default: {default})"
        parser.add_argument(name, type=Path, nargs="?", default=Path(default), help=told)
    arguments = parser.parse_args()
    try:
        formal, simulated = read_run(arguments.formal), read_run(arguments.simulated)
    except InputError as error:
        parser.error(f"{error} (make them with: specdrive run quick, specdrive run simulated)")
    rows = [
        *success_rows(formal, simulated),
        *agreement_rows(
            list(judgements(arguments.simulated)),
            simulated.setting("simulate", "simulator", "simulation"),
        ),
        *effort_rows(simulated),
    ]
    Console().print(table_of("Feedback", rows))
    print(write_results("feedback", rows, PACKAGES))


if __name__ == "__main__":
    main()
