"""Scores as metrics: names, interval bounds and shares of verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.tracking.content import Point, Table
from worlds.statistics import wilson

RATES = ("strict_success", "paper_score", "parse_rate")
COUNTS = ("answers", "distinct_controllers", "distinct_correct")
SHARES = ("trivial_answers", "tokens_per_answer")
VERDICTS = ("satisfied", "vacuous", "violated", "unknown")

Scores = Mapping[str, Any]


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def points(values: Mapping[str, object], step: int, split: str | None = None) -> list[Point]:
    """One point for every entry that is a finite number."""
    return [
        Point(key, value, step, split)
        for key, raw in values.items()
        if (value := number(raw)) is not None
    ]


def rate_points(group: str, name: str, rate: object, step: int) -> list[Point]:
    """A rate, and the bounds of its interval in a group of their own.

    The name of the rate itself stays short, since it is what people look for: bounds of
    ``test/strict_success`` are ``interval/test/strict_success_low`` and ``..._high``.
    """
    if not isinstance(rate, Mapping):
        return points({f"{group}/{name}": rate}, step)
    if number(rate.get("value")) is None:
        return []
    bounds = {f"interval/{group}/{name}_{end}": rate.get(end) for end in ("low", "high")}
    return [*points({f"{group}/{name}": rate["value"]}, step), *points(bounds, step)]


def summary_points(group: str, scores: object, step: int) -> list[Point]:
    """Everything but the rules of one summary: ``test/strict_success``, ``test/answers``, ..."""
    if not isinstance(scores, Mapping):
        return []
    found = [point for name in RATES for point in rate_points(group, name, scores.get(name), step)]
    rest = {f"{group}/{name}": scores.get(name) for name in (*COUNTS, *SHARES)}
    return [*found, *points(rest, step)]


def headline(scores: Scores, step: int) -> list[Point]:
    """The three scores without a group: what lists of runs show, and the first charts."""
    rates = ((name, scores.get(name)) for name in RATES)
    values = {name: rate.get("value") for name, rate in rates if isinstance(rate, Mapping)}
    return points(values, step)


def essential(point: Point) -> bool:
    """Whether the run of the whole pipeline shows it, beside the evaluation itself.

    It has a chart for each metric: constants, single seeds, bounds of intervals and the rarer
    verdicts would hide the rest.
    """
    *groups, name = point.key.split("/")
    if groups and (groups[0] == "interval" or groups[0].startswith(("always_", "seed_"))):
        return False
    if groups and groups[0] == "spec":
        return name in ("satisfied", "violated")
    return name not in ("answers", "distinct_controllers")


def rule_points(scores: Scores, step: int) -> list[Point]:
    """``spec/phi_5/satisfied`` and so on: shares of the answers to which the rule applies."""
    return list(_rule_points(scores, step))


def _rule_points(scores: Scores, step: int) -> Iterator[Point]:
    books: Mapping[str, Mapping[str, Mapping[str, int]]] = scores.get("rules") or {}
    names = [rule for rules in books.values() for rule in rules]
    for book, rules in books.items():
        for rule, counts in rules.items():
            applicable = sum(counts.get(verdict, 0) for verdict in VERDICTS)
            if applicable:
                shown = rule if names.count(rule) == 1 else f"{book}.{rule}"
                for verdict in VERDICTS:
                    key = f"spec/{shown}/{verdict}"
                    yield Point(key, counts.get(verdict, 0) / applicable, step)


def verdict_points(group: str, verdicts: Sequence[Mapping[str, Any]], step: int) -> list[Point]:
    """Scores counted from rows of verdicts."""
    total = len(verdicts)
    if not total:
        return []
    sums = {
        "strict_success": sum(bool(row.get("strict_success")) for row in verdicts),
        "paper_score": sum(float(row.get("paper_score") or 0) for row in verdicts),
        "parse_rate": sum(bool(row.get("parsed")) for row in verdicts),
    }
    found = [
        point
        for name, value in sums.items()
        for point in rate_points(group, name, wilson(value, total).to_json(), step)
    ]
    return [*found, Point(f"{group}/answers", total, step)]


def splits_table(groups: Mapping[str, Scores]) -> Table:
    """One row per split or other set of answers."""
    return Table.of(
        [{"answers to": name} | _summary_cells(scores) for name, scores in groups.items()]
    )


def _summary_cells(scores: Scores) -> dict[str, Any]:
    cells: dict[str, Any] = {"number": scores.get("answers")}
    for name in RATES:
        rate = scores.get(name) or {}
        title = name.replace("_", " ")
        cells[title] = _rounded(rate.get("value"))
        cells[f"{title}, 95 %"] = interval(rate)
    for name in (*COUNTS[1:], *SHARES):
        cells[name.replace("_", " ")] = _rounded(scores.get(name))
    return cells


def interval(rate: Mapping[str, Any]) -> str:
    """``0.912 – 0.984``; empty if there is no rate."""
    if number(rate.get("value")) is None:
        return ""
    return f"{rate['low']:.3f} – {rate['high']:.3f}"


def percent(rate: object) -> str:
    """``96.2 % [91.2, 98.4]``."""
    if not isinstance(rate, Mapping) or number(rate.get("value")) is None:
        return "–"
    value, low, high = (100 * float(rate[key]) for key in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def rules_table(groups: Mapping[str, Scores], texts: Mapping[str, str]) -> Table:
    """How often every rule got every verdict, for every split."""
    rows = [
        {
            "rule": rule,
            "book": book,
            "answers to": group,
            **{verdict: counts.get(verdict, 0) for verdict in (*VERDICTS, "inapplicable")},
            "says": texts.get(rule, ""),
        }
        for group, scores in groups.items()
        for book, rules in (scores.get("rules") or {}).items()
        for rule, counts in rules.items()
    ]
    return Table.of(rows)


def _rounded(value: object) -> float | None:
    found = number(value)
    return None if found is None else round(found, 4)
