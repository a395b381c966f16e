"""Before and after, drawn: how often each rule is kept, with intervals (the paper's Fig. 11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.simulation_tables import Shown

COLOURS = ("#d98a3d", "#1f5fbf")
"""Of the first and the second controller."""

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e4e7eb"
_PROOF = {
    "satisfied": ("✓", "#2f9e44"),
    "vacuous": ("✓", "#8bbf98"),
    "violated": ("✗", "#c92a2a"),
    "unknown": ("?", "#6e7781"),
}
_HEIGHT, _ROW = 0.36, 0.46


def draw_before_after(shown: Sequence[Shown], path: Path) -> None:
    """A row for each rule that applies, a bar with its 95 % interval for each controller.

    The pale part of a bar are the traces that keep the rule vacuously. Beside the bars is what the
    model checker says of the hand-written world.

    Args:
        shown: One or two campaigns in one world, with the same rules.
        path: PNG, SVG or PDF; the ending says which.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [
        group
        for group in zip(*(one.agreements for one in shown), strict=True)
        if any(agreement.rule.judged for agreement in group)
    ]
    names = [_short(group[0].rule.specification.id) for group in rows]
    with pyplot.rc_context({"font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK}):
        figure, axes = pyplot.subplots(figsize=(9.2, 1.75 + _ROW * max(len(rows), 3)), dpi=160)
        for number, group in enumerate(rows):
            for place, agreement in enumerate(group):
                _bar(axes, number, place, len(shown), agreement)
        _dress(figure, axes, names, shown)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor="white")
        pyplot.close(figure)


def _bar(axes: Any, number: int, place: int, count: int, agreement: Any) -> None:
    rate = agreement.rule.rate
    y = number + (place - (count - 1) / 2) * _HEIGHT
    if rate.value is not None:
        counts, judged = agreement.rule.counts, agreement.rule.judged
        mattered, colour = counts["satisfied"] / judged, COLOURS[place]
        axes.barh(y, mattered, _HEIGHT * 0.88, color=colour, zorder=2)
        axes.barh(
            y, rate.value - mattered, _HEIGHT * 0.88, mattered, color=colour, alpha=0.38, zorder=2
        )
        axes.plot(
            [rate.low, rate.high],
            [y, y],
            color=_INK,
            linewidth=1.1,
            zorder=3,
            solid_capstyle="butt",
        )
        for end in (rate.low, rate.high):
            axes.plot([end, end], [y - 0.08, y + 0.08], color=_INK, linewidth=1.1, zorder=3)
    text = "–" if rate.value is None else f"{100 * rate.value:.0f} %"
    axes.text(1.085, y, text, ha="right", va="center", fontsize=8, color=_FAINT)
    symbol, colour = _PROOF.get(agreement.formal, ("–", _FAINT))
    axes.text(1.125, y, symbol, ha="center", va="center", fontsize=9, color=colour, weight="bold")


def _dress(figure: Any, axes: Any, names: Sequence[str], shown: Sequence[Shown]) -> None:
    from matplotlib.patches import Patch

    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.grid(axis="x", color=_GRID, zorder=0)
    axes.tick_params(length=0, colors=_INK)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.axvline(0, color=_FAINT, linewidth=0.8)
    axes.text(1.125, -0.75, "proof", ha="center", va="bottom", fontsize=8, color=_FAINT)
    campaign = shown[0].campaign
    counts = " and ".join(str(n) for n in dict.fromkeys(len(s.campaign.episodes) for s in shown))
    task = f", to {campaign.task_action.replace('_', ' ')}" if campaign.task_action else ""
    inches = figure.get_figheight()
    width = 0.05 + 0.0092 * max(map(len, names))
    figure.subplots_adjust(left=width, right=0.985, top=1 - 1.12 / inches, bottom=0.68 / inches)
    figure.text(0.02, 1 - 0.34 / inches, "How often each rule is kept", fontsize=14, weight="bold")
    figure.text(
        0.02,
        1 - 0.62 / inches,
        f"{campaign.world}{task}: share of {counts} simulated traces, 95 % intervals",
        color=_FAINT,
    )
    key = (
        "pale: kept without having mattered (vacuously) · proof in the hand-written world "
        f"{campaign.scenario.name}: ✓ holds, ✗ violated"
    )
    figure.text(0.985, 0.16 / inches, key, fontsize=8, color=_FAINT, ha="right")
    handles = [Patch(color=COLOURS[i], label=one.label) for i, one in enumerate(shown)]
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(0.985, 1 - 0.12 / inches),
        frameon=False,
        ncols=len(handles),
        handlelength=1.1,
        handleheight=1.0,
    )


def _short(name: str) -> str:
    """Φ5 for phi_5; words for others."""
    head, _, number = name.partition("_")
    return f"Φ{number}" if head == "phi" and number.isdigit() else name.replace("_", " ")
