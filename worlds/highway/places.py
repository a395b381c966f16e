"""Where everything is: the lanes of a place in highway-env, paths over them, crosswalks, lines.

The place is at the origin; as in highway-env's pictures x points right and y points down. Our
car comes from the south (below). Traffic keeps to the right. An arm is a letter of the compass;
``S.start`` to ``S.in`` is the lane towards the place, ``S.out`` to ``S.end`` the lane away from
it. In a roundabout ``S.on`` and ``S.off`` are where the ring is entered and left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from highway_env.road.lane import AbstractLane, CircularLane, LineType, StraightLane
from highway_env.road.road import RoadNetwork
from numpy.typing import NDArray

from worlds.simulation.layout import ARM_OF, EXIT_OF, Layout, Shape

LaneIndex = tuple[str, str, int]

CAR_LENGTH, LANE_WIDTH = 5.0, 4.0
"""Metres."""

ARM_LENGTH = 100.0
"""Metres from the centre to the end of an arm."""

BOX = 10.0
"""Half the side of the square in which the roads of a junction meet, metres."""

RING_RADIUS = 16.0
"""Metres from the centre of a roundabout to the middle of its lane."""

LINE_GAP, WALK_GAP, WALK_DEPTH = 5.0, 1.0, 3.0
"""Metres from the end of an arm back to its stop line and to its crosswalk; the latter's depth."""

CLEAR = 7.0
"""Metres beyond the end of the exit lane's arm after which the middle of our car is out of the
way: its rear is behind the exit's crosswalk."""

ROAD_SPEED, RING_SPEED, RIGHT_SPEED, LEFT_SPEED = 9.0, 7.0, 5.5, 6.5
"""Speed limits in metres per second: of roads, of a roundabout, of turns to the right and left."""

_BEND = 8.0  # radius of the bends by which a ring is entered and left
_RING_LANE = 2.5  # of an arm's lanes' middle from its own, at a roundabout
_QUARTERS = {"S": 0, "W": 1, "N": 2, "E": 3}  # turns of the picture by 90 degrees


@dataclass(frozen=True)
class Walk:
    """A crosswalk over an arm.

    Attributes:
        arm: Which one.
        centre: Its middle, metres.
        across: Unit vector from one kerb to the other: as seen by who drives towards the place,
            from left to right.
        half: Metres from the middle to a kerb.
    """

    arm: str
    centre: NDArray[np.float64]
    across: NDArray[np.float64]
    half: float


@dataclass(frozen=True)
class Path:
    """Lanes that are driven one after another; ``s`` is measured along them in metres.

    Attributes:
        lanes: Indices in the road network.
        starts: s at which each lane begins.
        limits: Speed limit of each lane, metres per second.
        line: s of the stop line.
        enter: s at which the conflict area begins.
        leave: s at which it ends.
        clear: s from which a car's middle is out of everybody's way.
        walks: Crosswalks that are crossed: arm, s of the near and of the far edge.
    """

    lanes: tuple[LaneIndex, ...]
    starts: tuple[float, ...]
    limits: tuple[float, ...]
    line: float
    enter: float
    leave: float
    clear: float
    walks: tuple[tuple[str, float, float], ...]

    def s_of(self, network: RoadNetwork, lane: LaneIndex, position: NDArray[np.float64]) -> float:
        """s of a position on one of the lanes."""
        along = network.get_lane(lane).local_coordinates(position)[0]
        return self.starts[self.lanes.index(lane)] + along

    def speed_at(self, s: float, braking: float) -> float:
        """Highest speed at s with which all limits ahead can be kept by braking gently."""
        begins = (0.0, *self.starts[1:])
        ends = (*self.starts[1:], math.inf)
        return min(
            math.sqrt(limit**2 + 2 * braking * max(0.0, begin - s))
            for begin, end, limit in zip(begins, ends, self.limits, strict=True)
            if s < end
        )


@dataclass(frozen=True)
class Place:
    """The roads of a layout.

    Attributes:
        shape: Of the place.
        arms: Letters of the arms that exist.
        network: All lanes.
        edge: Metres from the centre to where an arm ends.
        line: Metres from the centre to a stop line.
        lane: Metres from the middle of an arm to the middle of its lanes.
        manoeuvres: Path of each manoeuvre of our car.
        streams: Paths of other cars, by the proposition that they can make true.
        walks: Crosswalks by arm.
    """

    shape: Shape
    arms: str
    network: RoadNetwork
    edge: float
    line: float
    lane: float
    manoeuvres: Mapping[str, Path]
    streams: Mapping[str, tuple[Path, ...]]
    walks: Mapping[str, Walk]


def turned(arm: str) -> NDArray[np.float64]:
    """Rotation matrix (2, 2) that takes the southern arm to another one."""
    angle = _QUARTERS[arm] * math.pi / 2
    c, s = round(math.cos(angle)), round(math.sin(angle))
    return np.array([[c, -s], [s, c]], dtype=np.float64)


