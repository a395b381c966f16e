"""Drawing in metres: a picture seen from above, smooth because it is drawn twice as large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from worlds.sumo.network import Point

SIZE = 600
"""Pixels, in width and in height."""

_FINER = 2


@dataclass(frozen=True)
class View:
    """A square part of the plane.

    Attributes:
        half: Metres from its middle, the origin, to its edges.
    """

    half: float

    @property
    def scale(self) -> float:
        """Drawn pixels in a metre."""
        return SIZE * _FINER / (2 * self.half)

    def at(self, point: Point) -> Point:
        """Drawn pixels of a point."""
        return (self.half + point[0]) * self.scale, (self.half - point[1]) * self.scale


class Canvas:
    """Draws shapes given in metres.

    Args:
        view: What is seen.
        ground: Drawn before; is not changed. Without it, everything has the colour.
        colour: See there.
    """

    def __init__(
        self, view: View, ground: Image.Image | None = None, colour: str = "white"
    ) -> None:
        size = SIZE * _FINER
        self.view = view
        self.image = ground.copy() if ground else Image.new("RGB", (size, size), colour)
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], colour: str, outline: str | None = None) -> None:
        """A filled outline."""
        drawn = [self.view.at(point) for point in points]
        self._draw.polygon(drawn, fill=colour)
        if outline:
            self._draw.line([*drawn, drawn[0], drawn[1]], fill=outline, width=2, joint="curve")

    def line(self, points: Sequence[Point], width: float, colour: str) -> None:
        """A line of some metres in width, with flat ends."""
        drawn = [self.view.at(point) for point in points]
        pixels = max(1, round(width * self.view.scale))
        self._draw.line(drawn, fill=colour, width=pixels, joint="curve")

    def dashes(self, start: Point, end: Point, length: float, width: float, colour: str) -> None:
        """Equal dashes and gaps."""
        for a, b in _pieces(start, end, length):
            self.line((a, b), width, colour)

    def disc(self, centre: Point, radius: float, colour: str, outline: str | None = None) -> None:
        """A filled circle."""
        x, y = self.view.at(centre)
        r = radius * self.view.scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=outline, width=2)

    def box(
        self,
        front: Point,
        angle: float,
        length: float,
        width: float,
        colour: str,
        outline: str | None = None,
    ) -> None:
        """A box with rounded corners.

        Args:
            front: Middle of its front.
            angle: Where it points to, radians clockwise from the north.
            length: Metres.
            width: Metres.
            colour: Inside.
            outline: Of the border, if it has one.
        """
        corner = 0.25 * width
        points = [
            place(front, angle, -ahead, aside) for ahead, aside in _rounded(length, width, corner)
        ]
        self.polygon(points, colour, outline)

    def finished(self) -> Image.Image:
        """The picture in its final size."""
        return self.image.reduce(_FINER)


def place(origin: Point, angle: float, ahead: float, aside: float) -> Point:
    """The point so many metres ahead of and to the right of another one."""
    x, y = math.sin(angle), math.cos(angle)
    return origin[0] + ahead * x + aside * y, origin[1] + ahead * y - aside * x


def _rounded(length: float, width: float, radius: float) -> list[Point]:
    """Outline of a box from its front backwards: metres behind the front, metres to the right."""
    half = width / 2 - radius
    centres = ((radius, half, -90), (length - radius, half, 0))
    centres += ((length - radius, -half, 90), (radius, -half, 180))
    outline: list[Point] = []
    for behind, aside, turn in centres:
        for degrees in (0, 30, 60, 90):
            a = math.radians(turn + degrees)
            outline.append((behind + radius * math.sin(a), aside + radius * math.cos(a)))
    return outline


def _pieces(start: Point, end: Point, length: float) -> list[tuple[Point, Point]]:
    total = math.dist(start, end)
    count = max(1, int((total / length + 1) // 2))

    def at(metres: float) -> Point:
        share = min(1.0, metres / total)
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    return [(at(2 * i * length), at((2 * i + 1) * length)) for i in range(count)]
