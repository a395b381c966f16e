"""A picture of a label: the things that hold, drawn where a driver would see them from above."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worlds.simulation.layout import ARROW, FLASHING, LIGHT, SIGN, Shape

SIZE = 360
"""Height and width of the picture in pixels."""

Where = Literal["start", "line", "behind"]

_SCALE = 2  # drawn larger and shrunk, for smooth edges
_GRASS, _ROAD, _PAINT = "#dfe8d8", "#6c7078", "#f4f4f0"
_OWN, _OTHER, _PEDESTRIAN = "#1f5fbf", "#d2642a", "#7b3fa0"
_GREEN, _RED, _DARK, _YELLOW = "#2f9e44", "#c92a2a", "#30343b", "#f2b01e"
_HALF = 52  # half the width of a road
_LANE = 26  # of its lanes' middle from its own

_Draw = ImageDraw.ImageDraw
_Box = tuple[float, float, float, float]

_CARS = {  # middle and whether it stands upright, of an approaching car
    "opposite_car": (180 - _LANE, 62, True),
    "car_from_left": (62, 180 + _LANE, False),
    "car_from_right": (298, 180 - _LANE, False),
}
_PEDESTRIANS = {
    "pedestrian_in_front": (180 + _LANE, 248),
    "pedestrian_at_left": (112, 180 - _LANE),
    "pedestrian_at_right": (248, 180 + _LANE),
}
_KERBS = {  # where there is only a crossing
    "pedestrian_in_front": (180 + _LANE, 180),
    "pedestrian_at_left": (180 - _HALF - 16, 180),
    "pedestrian_at_right": (180 + _HALF + 16, 180),
}
_ENDS = {"turn_left": (40, 154, False), "turn_right": (320, 206, False)}


def sketch(
    shape: Shape, known: tuple[str, ...], label: Set[str], where: Where, manoeuvre: str | None
) -> NDArray[np.uint8]:
    """The place from above, our car coming from below.

    Args:
        shape: Of the place.
        known: What can be observed there: what does not hold of it is drawn dark or not at all.
        label: What holds.
        where: Where our car is.
        manoeuvre: How it left, once it is behind the place.

    Returns:
        (`SIZE`, `SIZE`, 3), RGB.
    """
    picture = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), _GRASS)
    draw = ImageDraw.Draw(picture)
    _roads(draw, shape)
    places = _KERBS if shape == "crossing" else _PEDESTRIANS
    for name, (x, y) in places.items():
        if name in label:
            _disc(draw, x, y, 9, _PEDESTRIAN)
    for name, (x, y, upright) in _CARS.items():
        if name in label:
            _car(draw, x, y, upright, _OTHER)
    _signals(draw, known, label)
    x, y, upright = {
        "start": (206, 326, True),
        "line": (206, 218 if shape == "crossing" else 288, True),
    }.get(where, _ENDS.get(manoeuvre or "", (206, 34, True)))
    _car(draw, x, y, upright, _OWN)
    shrunk = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    return np.asarray(shrunk, dtype=np.uint8)


def _roads(draw: _Draw, shape: Shape) -> None:
    low, high = 180 - _HALF, 180 + _HALF
    _box(draw, (low, 0, high, 360), _ROAD)
    if shape != "crossing":
        _box(draw, (0, low, 360, high), _ROAD)
    if shape == "roundabout":
        _disc(draw, 180, 180, 98, _ROAD)
        _disc(draw, 180, 180, 30, _GRASS)
    for start in range(8, 360, 28):
        if shape == "crossing" or not 60 < start < 290:
            _box(draw, (179, start, 181, start + 14), _PAINT)
            if shape != "crossing":
                _box(draw, (start, 179, start + 14, 181), _PAINT)
    stripes = range(low + 5, high, 14)
    middle = 180 if shape == "crossing" else 248
    for x in stripes:
        _box(draw, (x, middle - 11, x + 7, middle + 11), _PAINT)
    if shape != "crossing":
        for y in stripes:
            _box(draw, (101, y, 123, y + 7), _PAINT)
            _box(draw, (237, y, 259, y + 7), _PAINT)
    _box(draw, (181, middle + 15, high, middle + 18), _PAINT)


def _signals(draw: _Draw, known: tuple[str, ...], label: Set[str]) -> None:
    """Lights and sign at the right of our lane."""
    lights = [name for name in (ARROW, FLASHING, LIGHT) if name in known]
    left, top = 250, 286
    if lights:
        _box(draw, (left, top, left + 30 * len(lights), top + 56), _DARK)
    for number, name in enumerate(lights):
        x, on = left + 15 + 30 * number, name in label
        _disc(draw, x, top + 15, 10, "#5b3030" if on else _RED)
        colour = (_YELLOW if name == FLASHING else _GREEN) if on else "#2b4a33"
        if name == LIGHT:
            _disc(draw, x, top + 41, 10, colour)
        else:
            _polygon(draw, [(x - 11, top + 41), (x + 1, top + 31), (x + 1, top + 51)], colour)
            _box(draw, (x, top + 38, x + 10, top + 44), colour)
    if SIGN in label:
        points = [
            (
                270 + 22 * math.cos(math.pi * (k + 0.5) / 4),
                316 + 22 * math.sin(math.pi * (k + 0.5) / 4),
            )
            for k in range(8)
        ]
        _polygon(draw, points, _RED)
        _polygon(draw, [(270 + (x - 270) * 0.8, 316 + (y - 316) * 0.8) for x, y in points], _PAINT)
        _polygon(draw, [(270 + (x - 270) * 0.7, 316 + (y - 316) * 0.7) for x, y in points], _RED)


def _car(draw: _Draw, x: float, y: float, upright: bool, colour: str) -> None:
    w, h = (11, 20) if upright else (20, 11)
    corners = [value * _SCALE for value in (x - w, y - h, x + w, y + h)]
    draw.rounded_rectangle(corners, radius=6 * _SCALE, fill=colour, outline="#ffffff", width=3)


def _box(draw: _Draw, box: _Box, colour: str) -> None:
    x0, y0, x1, y1 = (value * _SCALE for value in box)
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)


def _disc(draw: _Draw, x: float, y: float, radius: float, colour: str) -> None:
    draw.ellipse(
        [value * _SCALE for value in (x - radius, y - radius, x + radius, y + radius)], fill=colour
    )


def _polygon(draw: _Draw, points: list[tuple[float, float]], colour: str) -> None:
    draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=colour)
