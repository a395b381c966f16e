"""Pictures of calibration and of two domains beside each other, as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from worlds.perception.calibration import Calibration
from worlds.perception.comparison import Comparison, Curve
from worlds.perception.detections import Detections

BLUE, ORANGE, GREEN, RED, PURPLE = "#2563a8", "#d9772b", "#2f8559", "#bf3b3b", "#7a4fa3"
INK, FAINT, GRID = "#23292f", "#7c8692", "#e6e9ed"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, "#8a6d3b")
DPI = 160

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all pictures of perception."""
    with mpl.rc_context(_STYLE):
        yield


def as_png(figure: Figure) -> bytes:
    """The picture's file; equal figures give equal bytes."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def reliability_diagram(
    series: Sequence[tuple[str, Detections, Calibration]], title: str, axis: str
) -> bytes:
    """Share of true ones against confidence, over the distribution of the confidences.

    Args:
        series: Name, detections and calibration of at most a few detectors.
        title: Over it all.
        axis: What the confidence is a confidence of.
    """
    with style():
        figure = Figure(figsize=(6.2, 6.9), layout="constrained")
        figure.suptitle(title, x=0.02, ha="left", fontsize=12.5, fontweight="bold", color=INK)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        low = min(float(d.confidence.min()) for _, d, _ in series)
        start = 0.5 if low >= 0.5 else 0.0
        upper.plot([start, 1], [start, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        upper.annotate(
            "calibrated",
            (start + 0.80 * (1 - start), start + 0.80 * (1 - start)),
            xytext=(5, -9),
            textcoords="offset points",
            color=FAINT,
            fontsize=8.5,
            rotation=42,
            rotation_mode="anchor",
        )
        for (name, _, found), colour in zip(series, COLOURS, strict=False):
            _reliability(upper, name, found, colour)
        upper.set(ylabel="share that is true", ylim=(-0.02, 1.02), xlim=(start - 0.01, 1.01))
        upper.legend(loc="upper left", handlelength=1.6)
        _histograms(lower, [(n, d) for n, d, _ in series], start)
        lower.set(xlabel=axis)
        return as_png(figure)


def _reliability(axes: Axes, name: str, found: Calibration, colour: str) -> None:
    x = [b.confidence for b in found.bins]
    y = [b.accuracy.value or 0.0 for b in found.bins]
    error = debiased = found.debiased["mass"]
    label = f"{name}: ECE {100 * (error.value or 0):.1f} % "
    label += f"[{100 * debiased.low:.1f}, {100 * debiased.high:.1f}], "
    label += f"Brier {found.brier.value or 0:.3f}"
    down = [v - b.accuracy.low for v, b in zip(y, found.bins, strict=True)]
    up = [b.accuracy.high - v for v, b in zip(y, found.bins, strict=True)]
    axes.errorbar(
        x,
        y,
        yerr=[down, up],
        color=colour,
        linewidth=1.6,
        elinewidth=1.1,
        marker="o",
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=label,
    )


def _histograms(axes: Axes, series: Sequence[tuple[str, Detections]], start: float) -> None:
    edges = np.linspace(start, 1, 41)
    for (_, detections), colour in zip(series, COLOURS, strict=False):
        share = np.histogram(detections.confidence, edges)[0] / len(detections)
        axes.stairs(share, edges, color=colour, fill=True, alpha=0.18)
        axes.stairs(share, edges, color=colour, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylabel("share of\ndetections")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    axes.grid(visible=True, axis="y")


def domain_picture(found: Comparison, domains: Sequence[Detections], axis: str) -> bytes:
    """Both confidence-accuracy curves with their bands, the gaps with the margin, the confidences.

    Args:
        found: The comparison.
        domains: What was compared.
        axis: What the confidence is a confidence of.
    """
    with style():
        figure = Figure(figsize=(6.6, 8.2), layout="constrained")
        title = "Accuracy at equal confidence"
        figure.suptitle(title, x=0.02, ha="left", fontsize=12.5, fontweight="bold", color=INK)
        upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=[4, 2.2, 1.1])
        start = float(found.edges[0])
        upper.plot([start, 1], [start, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        for curve, colour in zip(found.curves, COLOURS, strict=False):
            _curve(upper, curve, colour)
        upper.set(ylabel="share that is true", ylim=(-0.02, 1.02), xlim=(start - 0.01, 1.01))
        upper.legend(
            loc="upper left",
            title=f"bands hold at once with {1 - found.level:.0%}",
            title_fontsize=8.5,
            alignment="left",
        )
        _gaps(middle, found)
        _histograms(lower, [(d.domain, d) for d in domains], start)
        lower.set(xlabel=axis)
        return as_png(figure)


def _curve(axes: Axes, curve: Curve, colour: str) -> None:
    label = f"{curve.domain} ({int(curve.number.sum()):,})"
    axes.fill_between(curve.confidence, curve.low, curve.high, color=colour, alpha=0.16, lw=0)
    axes.plot(
        curve.confidence,
        curve.accuracy,
        color=colour,
        linewidth=1.8,
        marker="o",
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=label,
    )


def _gaps(axes: Axes, found: Comparison) -> None:
    x = (found.curves[0].confidence + found.curves[1].confidence) / 2
    axes.axhspan(-found.margin, found.margin, color=GREEN, alpha=0.12, lw=0)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    inside = (found.gap_low > -found.margin) & (found.gap_high < found.margin)
    for chosen, colour in ((inside, GREEN), (~inside, RED)):
        if chosen.any():
            middle = found.gaps[chosen]
            reach = [middle - found.gap_low[chosen], found.gap_high[chosen] - middle]
            axes.errorbar(
                x[chosen], middle, yerr=reach, fmt="o", color=colour, markersize=4.5, elinewidth=1.4
            )
    words = {
        "equivalent": f"equivalent within ±{found.margin:g}",
        "different": f"different by more than {found.margin:g}",
        "undecided": f"equivalence within ±{found.margin:g} not shown",
    }[found.decision]
    axes.set_title(f"{words} (p = {found.p_value:.2g})", fontsize=10)
    reach = float(max(np.abs(found.gap_low).max(), np.abs(found.gap_high).max(), found.margin))
    axes.set(ylabel="gap", ylim=(-1.1 * reach, 1.1 * reach))
