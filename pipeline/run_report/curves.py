"""The figures: training curves like the paper's Fig. 8, progress by round like its Fig. 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from pipeline.run_report.charts import Chart, Line, Point, draw, smoothed, thinned
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import Scores
from pipeline.statistics import Rate

PAPER_RULES = 15
_SMOOTHING = 12
"""A smoothed curve is the mean over one ``_SMOOTHING``-th of a round's steps."""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    title: str
    note: str
    svg: Markup


def training_figures(run: Run) -> list[Figure]:
    """Loss, preference accuracy, marginal preference, divergence and length over all rounds."""
    rounds = [one for one in run.rounds if one.curve]
    if not rounds:
        return []
    lengths = [max(1, *(int(row.get("step", 0)) for row in one.curve)) for one in rounds]
    starts = [0, *accumulate(lengths)][: len(rounds)]
    words = [one.label if len(rounds) <= 4 else str(one.number) for one in rounds]
    walls = [(float(start), text) for start, text in zip(starts, words, strict=True)]

    def series(key: str) -> list[list[Point]]:
        return [
            [
                (float(start + row["step"]), float(row[key]))
                for row in one.curve
                if row.get(key) is not None
            ]
            for start, one in zip(starts, rounds, strict=True)
        ]

    def hover(x: float) -> str:
        place = max(index for index, start in enumerate(starts) if start <= x)
        return f"{rounds[place].label}, step {x - starts[place]:.0f}"

    def figure(
        title: str, note: str, keys: Mapping[str, str], text: Callable[[float], str], **bounds: Any
    ) -> Figure | None:
        lines: list[Line] = []
        for (key, label), style in zip(keys.items(), ("one", "two", "three"), strict=False):
            lines += _by_round(series(key), label, style)
        if not lines:
            return None
        chart = Chart(title, lines, text, (), "step", (), walls, hover=hover, **bounds)
        return Figure(title, note, draw(chart))

    found = [
        figure(
            "Loss",
            "What is minimised: the preference loss and, where used, a share of the loss of SFT.",
            {"loss": "total", "preference_loss": "preference", "sft_loss": "SFT"},
            _two,
        ),
        figure(
            "Preference accuracy",
            "How often the chosen answer became likelier than the rejected one.",
            {"accuracy": "accuracy"},
            _percents,
            high=1.0,
        ),
        figure(
            "Marginal preference",
            "How much more the chosen than the rejected answer gained in log-probability.",
            {"margin": "margin"},
            _two,
        ),
        figure(
            "Divergence",
            "KL from the model at the start of the round: how far it moved.",
            {"kl": "KL"},
            _two,
            low=0.0,
        ),
        figure(
            "Length",
            "Tokens by which the answers grow: whether it learns to be right or to be long.",
            {"length_drift": "drift"},
            _two,
        ),
        figure(
            "Length of the pairs",
            "Mean tokens of the chosen and the rejected answers.",
            {"chosen_length": "chosen", "rejected_length": "rejected"},
            _two,
        ),
    ]
    return [one for one in found if one is not None]


def _by_round(parts: Sequence[Sequence[Point]], label: str, style: str) -> list[Line]:
    """One line for each round, so that none is drawn across a boundary; the last one is named."""
    lines = []
    shown = [part for part in parts if part]
    for number, part in enumerate(shown):
        raw = thinned(part, 120 // max(1, len(shown)) + 20)
        smooth = smoothed(raw, max(3, len(raw) // _SMOOTHING))
        lines.append(Line(label, smooth, style, raw=raw, quiet=number < len(shown) - 1))
    return lines


def progress_figures(run: Run) -> list[Figure]:
    """Satisfied rules of the paper and strict success, by round, with intervals."""
    rounds = [one for one in run.rounds if one.evaluation]
    if not rounds:
        return []
    return [
        Figure(
            "Specifications satisfied, of 15",
            "The paper's measure. The dashed line is a controller that never moves.",
            draw(
                _by_split(
                    "Satisfied specifications of the paper's 15, by round",
                    rounds,
                    lambda scores: scores.paper_score,
                    PAPER_RULES,
                    _one,
                    _still(run, rounds),
                )
            ),
        ),
        Figure(
            "Strict success",
            "Every applicable rule of the road holds, and the manoeuvre is made.",
            draw(
                _by_split(
                    "Strict success by round",
                    rounds,
                    lambda scores: scores.strict_success,
                    1,
                    _percents,
                    [],
                )
            ),
        ),
    ]


def _still(run: Run, rounds: Sequence[Round]) -> list[tuple[float, str]]:
    del run
    evaluation = rounds[0].evaluation
    still = evaluation.trivial.get("always_stop") if evaluation else None
    if still is None or still.paper_score.value is None:
        return []
    return [(PAPER_RULES * still.paper_score.value, "always stop")]


_SPLITS = (
    ("train", "train", "one"),
    ("validation", "validation", "two"),
    ("test_known_worlds", "test", "three"),
    ("test_new_worlds", "new worlds", "four"),
)


def _by_split(
    title: str,
    rounds: Sequence[Round],
    rate: Callable[[Scores], Rate],
    scale: float,
    text: Callable[[float], str],
    levels: Sequence[tuple[float, str]],
) -> Chart:
    lines = []
    for number, (split, label, style) in enumerate(_SPLITS):
        found_at = []
        for one in rounds:
            scores = one.evaluation.splits.get(split) if one.evaluation else None
            found = rate(scores) if scores else None
            if found is not None and found.value is not None and one.number is not None:
                x = float(one.number)
                found_at.append((x, scale * found.value, scale * found.low, scale * found.high))
        if found_at:
            lines.append(
                Line(
                    label,
                    [(x, y) for x, y, _, _ in found_at],
                    style,
                    intervals=[(x, low, high) for x, _, low, high in found_at],
                    marked=True,
                    aside=5.0 * number - 7.5,
                )
            )
    return Chart(
        title,
        lines,
        text,
        [(float(one.number or 0), one.label.removeprefix("round ")) for one in rounds],
        "round",
        levels,
        low=0.0,
        high=float(scale),
        inset=16.0,
        hover=lambda x: f"round {x:.0f}" if x else "base",
    )


def _two(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", "−")


def _one(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _percents(value: float) -> str:
    return f"{100 * value:.1f}".removesuffix(".0") + " %"
