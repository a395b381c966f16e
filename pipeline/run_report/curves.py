"""The figures: training curves like the paper's Fig. 8, progress by round like its Fig. 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from markupsafe import Markup

from pipeline.run_report.charts import Chart, Line, Point, draw, smoothed, thinned
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import Scores
from worlds.statistics import Rate

PAPER_RULES = 15

SPLIT_WORDS = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "test_known_worlds": "test, known worlds",
    "test_new_worlds": "test, new worlds",
}
_SMOOTHING = 12
"""A smoothed curve is the mean over one ``_SMOOTHING``-th of a round's steps."""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption.

    Attributes:
        title: What is shown.
        unit: Of the y axis.
        note: What it means.
        svg: The drawing.
    """

    title: str
    unit: str
    note: str
    svg: Markup = field(default_factory=Markup)


def _two(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", "−")


def _one(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _percents(value: float) -> str:
    return f"{100 * value:.1f}".removesuffix(".0") + " %"


@dataclass(frozen=True)
class _Spec:
    """A figure of the training: (field, label, style) of its lines, and how it is labelled."""

    title: str
    unit: str
    note: str
    lines: tuple[tuple[str, str, str], ...]
    text: Callable[[float], str]
    low: float | None = None
    high: float | None = None


_TRAINING = (
    _Spec(
        "Loss",
        "nats",
        "What is minimised: the preference loss and, where used, a share of the loss of SFT.",
        (
            ("loss", "total", "one"),
            ("preference_loss", "preference", "four"),
            ("sft_loss", "SFT", "three"),
        ),
        _two,
    ),
    _Spec(
        "Preference accuracy",
        "share of pairs",
        "The chosen answer is likelier than the rejected one: as such, and measured against the "
        "model that the round started from.",
        (("accuracy", "as such", "one"), ("reward_accuracy", "vs. start", "four")),
        _percents,
        high=1.0,
    ),
    _Spec(
        "Marginal preference",
        "nats per answer",
        "How much more log-probability the chosen answer gained than the rejected one, and what "
        "each gained by itself.",
        (
            ("margin", "margin", "one"),
            ("chosen_drift", "chosen", "three"),
            ("rejected_drift", "rejected", "two"),
        ),
        _two,
    ),
    _Spec(
        "Divergence",
        "nats per token",
        "KL from the model that the round started from: how far training has moved.",
        (("kl", "KL", "one"),),
        _two,
        low=0.0,
    ),
    _Spec(
        "Length drift",
        "tokens per answer",
        "Expected growth of the answers: whether it learns to be right or to be long.",
        (("length_drift", "drift", "one"),),
        _two,
    ),
    _Spec(
        "Length of the pairs",
        "tokens per answer",
        "What training is shown.",
        (("chosen_length", "chosen", "three"), ("rejected_length", "rejected", "two")),
        _two,
    ),
)


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

    def figure(spec: _Spec) -> Figure | None:
        lines = [
            line
            for key, label, style in spec.lines
            for line in _by_round(series(key), label, style)
        ]
        if not lines:
            return None
        chart = Chart(
            f"{spec.title}, {spec.unit}", lines, spec.text, (), "training step", (), walls,
            spec.low, spec.high, hover=hover,
        )  # fmt: skip
        return Figure(spec.title, spec.unit, spec.note, draw(chart))

    return [found for spec in _TRAINING if (found := figure(spec)) is not None]


@dataclass(frozen=True)
class FinalRow:
    """A measure at the end of every training, None if unknown: mean of its last steps."""

    words: str
    values: tuple[float | None, ...]


def final_rows(run: Run) -> tuple[list[str], list[FinalRow]]:
    """Names of the trainings, and the measures at their ends as their summaries have them."""
    trained = [one for one in (*run.rounds, *run.variants) if one.training.get("final")]
    rows = [
        FinalRow(
            f"{spec.title.lower()}: {label} ({spec.unit})"
            if len(spec.lines) > 1
            else f"{spec.title.lower()} ({spec.unit})",
            tuple(one.training["final"].get(key) for one in trained),
        )
        for spec in _TRAINING
        for key, label, _ in spec.lines
    ]
    known = [row for row in rows if any(value is not None for value in row.values)]
    return [one.label for one in trained], known


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
    """Rules of the paper and strict success, with intervals; length and divergence, by round."""
    rounds = [one for one in run.rounds if one.evaluation]
    if not rounds:
        return []
    found = [
        _by_split(
            Figure(
                "Specifications satisfied",
                f"of the paper’s {PAPER_RULES}",
                "Mean of all answers. The dashed line is a controller that never moves.",
            ),
            rounds,
            lambda scores: scores.paper_score,
            PAPER_RULES,
            _one,
            _still(rounds),
        ),
        _by_split(
            Figure(
                "Strict success",
                "share of answers",
                "Every applicable rule of the road holds, and the manoeuvre is made.",
            ),
            rounds,
            lambda scores: scores.strict_success,
            1,
            _percents,
            [],
        ),
    ]
    if len(rounds) > 1:
        found += [_single(*one) for one in _singles(run, rounds)]
    return found


_Values = list[tuple[Round, float]]


def _singles(run: Run, rounds: Sequence[Round]) -> Iterator[tuple[Figure, _Values, str]]:
    """Measures with one value per round."""
    tokens: _Values = []
    moved: _Values = []
    for one in rounds:
        scores, kl = run.scores(one.evaluation), one.evaluation.kl if one.evaluation else {}
        if scores and scores.tokens is not None:
            tokens.append((one, scores.tokens))
        if kl.get("per_token") is not None or not one.number:
            moved.append((one, kl.get("per_token") or 0.0))
    if len(tokens) > 1:
        figure = Figure("Length of the answers", "tokens", "Mean of what was sampled.")
        yield figure, tokens, SPLIT_WORDS.get(run.split, run.split)
    if len(moved) > 1:
        note = "KL from the base, over all rounds: how much of the model has changed."
        yield Figure("Distance from the base", "nats per token", note), moved, "KL"


def _single(figure: Figure, values: _Values, label: str) -> Figure:
    line = Line(label, [(float(one.number or 0), y) for one, y in values], "three", marked=True)
    rounds = [one for one, _ in values]
    return replace(figure, svg=draw(_rounds_chart(figure, [line], rounds, _two)))


def _still(rounds: Sequence[Round]) -> list[tuple[float, str]]:
    evaluation = rounds[0].evaluation
    still = evaluation.trivial.get("always_stop") if evaluation else None
    if still is None or still.paper_score.value is None:
        return []
    return [(PAPER_RULES * still.paper_score.value, "always stop")]


_SPLITS = (
    ("train", "train", "one"),
    ("validation", "validation", "two"),
    ("test_known_worlds", "known worlds", "three"),
    ("test_new_worlds", "new worlds", "four"),
)


def _by_split(
    figure: Figure,
    rounds: Sequence[Round],
    rate: Callable[[Scores], Rate],
    scale: float,
    text: Callable[[float], str],
    levels: Sequence[tuple[float, str]],
) -> Figure:
    lines = []
    for number, (split, label, style) in enumerate(_SPLITS):
        found_at = []
        for one in rounds:
            scores = one.evaluation.splits.get(split) if one.evaluation else None
            found = rate(scores) if scores else None
            if found is not None and found.value is not None:
                x = float(one.number or 0)
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
    chart = _rounds_chart(figure, lines, rounds, text)
    return replace(figure, svg=draw(replace(chart, levels=levels, high=float(scale))))


def _rounds_chart(
    figure: Figure, lines: Sequence[Line], rounds: Sequence[Round], text: Callable[[float], str]
) -> Chart:
    return Chart(
        f"{figure.title}, {figure.unit}, by round",
        lines,
        text,
        [(float(one.number or 0), one.label.removeprefix("round ")) for one in rounds],
        "round",
        low=0.0,
        inset=16.0,
        hover=lambda x: f"round {x:.0f}" if x else "base",
    )
