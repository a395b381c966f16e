"""Pictures from above: the ground, which is drawn once, and on it signals, cars and pedestrians."""

from __future__ import annotations

import math
import zlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from worlds.simulation.layout import ARROW, FLASHING, Layout
from worlds.sumo.canvas import Canvas, View, place
from worlds.sumo.engine import signals, sumo
from worlds.sumo.ground import HALF, HEADING, draw_ground, draw_sign, stop_line
from worlds.sumo.network import Network, Point
from worlds.sumo.roads import LANE_WIDTH, PAVEMENT_WIDTH, arms
from worlds.sumo.traffic import CAR_LENGTH, CAR_WIDTH, US

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_RED, _AMBER, _GREEN = "#e5383b", "#f6b73c", "#2fb344"
_SHOWN = {"G": _GREEN, "g": _GREEN, "y": _AMBER, "r": _RED}
_HOUSING, _DARK = "#22262b", "#454b52"
_OURS, _OURS_EDGE, _GLASS = "#1f6feb", "#ffffff", "#26303b"
_CARS = ("#b8bec7", "#8b95a1", "#e8e6e1", "#a85751", "#6f8f72", "#c9a25f", "#77809a")
_CAR_EDGE = "#2e3338"
_CLOTHES = ("#d9480f", "#7048e8", "#0b7285", "#c2255c", "#5c940d", "#e67700")
_PEDESTRIAN_EDGE = "#fdfcf9"


class Painter:
    """Draws what the running simulation looks like.

    Args:
        layout: What there is.
        network: Where it is.
    """

    def __init__(self, layout: Layout, network: Network) -> None:
        self._layout = layout
        self._network = network

    @cached_property
    def _ground(self) -> Image.Image:
        return draw_ground(self._layout, self._network).image

    def paint(self, held_up: bool = False) -> NDArray[np.uint8]:
        """The picture, (600, 600, 3), RGB; with a guard's sign if it is held up."""
        canvas = Canvas(View(HALF[self._layout.shape]), self._ground)
        if self._network.links:
            self._signals(canvas)
        if held_up:
            draw_sign(canvas, self._network, "S")
        for walker in sumo.person.getIDList():
            at: Point = sumo.person.getPosition(walker)
            canvas.disc(at, 0.72, _one_of(_CLOTHES, walker), _PEDESTRIAN_EDGE)
        for car in sorted(sumo.vehicle.getIDList(), key=lambda name: name == US):
            _car(canvas, car)
        return np.asarray(canvas.finished())

    def _signals(self, canvas: Canvas) -> None:
        state, links = signals(), self._network.links
        for arm in arms(self._layout):
            main = next(m for m in (f"{arm}s", f"{arm}r", f"{arm}l") if m in links)
            colour = _SHOWN[state[links[main]]]
            canvas.line(stop_line(self._network, arm), 0.6, colour)
            self._head(canvas, arm, colour, arm == "S")
        for arm, edge in self._network.crosswalks.items():
            if f"p{arm}" in links:
                lane = self._network.lanes[f"{edge}_0"]
                for end in (lane.shape[0], lane.shape[-1]):
                    canvas.disc(end, 0.42, _SHOWN[state[links[f"p{arm}"]]], _HOUSING)

    def _head(self, canvas: Canvas, arm: str, colour: str, ours: bool) -> None:
        """A signal beside the stop line; ours is larger, and has an arrow where there is one."""
        end, angle = self._network.car_lanes[f"in_{arm}"].shape[-1], HEADING[arm]
        size = 1.0 if ours else 0.7
        foot = place(end, angle, 0.0, LANE_WIDTH / 2 + PAVEMENT_WIDTH + 2.0 * size + 0.6)
        arrow = ours and {ARROW, FLASHING} & set(self._layout.lights)
        lamps = [colour] if "green_traffic_light" in self._layout.lights or not ours else []
        width = 2.5 * size * (len(lamps) + bool(arrow))
        front = place(foot, angle, 1.3 * size, width / 2 - 1.25 * size)
        canvas.box(front, angle, 2.6 * size, width, _HOUSING)
        at = foot
        if arrow:
            self._arrow(canvas, at)
            at = place(foot, angle, 0.0, 2.5 * size)
        for lamp in lamps:
            canvas.disc(at, 0.95 * size, lamp)

    def _arrow(self, canvas: Canvas, at: Point) -> None:
        shown = signals()[self._network.links["Sl"]]
        permissive = shown == "g" and FLASHING in self._layout.lights
        colour = _GREEN if shown == "G" else _AMBER if permissive or shown == "y" else _DARK
        x, y = at
        canvas.polygon([(x - 1.0, y), (x, y + 0.85), (x, y - 0.85)], colour)
        canvas.line(((x - 0.1, y), (x + 0.9, y)), 0.55, colour)


def _car(canvas: Canvas, car: str) -> None:
    front: Point = sumo.vehicle.getPosition(car)
    angle = math.radians(sumo.vehicle.getAngle(car))
    if car == US:
        around = place(front, angle, 0.35, 0.0)
        canvas.box(around, angle, CAR_LENGTH + 0.7, CAR_WIDTH + 0.7, _OURS_EDGE)
    colour, edge = (_OURS, None) if car == US else (_one_of(_CARS, car), _CAR_EDGE)
    canvas.box(front, angle, CAR_LENGTH, CAR_WIDTH, colour, edge)
    canvas.box(place(front, angle, -1.1, 0.0), angle, 0.75, CAR_WIDTH * 0.78, _GLASS)
    canvas.box(place(front, angle, -3.5, 0.0), angle, 0.45, CAR_WIDTH * 0.7, _GLASS)


def _one_of(colours: tuple[str, ...], name: str) -> str:
    """The same colour for the same name, in every process."""
    return colours[zlib.crc32(name.encode()) % len(colours)]
