"""The roads of a place, as the XML from which SUMO's netconvert makes a network.

The place is at the origin and our car comes from the south. Traffic keeps to the right. Every
arm has a carriageway of one lane per direction, ``in_S`` towards the place and ``out_S`` away
from it, with a pavement beside each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from worlds.simulation.layout import ARM_OF, Layout

PLACE = "J"
"""Node of a junction or a crossing, and name of its traffic light."""

ARM_LENGTH = 140.0
"""Metres from the centre to the end of an arm."""

RING_RADIUS = 16.0
"""Metres from the centre of a roundabout to the middle of its lane."""

LANE_WIDTH, PAVEMENT_WIDTH, CROSSWALK_WIDTH = 3.2, 2.4, 3.6
"""Metres."""

ROAD_SPEED, RING_SPEED = 8.33, 6.5
"""Speed limits, metres per second: a town where 30 km/h are allowed."""

_AT = {"N": (0.0, 1.0), "E": (1.0, 0.0), "S": (0.0, -1.0), "W": (-1.0, 0.0)}
_RING = "SENW"  # anticlockwise


def arms(layout: Layout) -> str:
    """The arms of the place, as letters of the compass."""
    if layout.shape == "crossing":
        return "NS"
    # A road that nobody comes from and nobody may enter is left out.
    northern = "opposite_car" in layout.cars or "go_straight" in layout.actions
    return "NESW" if northern or layout.shape == "roundabout" else "ESW"


def crosswalks(layout: Layout) -> tuple[str, ...]:
    """Arms with a crosswalk."""
    if layout.shape == "crossing":
        return ("S",) if layout.pedestrians else ()
    return tuple(ARM_OF[name] for name in layout.pedestrians)


def route(layout: Layout, start: str, end: str) -> tuple[str, ...]:
    """Edges from one arm to another."""
    if layout.shape != "roundabout":
        return (f"in_{start}", f"out_{end}")
    first, last = _RING.index(start), _RING.index(end)
    steps = (last - first) % 4 or 4
    ring = [_RING[(first + i) % 4] for i in range(steps + 1)]
    return (
        f"in_{start}",
        *(f"ring_{a}{b}" for a, b in pairwise(ring)),
        f"out_{end}",
    )


def node_of(layout: Layout, arm: str) -> str:
    """The node at which an arm meets the place."""
    return f"{PLACE}{arm}" if layout.shape == "roundabout" else PLACE


def nodes_xml(layout: Layout) -> str:
    """Plain XML of the nodes."""
    rows = [
        f'<node id="end_{arm}" x="{ARM_LENGTH * _AT[arm][0]}" y="{ARM_LENGTH * _AT[arm][1]}"/>'
        for arm in arms(layout)
    ]
    if layout.shape == "roundabout":
        rows += [
            f'<node id="{PLACE}{arm}" x="{RING_RADIUS * _AT[arm][0]}" '
            f'y="{RING_RADIUS * _AT[arm][1]}" type="priority" radius="6"/>'
            for arm in _RING
        ]
    else:
        radius = 3 if layout.shape == "crossing" else 5
        rows.append(f'<node id="{PLACE}" x="0" y="0" type="{_type(layout)}" radius="{radius}"/>')
    return _document("nodes", rows)


def _type(layout: Layout) -> str:
    if layout.lights:
        return "traffic_light"
    if layout.shape == "junction" and layout.all_way_stop:
        return "allway_stop"
    return "priority_stop" if layout.has_sign else "priority"


def edges_xml(layout: Layout) -> str:
    """Plain XML of the edges: arms, and the ring of a roundabout."""
    rows = []
    for arm in arms(layout):
        node, end = node_of(layout, arm), f"end_{arm}"
        # The crossing road is the major one where there are no lights and not everybody stops.
        priority = 3 if arm in "EW" and not layout.all_way_stop else 1
        if layout.shape == "roundabout":
            priority = 1
        rows.append(_edge(f"in_{arm}", end, node, priority, ROAD_SPEED))
        rows.append(_edge(f"out_{arm}", node, end, priority, ROAD_SPEED))
    if layout.shape == "roundabout":
        ring = list(_ring())
        for name, start, end, shape in ring:
            rows.append(_edge(name, start, end, 5, RING_SPEED, shape))
        nodes, edges = (" ".join(row[i] for row in ring) for i in (1, 0))
        rows.append(f'<roundabout nodes="{nodes}" edges="{edges}"/>')
    return _document("edges", rows)


def _edge(name: str, start: str, end: str, priority: int, speed: float, shape: str = "") -> str:
    drawn = f' shape="{shape}"' if shape else ""
    return (
        f'<edge id="{name}" from="{start}" to="{end}" numLanes="1" priority="{priority}" '
        f'speed="{speed}" width="{LANE_WIDTH}" sidewalkWidth="{PAVEMENT_WIDTH}"{drawn}/>'
    )


def _ring() -> Iterator[tuple[str, str, str, str]]:
    """Name, nodes and shape of each quarter of the ring."""
    for i, start in enumerate(_RING):
        end = _RING[(i + 1) % 4]
        angles = [math.radians(-90 + 90 * i + 90 * k / 12) for k in range(13)]
        shape = " ".join(
            f"{RING_RADIUS * math.cos(a):.2f},{RING_RADIUS * math.sin(a):.2f}" for a in angles
        )
        yield f"ring_{start}{end}", f"{PLACE}{start}", f"{PLACE}{end}", shape


def connections_xml(layout: Layout) -> str:
    """Plain XML of the crosswalks, and of the ways through the nodes of a roundabout."""
    rows = []
    if layout.shape == "roundabout":
        for i, arm in enumerate(_RING):
            before, after = f"ring_{_RING[i - 1]}{arm}", f"ring_{arm}{_RING[(i + 1) % 4]}"
            rows += [
                f'<connection from="{a}" to="{b}" fromLane="1" toLane="1"/>'
                for a, b in ((f"in_{arm}", after), (before, after), (before, f"out_{arm}"))
            ]
    rows += [
        f'<crossing node="{node_of(layout, arm)}" edges="in_{arm} out_{arm}" '
        f'priority="true" width="{CROSSWALK_WIDTH}"/>'
        for arm in crosswalks(layout)
    ]
    return _document("connections", rows)


def _document(kind: str, rows: list[str]) -> str:
    return "\n".join([f"<{kind}>", *rows, f"</{kind}>", ""])
