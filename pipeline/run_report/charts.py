"""Line charts as inline SVG: axes, lines, bands, labels at the lines' ends, values on hover.

Colours are classes of the page's style sheet, so that a chart follows light and dark mode. A chart
is drawn for a width of some 380 pixels and is placed several in a row or one above the other:
text then keeps its size on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 380, 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 100, 14, 34
_LABEL_GAP = 14.5
_RAW_POINTS = 120
"""Longer series are thinned to so many means."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A series.

    Attributes:
        label: Written at its end.
        points: (x, y), in order of x.
        style: Class of the style sheet that gives the colour: ``one`` … ``four``.
        intervals: (x, low, high) around the points, drawn as whiskers.
        raw: Points drawn faintly behind it.
        marked: Whether every point has a dot.
        quiet: Whether the label is only shown on hover.
        aside: Pixels by which it is moved to the right, to keep whiskers apart.
    """

    label: str
    points: Sequence[Point]
    style: str
    intervals: Sequence[tuple[float, float, float]] = ()
    raw: Sequence[Point] = ()
    marked: bool = False
    quiet: bool = False
    aside: float = 0.0


@dataclass(frozen=True)
class Chart:
    """What is drawn, and how its axes are labelled.

    Attributes:
        title: For readers of the page who do not see it.
        lines: The series.
        y_text: How a value is written.
        x_ticks: (x, text); chosen if empty.
        x_label: Under the axis.
        levels: (y, text) of dashed horizontals.
        walls: (x, text) of vertical separators, each the beginning of a part.
        low: Lowest value of the y axis; from the data if None.
        high: Highest, likewise.
        inset: Pixels between the y axis and the first x, and after the last.
        hover: Text of a column: the points' x as text.
    """

    title: str
    lines: Sequence[Line]
    y_text: Callable[[float], str]
    x_ticks: Sequence[tuple[float, str]] = ()
    x_label: str = ""
    levels: Sequence[tuple[float, str]] = ()
    walls: Sequence[tuple[float, str]] = ()
    low: float | None = None
    high: float | None = None
    inset: float = 0.0
    hover: Callable[[float], str] = field(default=lambda x: f"{x:g}")


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``.

    The first and the last may lie beyond the bounds, so that the axis covers them.
    """
    if not high > low:
        return [low, low + 1]
    rough = (high - low) / max(1, wanted - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def thinned(points: Sequence[Point], most: int = _RAW_POINTS) -> list[Point]:
    """Means of consecutive points, at most ``most`` of them."""
    size = math.ceil(len(points) / most) if points else 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """Each y replaced by the mean of the ``window`` points around it (fewer at the ends)."""
    half = window // 2
    out: list[Point] = []
    for index, (x, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)
        around = points[index - reach : index + reach + 1]
        out.append((x, sum(y for _, y in around) / len(around)))
    return out


def spread(wanted: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least ``gap`` apart, inside the bounds.

    If there is no room for all, they are as far apart as there is.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places: list[float] = []
    for rank, index in enumerate(order):
        floor = places[-1] + gap if places else low
        ceiling = high - gap * (len(order) - 1 - rank)
        places.append(min(max(wanted[index], floor), ceiling))
    out = [0.0] * len(wanted)
    for place, index in zip(places, order, strict=True):
        out[index] = place
    return out


def draw(chart: Chart) -> Markup:
    """The chart as SVG."""
    values = [y for line in chart.lines for _, y in (*line.points, *line.raw)]
    values += [edge for line in chart.lines for _, *edges in line.intervals for edge in edges]
    values += [y for y, _ in chart.levels]
    xs = [x for line in chart.lines for x, _ in (*line.points, *line.raw)]
    if not values:
        return Markup("")
    xs += [start for start, _ in chart.walls]
    low = min(values) if chart.low is None else chart.low
    high = max(values) if chart.high is None else chart.high
    rows = ticks(low, high)
    scale = _Scale(min(xs), max(xs), rows[0], rows[-1], chart.inset)
    return Markup("").join(
        [
            Markup(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="'),
            escape(chart.title),
            Markup('">'),
            *_axes(chart, scale, rows),
            *(_line(line, scale) for line in chart.lines),
            _labels(chart, scale),
            *_columns(chart, scale),
            Markup("</svg>"),
        ]
    )


@dataclass(frozen=True)
class _Scale:
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    inset: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low
        share = (value - self.x_low) / span if span else 0.5
        return round(_LEFT + self.inset + share * (WIDTH - _LEFT - _RIGHT - 2 * self.inset), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def _element(name: str, text: str | None = None, /, **attributes: object) -> Markup:
    shown = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
    )
    if text is None:
        return Markup(f"<{name}{shown}/>")
    return Markup(f"<{name}{shown}>{escape(text)}</{name}>")


def _axes(chart: Chart, scale: _Scale, rows: Sequence[float]) -> list[Markup]:
    left, right, bottom = _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    out = []
    for value in rows:
        y = scale.y(value)
        kind = "grid base" if value == rows[0] else "grid"
        out.append(_element("line", class_=kind, x1=left, x2=right, y1=y, y2=y))
        out.append(
            _element(
                "text", chart.y_text(value), class_="tick", x=left - 8, y=y + 4, text_anchor="end"
            )
        )
    for start, text in chart.walls:
        x = scale.x(start)
        if x > left + 1:
            out.append(_element("line", class_="wall", x1=x, x2=x, y1=_TOP - 4, y2=bottom))
        out.append(_element("text", text, class_="part", x=x + 4, y=_TOP))
    for value, text in chart.levels:
        y = scale.y(value)
        out.append(_element("line", class_="level", x1=left, x2=right, y1=y, y2=y))
        out.append(_element("text", text, class_="part", x=right - 4, y=y + 13, text_anchor="end"))
    for value, text in chart.x_ticks or _x_ticks(scale):
        x = scale.x(value)
        out.append(_element("text", text, class_="tick", x=x, y=bottom + 16, text_anchor="middle"))
    if chart.x_label:
        middle = (left + right) / 2
        out.append(
            _element(
                "text", chart.x_label, class_="part", x=middle, y=HEIGHT - 3, text_anchor="middle"
            )
        )
    return out


def _x_ticks(scale: _Scale) -> list[tuple[float, str]]:
    inside = [x for x in ticks(scale.x_low, scale.x_high, 6) if scale.x_low <= x <= scale.x_high]
    return [(x, f"{x:g}") for x in inside]


def _path(points: Sequence[Point], scale: _Scale, aside: float = 0.0) -> str:
    return "M" + "L".join(f"{scale.x(x) + aside:g} {scale.y(y):g}" for x, y in points)


def _line(line: Line, scale: _Scale) -> Markup:
    inside = Markup("")
    for x, low, high in line.intervals:
        at = _path([(x, low), (x, high)], scale, line.aside)
        inside += _element("path", class_="whisker", d=at)
    if line.raw:
        inside += _element("path", class_="raw", d=_path(line.raw, scale))
    inside += _element("path", class_="line", d=_path(line.points, scale, line.aside))
    if line.marked or len(line.points) == 1:
        for x, y in line.points:
            place = scale.x(x) + line.aside
            inside += _element("circle", class_="dot", cx=f"{place:g}", cy=scale.y(y), r=3.4)
    return Markup('<g class="series {}">{}</g>').format(line.style, inside)


def _labels(chart: Chart, scale: _Scale) -> Markup:
    shown = [line for line in chart.lines if line.points and not line.quiet]
    ends = [scale.y(line.points[-1][1]) for line in shown]
    places = spread(ends, _TOP, HEIGHT - _BOTTOM, _LABEL_GAP)
    texts = (
        _element(
            "text",
            line.label,
            class_=f"name {line.style}",
            x=WIDTH - _RIGHT + 9,
            y=round(place + 4, 1),
        )
        for line, place in zip(shown, places, strict=True)
    )
    return Markup("").join(texts)


def _columns(chart: Chart, scale: _Scale) -> list[Markup]:
    """For every x an invisible column that shows the values there when pointed at."""
    xs = sorted({x for line in chart.lines for x, _ in line.points})
    found: dict[float, list[tuple[Line, float]]] = {x: [] for x in xs}
    for line in chart.lines:
        for x, y in line.points:
            found[x].append((line, y))
    places = [scale.x(x) for x in xs]
    bounds = [
        _LEFT - 6,
        *((a + b) / 2 for a, b in pairwise(places)),
        WIDTH - _RIGHT + 6,
    ]
    out = []
    for index, x in enumerate(xs):
        told = [chart.hover(x)]
        dots = Markup("")
        for line, y in found[x]:
            interval = next(((low, high) for at, low, high in line.intervals if at == x), None)
            around = f" ({' – '.join(map(chart.y_text, interval))})" if interval else ""
            told.append(f"{line.label}: {chart.y_text(y)}{around}")
            dots += _element(
                "circle",
                class_=f"at {line.style}",
                cx=f"{places[index] + line.aside:g}",
                cy=scale.y(y),
                r=4,
            )
        rectangle = _element(
            "rect",
            x=round(bounds[index], 1),
            y=_TOP - 4,
            width=round(max(0.5, bounds[index + 1] - bounds[index]), 1),
            height=HEIGHT - _TOP - _BOTTOM + 4,
        )
        cross = _element(
            "line",
            class_="cross",
            x1=places[index],
            x2=places[index],
            y1=_TOP - 4,
            y2=HEIGHT - _BOTTOM,
        )
        out.append(
            Markup('<g class="column">{}{}{}{}</g>').format(
                _element("title", "\n".join(told)), rectangle, cross, dots
            )
        )
    return out
