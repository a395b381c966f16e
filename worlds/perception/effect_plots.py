"""Pictures of what perception does to controllers, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from worlds.perception.effect import Effect
from worlds.perception.plots import BLUE, COLOURS, FAINT, GREEN, INK, ORANGE, RED, as_png, style
from worlds.statistics import Rate

_NAMES = {"phi": "Φ"}


def effect_picture(found: Mapping[str, Sequence[Effect]], title: str, most: int = 6) -> bytes:
    """P_Φ per specification, one panel per controller, one colour per way of seeing.

    Only the specifications that changed most, by any controller, are shown.

    Args:
        found: By controller, the effects without a band, the truthful one first.
        title: Over it all.
        most: Specifications shown.
    """
    rows = {name: [e for e in effects if e.band == 0] for name, effects in found.items()}
    shown = _most_changed(rows, most)
    with style():
        figure = Figure(figsize=(7.4, 0.9 + 2.7 * len(rows)), layout="constrained")
        figure.suptitle(title, x=0.02, ha="left", fontsize=12.5, fontweight="bold", color=INK)
        panels = figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0]
        for axes, (name, effects) in zip(panels, rows.items(), strict=True):
            _effect_panel(axes, name, effects, shown)
        handles, labels = panels[0].get_legend_handles_labels()
        if any(e.lowest for effects in rows.values() for e in effects):
            handles.append(Line2D([], [], color=FAINT, linewidth=2, alpha=0.5))
            labels.append("not below (bound)")
        figure.legend(handles, labels, loc="outside lower left", ncols=min(len(labels), 3))
        return as_png(figure)


def _most_changed(rows: Mapping[str, Sequence[Effect]], most: int) -> list[str]:
    change: dict[str, float] = {}
    for effects in rows.values():
        for effect in effects:
            for name, rate in effect.change.items():
                change[name] = max(change.get(name, 0.0), abs(rate.value or 0.0))
    order = list(change)
    kept = sorted(order, key=lambda n: -change[n])[:most]
    return [name for name in order if name in kept]


def _effect_panel(axes: Axes, name: str, effects: Sequence[Effect], shown: Sequence[str]) -> None:
    width = 0.8 / len(effects)
    for i, effect in enumerate(effects):
        x = np.arange(len(shown)) + (i - (len(effects) - 1) / 2) * width
        rates = [effect.satisfied[spec] for spec in shown]
        colour = FAINT if i == 0 else COLOURS[(i - 1) % len(COLOURS)]
        _dots(axes, x, rates, colour, effect.condition)
        floors = [effect.lowest.get(spec) for spec in shown]
        for position, floor in zip(x, floors, strict=True):
            if floor is not None:
                axes.plot(
                    [position - 0.4 * width, position + 0.4 * width],
                    [floor, floor],
                    color=colour,
                    linewidth=2,
                    alpha=0.5,
                    solid_capstyle="butt",
                )
    axes.set_title(name)
    axes.set(ylabel="$P_\\Phi$", ylim=(-0.03, 1.05), xlim=(-0.5, len(shown) - 0.5))
    axes.set_xticks(range(len(shown)), [_symbol(spec) for spec in shown])
    axes.grid(visible=False, axis="x")
    for edge in np.arange(0.5, len(shown) - 1):
        axes.axvline(edge, color="#eef0f2", linewidth=1)


def _dots(axes: Axes, x: np.ndarray, rates: Sequence[Rate], colour: str, label: str) -> None:
    y = np.array([r.value or 0.0 for r in rates])
    low, high = np.array([r.low for r in rates]), np.array([r.high for r in rates])
    axes.errorbar(
        x,
        y,
        yerr=[y - low, high - y],
        fmt="o",
        color=colour,
        markersize=5,
        elinewidth=1.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        label=label,
    )


def _symbol(name: str) -> str:
    kind, _, number = name.partition("_")
    return f"{_NAMES[kind]}{number}" if kind in _NAMES and number.isdigit() else name


def band_picture(effects: Sequence[Effect], title: str) -> bytes:
    """What stopping when unsure gains in safety and costs in time, over the width of the band.

    Args:
        effects: Of one controller and one way of seeing, with rising bands.
        title: Over it all.
    """
    with style():
        figure = Figure(figsize=(6.4, 6.0), layout="constrained")
        figure.suptitle(title, x=0.02, ha="left", fontsize=12.5, fontweight="bold", color=INK)
        upper, lower = figure.subplots(2, 1, sharex=True)
        x = [e.band for e in effects]
        percent = PercentFormatter(1, decimals=0)
        for rates, colour, label in (
            ([e.unviolated for e in effects], BLUE, "violate no specification"),
            ([e.finished for e in effects], GREEN, "make the manoeuvre"),
            ([e.collisions for e in effects], RED, "end in a collision"),
        ):
            _line(upper, x, rates, colour, label)
        upper.set(ylabel="share of episodes", ylim=(-0.03, 1.05))
        upper.yaxis.set_major_formatter(percent)
        upper.legend(loc="center left")
        means = np.array([e.seconds[0] for e in effects])
        reach = np.array([e.seconds[1] for e in effects])
        lower.fill_between(x, means - reach, means + reach, color=ORANGE, alpha=0.18, lw=0)
        lower.plot(x, means, color=ORANGE, linewidth=1.8, marker="o", markersize=5)
        lower.set(
            ylabel="mean time of an episode, s",
            xlabel="half width of the band around the threshold in which the car stops",
            ylim=(0, None),
        )
        return as_png(figure)


def _line(axes: Axes, x: Sequence[float], rates: Sequence[Rate], colour: str, label: str) -> None:
    low, high = [r.low for r in rates], [r.high for r in rates]
    axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
    y = [r.value or 0.0 for r in rates]
    axes.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=5, label=label)