def place_of(layout: Layout) -> Place:
    """Builds the roads of a layout."""
    if layout.shape == "crossing":
        return _crossing(layout)
    return _roundabout(layout) if layout.shape == "roundabout" else _junction(layout)


def _arms(layout: Layout) -> str:
    # A road that nobody comes from and nobody may enter is left out.
    northern = "opposite_car" in layout.cars or "go_straight" in layout.actions
    return "SWNE" if northern or layout.shape == "roundabout" else "SWE"


def _junction(layout: Layout) -> Place:
    arms, lane = _arms(layout), LANE_WIDTH / 2
    network = RoadNetwork()
    for arm in arms:
        _add_arm(network, arm, lane, BOX, ROAD_SPEED)
    for action in layout.actions:
        _add_turn(network, "S", EXIT_OF[action])
    streams: dict[str, tuple[Path, ...]] = {}
    for name in layout.cars:
        arm = ARM_OF[name]
        over = {"N": "S", "W": "E", "E": "W"}[arm]
        _add_turn(network, arm, over)
        streams[name] = (_path(network, layout, [arm, over], BOX),)
    manoeuvres = {
        action: _path(network, layout, ["S", EXIT_OF[action]], BOX) for action in layout.actions
    }
    return Place(
        *("junction", arms, network, BOX, BOX + LINE_GAP, lane, manoeuvres, streams),
        {ARM_OF[p]: _walk(ARM_OF[p], BOX, 2 * lane) for p in layout.pedestrians},
    )


def _add_arm(network: RoadNetwork, arm: str, lane: float, edge: float, limit: float) -> None:
    turn, stripes = turned(arm), (LineType.NONE, LineType.CONTINUOUS_LINE)
    for sign, begin, end, ends in (
        (1, ARM_LENGTH, edge, (f"{arm}.start", f"{arm}.in")),
        (-1, edge, ARM_LENGTH, (f"{arm}.out", f"{arm}.end")),
    ):
        start, stop = turn @ np.array([sign * lane, begin]), turn @ np.array([sign * lane, end])
        straight = StraightLane(start, stop, line_types=stripes, speed_limit=limit)  # type: ignore[arg-type]
        network.add_lane(*ends, straight)


def _add_turn(network: RoadNetwork, arm: str, exit_: str) -> None:
    """The lane from one arm of a junction to another."""
    ends = (f"{arm}.in", f"{exit_}.out")
    if ends[1] in network.graph.get(ends[0], {}):
        return
    quarter, turn, half = math.pi / 2 * _QUARTERS[arm], turned(arm), LANE_WIDTH / 2
    nothing = (LineType.NONE, LineType.NONE)
    lane: AbstractLane
    match (_QUARTERS[exit_] - _QUARTERS[arm]) % 4:
        case 1:  # to the left
            centre = turn @ np.array([-BOX, BOX])
            lane = CircularLane(
                *(centre, BOX + half, quarter, quarter - math.pi / 2, False),
                line_types=nothing,  # type: ignore[arg-type]
                speed_limit=LEFT_SPEED,
            )
        case 2:
            lane = StraightLane(
                *(turn @ np.array([half, BOX]), turn @ np.array([half, -BOX])),
                line_types=nothing,  # type: ignore[arg-type]
                speed_limit=ROAD_SPEED,
            )
        case _:
            centre = turn @ np.array([BOX, BOX])
            lane = CircularLane(
                *(centre, BOX - half, quarter + math.pi, quarter + 1.5 * math.pi),
                line_types=nothing,  # type: ignore[arg-type]
                speed_limit=RIGHT_SPEED,
            )
    network.add_lane(*ends, lane)


