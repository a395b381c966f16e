"""What stands still in a picture: grass, houses, trees, roads, pavements, markings, signs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from worlds.simulation.layout import Layout
from worlds.sumo.canvas import Canvas, View, place
from worlds.sumo.network import Lane, Network, Point
from worlds.sumo.roads import CROSSWALK_WIDTH, LANE_WIDTH, PAVEMENT_WIDTH, RING_RADIUS, arms

HALF = {"junction": 58.0, "roundabout": 54.0, "crossing": 26.0}
"""Metres that are seen to each side, so that whoever makes a label true is in the picture."""

GRASS, PAVEMENT, KERB, ROAD, PAINT = "#cfdcc2", "#dad6cc", "#bdb8ac", "#565b63", "#f4f2ec"
_DASHES = "#c9cacb"
_ROOFS = ("#e9e2d6", "#e3d9cb", "#ece7df", "#dfd8cf")
_ROOF_EDGE, _SHADOW, _LEAVES, _LEAVES_EDGE = "#cbc1b1", "#b9c7ab", "#9dbb8b", "#86a675"
_SIGN, _POST = "#d13438", "#f8f4f0"

HEADING = {"S": 0.0, "W": math.pi / 2, "N": math.pi, "E": -math.pi / 2}
"""Where a car points to that comes from an arm, radians clockwise from the north."""


def draw_ground(layout: Layout, network: Network) -> Canvas:
    """Everything that never changes."""
    canvas = Canvas(View(HALF[layout.shape]), colour=GRASS)
    _town(canvas, layout)
    lanes = network.lanes.values()
    walks = [lane for lane in lanes if lane.kind == "normal" and not lane.for_cars]
    areas = [lane for lane in lanes if lane.kind == "walkingarea"]
    for grown, colour in ((0.25, KERB), (0.0, PAVEMENT)):
        for lane in walks:
            canvas.line(lane.shape, PAVEMENT_WIDTH + 2 * grown, colour)
        for lane in areas:
            canvas.polygon(lane.shape, colour)
            canvas.line((*lane.shape, lane.shape[0]), 2 * grown, colour)
    if layout.shape == "roundabout":
        outer = RING_RADIUS + LANE_WIDTH
        canvas.disc((0, 0), outer + PAVEMENT_WIDTH + 0.25, KERB)
        canvas.disc((0, 0), outer + PAVEMENT_WIDTH, PAVEMENT)
    for shape in network.junctions:
        canvas.polygon(shape, ROAD)
    for area in areas:
        canvas.polygon(area.shape, PAVEMENT)
    if layout.shape == "roundabout":
        for lane in walks:
            if lane.edge.startswith("ring"):  # over the pointed corners of the junctions
                for end in (lane.shape[0], lane.shape[-1]):
                    canvas.disc(end, PAVEMENT_WIDTH / 2, PAVEMENT)
        canvas.disc((0, 0), RING_RADIUS + LANE_WIDTH, ROAD)
    for lane in network.car_lanes.values():
        canvas.line(lane.shape, LANE_WIDTH + 0.1, ROAD)
    if layout.shape == "roundabout":
        _island(canvas)
    for arm in arms(layout):
        _centre_line(canvas, network.car_lanes[f"in_{arm}"])
        _stop_line(canvas, layout, network, arm)
    for edge in network.crosswalks.values():
        _zebra(canvas, network.lanes[f"{edge}_0"])
    for arm in _signed(layout):
        draw_sign(canvas, network, arm)
    return canvas


def _town(canvas: Canvas, layout: Layout) -> None:
    """Houses and trees, away from the roads; the same for the same layout."""
    source = random.Random(f"town {layout.scenario}")
    half = canvas.view.half
    clear = 9.5 if layout.shape != "roundabout" else 11.0
    taken: list[tuple[Point, float]] = []
    for _ in range(700):
        tree = source.random() < 0.6
        radius = source.uniform(1.2, 2.1) if tree else source.uniform(4.0, 7.5)
        x, y = source.uniform(-half, half), source.uniform(-half, half)
        near_road = abs(x) < clear + radius or ("E" in arms(layout) and abs(y) < clear + radius)
        if "N" not in arms(layout) and y > clear + radius:
            near_road = False
        near_ring = layout.shape == "roundabout" and math.hypot(x, y) < 27 + radius
        if near_road or near_ring or any(math.dist((x, y), p) < radius + r for p, r in taken):
            continue
        taken.append(((x, y), radius + 0.8))
        if tree:
            canvas.disc((x + 0.4, y - 0.4), radius, _SHADOW)
            canvas.disc((x, y), radius, _LEAVES, _LEAVES_EDGE)
        else:
            a, b = 0.62 * radius, 0.7 * radius
            for dx, colour, edge in (
                (0.8, _SHADOW, None),
                (0.0, source.choice(_ROOFS), _ROOF_EDGE),
            ):
                corners = [(x - a + dx, y - b - dx), (x + a + dx, y - b - dx)]
                corners += [(x + a + dx, y + b - dx), (x - a + dx, y + b - dx)]
                canvas.polygon(corners, colour, edge)
            canvas.line(((x - a, y), (x + a, y)), 0.15, _ROOF_EDGE)


def _island(canvas: Canvas) -> None:
    canvas.disc((0, 0), RING_RADIUS, KERB)
    canvas.disc((0, 0), RING_RADIUS - 0.35, GRASS)
    for radius, count, size in ((6.5, 7, 1.5), (0.0, 1, 2.6)):
        for i in range(count):
            a = 2 * math.pi * i / count + 0.3
            x, y = radius * math.cos(a), radius * math.sin(a)
            canvas.disc((x + 0.4, y - 0.4), size, _SHADOW)
            canvas.disc((x, y), size, _LEAVES, _LEAVES_EDGE)


def _centre_line(canvas: Canvas, lane: Lane) -> None:
    angle = HEADING[lane.edge[-1]]
    near = place(lane.shape[-1], angle, 0.0, -LANE_WIDTH / 2)
    far = place(lane.shape[0], angle, 0.0, -LANE_WIDTH / 2)
    canvas.dashes(near, far, 2.0, 0.16, _DASHES)


def stop_line(network: Network, arm: str) -> tuple[Point, Point]:
    """Ends of the stop line of an arm, left and right."""
    end, angle = network.car_lanes[f"in_{arm}"].shape[-1], HEADING[arm]
    side = LANE_WIDTH / 2 - 0.2
    return place(end, angle, -0.4, -side), place(end, angle, -0.4, side)


def _stop_line(canvas: Canvas, layout: Layout, network: Network, arm: str) -> None:
    left, right = stop_line(network, arm)
    major = layout.shape == "junction" and not layout.all_way_stop and arm in "EW"
    if layout.lights or arm in _signed(layout):
        canvas.line((left, right), 0.6, PAINT)
    elif not major:
        canvas.dashes(left, right, 0.35, 0.45, PAINT)


def _signed(layout: Layout) -> Iterator[str]:
    """Arms with a stop sign that stands there."""
    if not layout.has_sign or layout.has_guard or layout.shape != "junction":
        return
    for arm in arms(layout):
        if layout.all_way_stop or arm in "NS":
            yield arm


def _zebra(canvas: Canvas, lane: Lane) -> None:
    (x, y), (x2, y2) = lane.shape[0], lane.shape[-1]
    length = math.hypot(x2 - x, y2 - y)
    dx, dy = (x2 - x) / length, (y2 - y) / length
    count = round(length / 1.0)
    for i in range(count):
        along = (i + 0.5) * length / count
        cx, cy = x + along * dx, y + along * dy
        reach = CROSSWALK_WIDTH / 2 - 0.2
        ends = ((cx - reach * dy, cy + reach * dx), (cx + reach * dy, cy - reach * dx))
        canvas.line(ends, 0.5, PAINT)


def draw_sign(canvas: Canvas, network: Network, arm: str) -> None:
    """A stop sign beside the line of an arm."""
    end, angle = network.car_lanes[f"in_{arm}"].shape[-1], HEADING[arm]
    centre = place(end, angle, -1.5, LANE_WIDTH / 2 + PAVEMENT_WIDTH + 1.4)
    for radius, colour in ((1.75, _POST), (1.5, _SIGN)):
        turns = [math.radians(22.5 + 45 * i) for i in range(8)]
        canvas.polygon(
            [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in turns],
            colour,
        )
    canvas.line(((centre[0] - 0.8, centre[1]), (centre[0] + 0.8, centre[1])), 0.5, _POST)
