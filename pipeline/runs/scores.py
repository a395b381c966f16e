"""What the stages of a run found, read from their folders: for tables, JSON and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runs.facts import PREFERRED_SPLITS
from pipeline.runs.folder import RunFolder
from pipeline.runs.manifest import Manifest, elapsed, read_manifest
from pipeline.runs.plan import Step
from verifier.errors import InputError
from verifier.yaml_files import load_json
from worlds.statistics import Rate

RATES = ("strict_success", "paper_score", "parse_rate")
"""The rates of a summary that are shown everywhere."""


@dataclass(frozen=True)
class ModelScores:
    """The evaluation of one model of a run.

    Attributes:
        name: ``base``, ``round 1``, or a variant's name.
        splits: Split -> its summary, as ``evaluate/summary.json`` has it.
        summary: That whole file.
        pairs: Number of pairs the model learned from in its round; None for the base.
        seconds: Time of all stages that belong to it.
    """

    name: str
    splits: dict[str, dict[str, Any]]
    summary: dict[str, Any]
    pairs: int | None
    seconds: float

    def rate(self, metric: str, split: str) -> Rate:
        """A rate on a split; without value if it was not evaluated."""
        found = self.splits.get(split, {}).get(metric)
        return Rate(found["value"], found["low"], found["high"]) if found else Rate(None, 0.0, 1.0)


def model_scores(run: RunFolder, steps: Sequence[Step]) -> list[ModelScores]:
    """The scores of every evaluated model, in the order of the steps."""
    found: list[ModelScores] = []
    for step in steps:
        summary = _json(run.path / step.folder / "summary.json")
        if step.stage != "evaluate" or summary is None:
            continue
        group = [s for s in steps if s.folder.parent == step.folder.parent]
        ranked = _json(run.path / step.folder.parent / "rank" / "summary.json")
        name = step.variant or ("base" if step.round == 0 else f"round {step.round}")
        seconds = sum(step_seconds(run, member) or 0.0 for member in group)
        pairs = ranked.get("pairs") if ranked else None
        found.append(ModelScores(name, summary["splits"], summary, pairs, seconds))
    return found


def scores_json(one: ModelScores) -> dict[str, Any]:
    """Name, rates and counts on every split, pairs and time."""
    counts = ("answers", "distinct_controllers", "distinct_correct")
    splits = {
        split: {key: values[key] for key in (*RATES, *counts) if key in values}
        for split, values in one.splits.items()
    }
    return {"name": one.name, "splits": splits, "pairs": one.pairs, "seconds": one.seconds}


def headline_split(scores: Sequence[ModelScores]) -> str:
    """The split to show where there is room for one: test if it was evaluated."""
    known = {split for one in scores for split in one.splits}
    return next((split for split in PREFERRED_SPLITS if split in known), "test")


def step_seconds(run: RunFolder, step: Step) -> float | None:
    """How long a finished step took; None if it is not finished."""
    manifest = _manifest(run, step)
    return manifest.seconds if manifest else None


def stage_seconds(run: RunFolder, steps: Sequence[Step]) -> dict[str, float]:
    """Stage -> seconds over all rounds and variants."""
    totals: dict[str, float] = {}
    for step in steps:
        totals[step.stage] = totals.get(step.stage, 0.0) + (step_seconds(run, step) or 0.0)
    return totals


def elapsed_seconds(run: RunFolder, steps: Sequence[Step]) -> float:
    """Time in which at least one stage was at work."""
    found = [manifest for step in steps if (manifest := _manifest(run, step)) is not None]
    return elapsed((one.started, one.seconds) for one in found)


def selection(run: RunFolder) -> dict[str, Any] | None:
    """``select/selection.json``, if it is there."""
    return _json(run.path / "select" / "selection.json")


def _manifest(run: RunFolder, step: Step) -> Manifest | None:
    with suppress(InputError):
        return read_manifest(run.path / step.folder)
    return None


def _json(path: Path) -> Any:
    with suppress(InputError):
        return load_json(path)
    return None