def _roundabout(layout: Layout) -> Place:
    aside = _RING_LANE + _BEND
    edge = math.sqrt((RING_RADIUS + _BEND) ** 2 - aside**2)  # the bend touches lane and ring
    network, at = RoadNetwork(), math.atan2(edge, aside)
    stripes = (LineType.NONE, LineType.NONE)
    for arm, next_arm in zip("SENW", "ENWS", strict=True):
        _add_arm(network, arm, _RING_LANE, edge, RING_SPEED)
        turn, quarter = turned(arm), math.pi / 2 * _QUARTERS[arm]
        for node, sign, first, last in (
            (("in", "on"), 1, math.pi, math.pi + at),
            (("off", "out"), -1, -at, 0.0),
        ):
            bend = CircularLane(
                *(turn @ np.array([sign * aside, edge]), _BEND, first + quarter, last + quarter),
                line_types=stripes,  # type: ignore[arg-type]
                speed_limit=RING_SPEED,
            )
            network.add_lane(f"{arm}.{node[0]}", f"{arm}.{node[1]}", bend)
        for ends, first, last in (
            ((f"{arm}.off", f"{arm}.on"), math.pi - at, at),
            ((f"{arm}.on", f"{next_arm}.off"), at, math.pi / 2 - at),
        ):
            ring = CircularLane(
                *([0.0, 0.0], RING_RADIUS, first + quarter, last + quarter, False),
                line_types=stripes,  # type: ignore[arg-type]
                speed_limit=RING_SPEED,
            )
            network.add_lane(*ends, ring)

    def around(arm: str, exit_: str) -> list[str]:
        nodes, now = [f"{arm}.in", f"{arm}.on"], arm
        while now != exit_:
            now = "SENW"["SENW".index(now) - 3]
            nodes += [f"{now}.off", f"{now}.on"]
        return [*nodes[:-1], f"{exit_}.out"]

    def path(arm: str, exit_: str) -> Path:
        return _path(network, layout, [arm, exit_], edge, around(arm, exit_))

    # Who leaves by an exit with a crosswalk may have to wait there, and would block the ring.
    exits = "N" if "pedestrian_at_right" in layout.pedestrians else "EN"
    streams = {
        name: tuple(path("W", exit_) for exit_ in exits)
        for name in layout.cars
        if name == "car_from_left"
    }
    manoeuvres = {action: path("S", EXIT_OF[action]) for action in layout.actions}
    return Place(
        *("roundabout", "SWNE", network, edge, edge + LINE_GAP, _RING_LANE, manoeuvres, streams),
        {
            ARM_OF[p]: _walk(ARM_OF[p], edge, _RING_LANE + LANE_WIDTH / 2)
            for p in layout.pedestrians
        },
    )


def _crossing(layout: Layout) -> Place:
    network, lane, half = RoadNetwork(), LANE_WIDTH / 2, WALK_DEPTH / 2 + 0.5
    for arm in "SN":
        _add_arm(network, arm, lane, half, ROAD_SPEED)
    for arm, over in ("SN", "NS"):
        ends = [turned(arm) @ np.array([lane, sign * half]) for sign in (1, -1)]
        network.add_lane(
            f"{arm}.in",
            f"{over}.out",
            StraightLane(
                ends[0],
                ends[1],
                line_types=(LineType.NONE, LineType.NONE),  # type: ignore[arg-type]
                speed_limit=ROAD_SPEED,
            ),
        )
    along = ARM_LENGTH - half
    path = Path(
        *(*_lanes(network, ["S.start", "S.in", "N.out", "N.end"]), along - 2.0),
        *(along, along + 2 * half, along + 2 * half + CAR_LENGTH / 2 + 0.5),
        (("S", along, along + 2 * half),) if layout.pedestrians else (),
    )
    walk = Walk("S", np.zeros(2), np.array([1.0, 0.0]), 2 * lane)
    return Place(
        *("crossing", "SN", network, half, half + 2.0, lane, {"go_straight": path}, {}),
        {"S": walk} if layout.pedestrians else {},
    )


def _walk(arm: str, edge: float, half: float) -> Walk:
    turn = turned(arm)
    centre = turn @ np.array([0.0, edge + WALK_GAP + WALK_DEPTH / 2])
    return Walk(arm, centre, turn @ np.array([1.0, 0.0]), half)


def _lanes(
    network: RoadNetwork, nodes: Sequence[str]
) -> tuple[tuple[LaneIndex, ...], tuple[float, ...], tuple[float, ...]]:
    """Indices, starts and limits of the lanes between nodes."""
    indices = tuple((a, b, 0) for a, b in pairwise(nodes))
    lanes: list[Any] = [network.get_lane(index) for index in indices]
    starts = [0.0]
    for lane in lanes[:-1]:
        starts.append(starts[-1] + float(lane.length))
    return indices, tuple(starts), tuple(float(lane.speed_limit) for lane in lanes)


def _path(
    network: RoadNetwork,
    layout: Layout,
    arms: Sequence[str],
    edge: float,
    between: Sequence[str] | None = None,
) -> Path:
    """The path from one arm to another, over the nodes ``between`` the ends of the arms."""
    first, last = arms
    nodes = between or [f"{first}.in", f"{last}.out"]
    lanes = _lanes(network, [f"{first}.start", *nodes, f"{last}.end"])
    indices, starts, _ = lanes
    into, out = ARM_LENGTH - edge, starts[-1]
    enter, leave = into, out
    if layout.shape == "roundabout" and first != "S":
        # Where our car joins the ring: from a car's length before to just behind.
        leave = starts[indices.index(("S.off", "S.on", 0)) + 1]
        enter = leave - CAR_LENGTH
    crossed = {ARM_OF[p] for p in layout.pedestrians}
    walks = [
        (arm, s, s + WALK_DEPTH)
        for arm, s in ((first, into - WALK_GAP - WALK_DEPTH), (last, out + WALK_GAP))
        if arm in crossed
    ]
    return Path(*lanes, into - LINE_GAP, enter, leave, out + CLEAR, tuple(walks))
