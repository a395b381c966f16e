"""How two runs differ: in their configurations, and in what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import RunConfig
from pipeline.runs.folder import RunFolder
from pipeline.runs.plan import plan, shipped_stages
from pipeline.runs.scores import RATES, model_scores
from worlds.statistics import Rate

_MISSING = "(absent)"


@dataclass(frozen=True)
class ScoreChange:
    """A rate of the same model and split in two runs.

    Attributes:
        model: ``base``, ``round 1`` or a variant's name.
        split: Of the tasks.
        metric: One of `RATES`.
        first: In the first run.
        second: In the second run.
    """

    model: str
    split: str
    metric: str
    first: Rate
    second: Rate

    @property
    def change(self) -> float | None:
        """Second minus first; None if one of them is not there."""
        if self.first.value is None or self.second.value is None:
            return None
        return self.second.value - self.first.value

    @property
    def apart(self) -> bool:
        """Whether the two 95 % intervals have nothing in common."""
        return self.change is not None and (
            self.first.high < self.second.low or self.second.high < self.first.low
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "split": self.split,
            "metric": self.metric,
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "change": self.change,
            "intervals_apart": self.apart,
        }


def config_differences(first: RunConfig, second: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> the two values, where they differ; the name does not count."""
    one, two = _flat(first), _flat(second)
    return {
        key: (one.get(key, _MISSING), two.get(key, _MISSING))
        for key in dict.fromkeys((*one, *two))
        if key != "name" and one.get(key, _MISSING) != two.get(key, _MISSING)
    }


def non_defaults(config: RunConfig) -> dict[str, Any]:
    """Dotted key -> value, of everything that is not as in an empty configuration."""
    return {key: value for key, (_, value) in config_differences(RunConfig(), config).items()}


def score_changes(first: RunFolder, second: RunFolder) -> list[ScoreChange]:
    """The rates of all models and splits that either run has evaluated."""
    stages = shipped_stages()
    tables = []
    for run in (first, second):
        scores = model_scores(run, plan(run.config, stages))
        tables.append({one.name: one for one in scores})
    one, two = tables
    nothing = Rate(None, 0.0, 1.0)
    return [
        ScoreChange(
            model,
            split,
            metric,
            one[model].rate(metric, split) if model in one else nothing,
            two[model].rate(metric, split) if model in two else nothing,
        )
        for model in dict.fromkeys((*one, *two))
        for split in dict.fromkeys(
            name for table in tables if model in table for name in table[model].splits
        )
        for metric in RATES
    ]


def _flat(config: RunConfig) -> dict[str, Any]:
    """Dotted key -> value; what a variant sets as ``variants.NAME.section.key``."""
    variants = {variant.name: variant.set for variant in config.variants}
    return flattened(config.to_json() | {"variants": variants})


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
