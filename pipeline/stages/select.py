"""Stage ``select``: the best round becomes the champion, and may be promoted if it passes a gate.

Writes ``selection.json`` (champion, candidates, gate) and ``adapter/``, a copy of the champion's.
The gate compares the champion with the base: strict success has risen, and no rule holds more
rarely than the lower end of the base's 95 % interval.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import SelectConfig
from pipeline.files import write_text
from pipeline.stages.context import StageContext
from verifier.errors import InputError
from verifier.yaml_files import load_json
from worlds.statistics import Rate, wilson

SECTIONS = ("select",)
NEEDS: tuple[str, ...] = ()
"""Its inputs are all evaluated rounds: ``round-01/evaluate`` and ``round-01/train`` of each."""

SELECTION, ADAPTER = "selection.json", "adapter"
_BASE = "round-00"
_METRICS = ("strict_success", "paper_score", "parse_rate")


@dataclass(frozen=True)
class Candidate:
    """A round's scores on the split that decides.

    Attributes:
        name: ``round-01``.
        scores: Summary of the split, as ``evaluate/summary.json`` has it.
    """

    name: str
    scores: Mapping[str, Any]

    def value(self, metric: str) -> float:
        """A rate's value; 0 without answers."""
        return self.scores[metric]["value"] or 0.0

    def to_json(self) -> dict[str, Any]:
        """Name and rates."""
        counts = ("answers", "distinct_controllers")
        return {"name": self.name, **{key: self.scores.get(key) for key in (*_METRICS, *counts)}}


def run(context: StageContext) -> None:
    """Choose, copy, and hold the champion against the gate.

    Raises:
        InputError: A round was not evaluated on the split that decides.
    """
    settings = context.config.select
    candidates = [
        Candidate(name.split("/")[0], _scores(folder, settings.split))
        for name, folder in context.inputs.items()
        if name.endswith("/evaluate")
    ]
    champion = choose(candidates, settings.metric)
    selection = {
        "champion": champion.name,
        "metric": settings.metric,
        "split": settings.split,
        "candidates": [candidate.to_json() for candidate in candidates],
        "gate": gate(candidates[0], champion, settings),
    }
    write_text(context.work / SELECTION, json.dumps(selection, indent=1) + "\n")
    trained = context.inputs.get(f"{champion.name}/train")
    if trained is not None:
        shutil.copytree(trained / ADAPTER, context.work / ADAPTER)


def choose(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """The trained round with the best score; of equals the better in paper score, then the first.

    The base is chosen only if nothing was trained.
    """
    trained = [candidate for candidate in candidates if candidate.name != _BASE]
    return max(trained or candidates, key=lambda one: (one.value(metric), one.value("paper_score")))


def gate(base: Candidate, champion: Candidate, settings: SelectConfig) -> dict[str, Any]:
    """``passed``, the ``reasons`` against (empty if none), the gain and all regressions."""
    metric = "strict_success"
    gain = champion.value(metric) - base.value(metric)
    regressions = find_regressions(base.scores["rules"], champion.scores["rules"])
    reasons: list[str] = []
    if champion.name == base.name:
        reasons.append("nothing was trained")
    elif gain <= 0 or gain < settings.gate.min_gain:
        least = (
            f"at least {_percent(settings.gate.min_gain)}" if settings.gate.min_gain else "a rise"
        )
        reasons.append(
            f"strict success went from {_percent(base.value(metric))} to "
            f"{_percent(champion.value(metric))}, {least} is required"
        )
    if settings.gate.regressions:
        reasons += [
            f"{row['rules']} {row['id']} holds in {_percent(row['after'])} of the answers, below "
            f"the interval of the base ({_percent(row['before']['low'])} to "
            f"{_percent(row['before']['high'])})"
            for row in regressions
        ]
    return {"passed": not reasons, "reasons": reasons, "gain": gain, "regressions": regressions}


def find_regressions(
    before: Mapping[str, Mapping[str, Mapping[str, int]]],
    after: Mapping[str, Mapping[str, Mapping[str, int]]],
) -> list[dict[str, Any]]:
    """Rules that hold more rarely than the lower end of their interval before.

    Args:
        before: Rule book -> rule -> how often each verdict was given.
        after: The same of the other model.
    """
    found: list[dict[str, Any]] = []
    for book, rules in before.items():
        for rule, counts in rules.items():
            old, new = _holds(counts), _holds(after.get(book, {}).get(rule, {}))
            if old.value is not None and new.value is not None and new.value < old.low:
                found.append(
                    {"rules": book, "id": rule, "before": old.to_json(), "after": new.value}
                )
    return found


def _holds(counts: Mapping[str, int]) -> Rate:
    """How often a rule holds where it applies; unread answers count as not holding."""
    holds = counts.get("satisfied", 0) + counts.get("vacuous", 0)
    return wilson(holds, sum(counts.values()) - counts.get("inapplicable", 0))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _scores(folder: Path, split: str) -> Mapping[str, Any]:
    path = folder / "summary.json"
    splits = load_json(path)["splits"]
    if split not in splits:
        raise InputError(
            f"no answers to tasks of the split {split!r}",
            file=path,
            remedy=f"set select.split to one of {', '.join(splits)}",
        )
    return splits[split]
