"""Scores by round, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {"train": "#8a8f98", "validation": "#e08a1e", "test": "#1f5fbf"}
METRICS = {"strict_success": "answers proven correct", "paper_score": "the paper's score"}
_COUNT = "paper_count"
_DODGE = 0.09


def draw(scores: Sequence[Mapping[str, Any]], split: str, path: Path) -> None:
    """Strict success and paper score by round and split, with 95 % intervals, as SVG.

    The variant that ranks by the paper's count stands apart from the rounds, beside round 1.

    Args:
        scores: Rounds and variants, as learning.json has them.
        split: The tasks for which the variant is shown.
        path: The file to write; the same scores give the same file.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    rounds = [one for one in scores if not one["variant"]]
    counted = [one for one in scores if one["variant"] and one["name"] == _COUNT]
    style: Any = {"svg.hashsalt": "learning", "svg.fonttype": "path", "font.size": 10}
    with matplotlib.rc_context(style):
        figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
        for axes, (metric, words) in zip(panels, METRICS.items(), strict=True):
            for place, (name, colour) in enumerate(COLOURS.items()):
                shown = [one for one in rounds if name in one["splits"]]
                if not shown:
                    continue
                at = [one["round"] + _DODGE * (place - 1) for one in shown]
                rates = [one["splits"][name][metric] for one in shown]
                _bars(axes, at, rates, colour, fmt="-o", label=name)
            for one in (one for one in counted if split in one["splits"]):
                rate = one["splits"][split][metric]
                label = f"{split}, ranked by\nthe paper's count"
                _bars(axes, [one["round"] + 0.3], [rate], "#b3261e", fmt="D", label=label)
            axes.set_title(words, loc="left", fontsize=11)
            axes.set_xticks(
                [one["round"] for one in rounds], [_short(one["label"]) for one in rounds]
            )
            axes.set_xlabel("round")
            axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(length=0)
        panels[0].set_ylim(-2, 102)
        panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
        pyplot.close(figure)


def _bars(
    axes: Any, at: Sequence[float], rates: Sequence[Mapping[str, float]], colour: str, **style: Any
) -> None:
    """Points with their intervals, in percent."""
    values = [100 * rate["value"] for rate in rates]
    below = [100 * (rate["value"] - rate["low"]) for rate in rates]
    above = [100 * (rate["high"] - rate["value"]) for rate in rates]
    axes.errorbar(
        at, values, (below, above), color=colour, markersize=5, linewidth=1.4, capsize=2.5, **style
    )


def _short(label: str) -> str:
    """Without what the axis says already: many rounds have to fit."""
    return label.removeprefix("round ")
