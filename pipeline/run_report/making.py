"""How a run was made: what it cost, with which versions, seeds and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.run_report.reading import Run, label_of
from pipeline.run_report.wording import count, duration, number
from pipeline.runs.manifest import SIDE_BY_SIDE, elapsed

STAGE_ORDER = ("generate", "verify", "repair", "rank", "train", "evaluate", "select", "quantize")


def stage_order(run: Run) -> tuple[str, ...]:
    """The stages in their order; the optional one only if the run has it."""
    return STAGE_ORDER if run.quantized else STAGE_ORDER[:-1]


@dataclass(frozen=True)
class CostRow:
    """Where the time of one round went: seconds by stage."""

    label: str
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


def cost_rows(run: Run) -> list[CostRow]:
    """Durations by round and variant, in the order of the run."""
    found: dict[str, dict[str, float]] = {}
    for stage in run.stages:
        if stage.seconds is not None:
            row = found.setdefault(stage.place, {})
            row[stage.name] = row.get(stage.name, 0.0) + stage.seconds
    rows: list[CostRow] = []
    for place, seconds in found.items():
        order = (*STAGE_ORDER, *(stage for stage in seconds if stage not in STAGE_ORDER))
        spent = {stage: seconds[stage] for stage in order if stage in seconds}
        rows.append(CostRow(label_of(place) if place else " and ".join(spent), spent))
    return rows


def facts(run: Run) -> list[tuple[str, str]]:
    """(what, how much) of the run as a whole."""
    rounds = (*run.rounds, *run.variants)
    sampled = sum(a.tokens for one in rounds for a in (*one.generated, *one.repaired))
    evaluated = sum(a.tokens for one in rounds if one.evaluation for a in one.evaluation.answers)
    answers = sum(len(one.generated) + len(one.repaired) for one in rounds)
    judged = sum(len(one.evaluation.answers) for one in rounds if one.evaluation)
    pairs = sum(int(one.ranking.get("pairs", 0)) for one in run.rounds)
    steps = sum(int(one.training.get("steps", len(one.curve))) for one in rounds)
    seconds = [stage.seconds for stage in run.stages if stage.seconds is not None]
    found = [
        ("time in stages", duration(sum(seconds)) if seconds else ""),
        ("time from start to end", _elapsed(run, sum(seconds))),
        ("machine", _machine(run)),
        ("answers to learn from", f"{number(answers)}, {count(sampled, 'token')}"),
        ("answers evaluated", f"{number(judged)}, {count(evaluated, 'token')}"),
        ("preference pairs", number(pairs)),
        ("training steps", number(steps)),
        ("seeds", _seeds(run)),
    ]
    return [(what, value) for what, value in found if value]


def _elapsed(run: Run, together: float) -> str:
    """Said where stages ran side by side; pauses of a run that was stopped are left out."""
    took = elapsed(
        (str(stage.manifest.get("started") or ""), stage.seconds)
        for stage in run.stages
        if stage.seconds is not None
    )
    return duration(took) if took < SIDE_BY_SIDE * together else ""


def _machine(run: Run) -> str:
    hosts = dict.fromkeys(
        f"{host.get('device', '')}, {count(int(host['cores']), 'core')}"
        for stage in run.stages
        if isinstance(host := stage.manifest.get("host"), Mapping) and host.get("cores")
    )
    return "; ".join(hosts)


def _seeds(run: Run) -> str:
    sampling = run.after.seeds if run.after else ()
    told = []
    if "seed" in run.config:
        told.append(f"run {run.config['seed']}")
    if sampling:
        told.append(f"evaluation {', '.join(map(str, sampling))}")
    return "; ".join(told)


def versions(run: Run) -> dict[str, str]:
    """Versions of everything that took part, as the manifests say."""
    found: dict[str, dict[str, None]] = {}
    if run.version:
        found["specdrive"] = {run.version: None}
    for stage in run.stages:
        noted = stage.manifest.get("versions")
        for name, version in (noted if isinstance(noted, Mapping) else {}).items():
            found.setdefault(str(name), {})[str(version)] = None
    return {name: ", ".join(several) for name, several in sorted(found.items())}


def hashes(run: Run) -> list[tuple[str, str]]:
    """(stage, hash of its configuration) for tracing results back."""
    return [
        (f"{stage.place} {stage.name}".strip(), str(stage.manifest.get("config_hash", "")))
        for stage in run.stages
    ]
