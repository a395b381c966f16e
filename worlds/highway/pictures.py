"""Pictures from above, with highway-env's surface, lane and vehicle graphics and our own objects.

Everything is drawn larger and shrunk, for smooth edges. What does not move is drawn once.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import Any

# No window is ever opened.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import pygame
from highway_env.road.graphics import LaneGraphics, WorldSurface
from highway_env.road.road import Road
from highway_env.vehicle.graphics import VehicleGraphics
from numpy.typing import NDArray

from worlds.highway.cars import OwnCar
from worlds.highway.objects import Crosswalk, Pedestrian, StopLine, StopSign, TrafficLight
from worlds.highway.places import ARM_LENGTH, RING_RADIUS, Place, turned

SIZE = 600
"""Height and width of a picture in pixels."""

VIEW = {"junction": 66.0, "roundabout": 86.0, "crossing": 48.0}
"""Metres that are seen from side to side, by shape."""

_SOUTH = {"junction": 3.0, "roundabout": 9.0, "crossing": 0.0}
"""Metres by which the middle of the picture is south of the place's."""

Rgb = tuple[int, int, int]

_LARGER = 2
_GRASS, _ROAD, _PAVEMENT, _PAINT = (205, 220, 190), (92, 96, 104), (188, 186, 178), (246, 245, 238)
_OWN, _OTHER, _CRASHED = (42, 132, 246), (233, 150, 62), (214, 48, 49)
_PEOPLE, _OUTLINE, _HOUSING, _DARK = (146, 62, 176), (40, 42, 48), (34, 36, 40), (74, 77, 84)
_LAMPS: dict[str, Rgb] = {"red": (235, 50, 45), "yellow": (250, 190, 30), "green": (40, 205, 90)}
_SIGN = (200, 30, 40)


def picture(place: Place, road: Road) -> NDArray[np.uint8]:
    """The scene from above.

    Args:
        place: Its roads, as made by `worlds.highway.places.place_of`.
        road: The vehicles and objects.

    Returns:
        (`SIZE`, `SIZE`, 3), RGB.
    """
    surface = _surface(place.shape)
    surface.blit(_ground(place.shape, place.arms, place.edge, place.lane), (0, 0))
    things = road.objects
    for kind, draw in _PAINTED:
        for thing in things:
            if isinstance(thing, kind):
                draw(surface, thing)
    for thing in things:
        if isinstance(thing, Pedestrian):
            _pedestrian(surface, thing)
    for car in road.vehicles:
        _car(surface, car)
    for thing in things:
        if isinstance(thing, TrafficLight):
            _light(surface, thing)
        elif isinstance(thing, StopSign) and thing.shown:
            _sign(surface, thing)
    shrunk = pygame.transform.smoothscale(surface, (SIZE, SIZE))
    return np.ascontiguousarray(np.moveaxis(pygame.surfarray.array3d(shrunk), 0, 1))


def _surface(shape: str) -> WorldSurface:
    size = (SIZE * _LARGER, SIZE * _LARGER)
    surface = WorldSurface(size, 0, pygame.Surface(size))  # type: ignore[arg-type]
    surface.scaling = SIZE * _LARGER / VIEW[shape]
    surface.centering_position = [0.5, 0.5]
    surface.move_display_window_to(np.array([0.0, _SOUTH[shape]]))
    return surface


@lru_cache(maxsize=16)
def _ground(shape: str, arms: str, edge: float, lane: float) -> pygame.Surface:
    """Grass, pavements, carriageways and the lines along them."""
    surface = _surface(shape)
    surface.fill(_GRASS)
    half = lane + 2.0
    for colour, wider in ((_PAVEMENT, 3.2), (_ROAD, 0.0)):
        for arm in arms:
            _box(surface, arm, (0.0, ARM_LENGTH / 2 + edge / 2), half + wider, colour, edge)
        if shape == "junction":
            _meeting(surface, arms, edge, half, wider, colour)
        elif shape == "crossing":
            _box(surface, "S", (0.0, 0.0), half + wider, colour, -edge - 1, 2 * edge + 2)
        else:
            _ring(surface, arms, edge, half, wider, colour)
    for arm in arms:
        _markings(surface, arm, edge, half)
    if shape == "roundabout":
        middle, metre = surface.pos2pix(0.0, 0.0), surface.scaling
        pygame.draw.circle(surface, _PAINT, middle, (RING_RADIUS - 2.0) * metre)
        pygame.draw.circle(surface, _PAVEMENT, middle, (RING_RADIUS - 2.3) * metre)
        pygame.draw.circle(surface, _GRASS, middle, (RING_RADIUS - 4.0) * metre)
        pygame.draw.circle(surface, (150, 184, 128), middle, 5.0 * metre)
        pygame.draw.circle(surface, (126, 166, 106), middle, 2.6 * metre)
    return surface


def _points(surface: WorldSurface, arm: str, points: list[tuple[float, float]]) -> list[Any]:
    """Pixels of points that are given as for the southern arm."""
    turn = turned(arm)
    return [surface.vec2pix(turn @ np.array(point)) for point in points]


def _box(
    surface: WorldSurface,
    arm: str,
    middle: tuple[float, float],
    half: float,
    colour: Rgb,
    begin: float,
    length: float = ARM_LENGTH,
) -> None:
    x = middle[0]
    corners = [(x - half, begin), (x + half, begin), (x + half, begin + length)]
    pygame.draw.polygon(
        surface, colour, _points(surface, arm, [*corners, (x - half, begin + length)])
    )


def _meeting(
    surface: WorldSurface, arms: str, edge: float, half: float, wider: float, colour: Rgb
) -> None:
    """The square of a junction, with round corners."""
    for arm in arms:
        _box(surface, arm, (0.0, 0.0), half + wider, colour, -half, edge + half)
    radius = edge - half
    for arm, beside in zip("SENW", "ENWS", strict=True):
        if arm not in arms or beside not in arms:
            continue
        arc = [
            (edge - (radius - wider) * math.cos(a), edge - (radius - wider) * math.sin(a))
            for a in np.linspace(0.0, math.pi / 2, 24)
        ]
        pygame.draw.polygon(
            surface, colour, _points(surface, arm, [(0.0, 0.0), (half, edge), *arc, (edge, half)])
        )


def _ring(
    surface: WorldSurface, arms: str, edge: float, half: float, wider: float, colour: Rgb
) -> None:
    """The ring of a roundabout and the bends by which it is entered and left."""
    bend = 6.0 - wider  # outer edge of the lane on a bend of 8 m
    aside, at = half + 6.0, math.atan2(edge, half + 6.0)
    for arm in arms:
        right = [
            (aside - bend * math.cos(a), edge - bend * math.sin(a))
            for a in np.linspace(0.0, at, 16)
        ]
        outline = [*right, (0.0, 0.0), *[(-x, y) for x, y in reversed(right)]]
        pygame.draw.polygon(surface, colour, _points(surface, arm, outline))
    middle = surface.pos2pix(0.0, 0.0)
    pygame.draw.circle(surface, colour, middle, (RING_RADIUS + 2.0 + wider) * surface.scaling)


def _markings(surface: WorldSurface, arm: str, edge: float, half: float) -> None:
    """The line in the middle of an arm and those along its edges."""
    width = surface.pix(0.22)
    begin = edge + 5.0
    while begin < ARM_LENGTH:
        ends = _points(surface, arm, [(0.0, begin), (0.0, begin + LaneGraphics.STRIPE_LENGTH)])
        pygame.draw.line(surface, _PAINT, ends[0], ends[1], width)
        begin += LaneGraphics.STRIPE_SPACING + 1.0
    for side in (-1, 1):
        x = side * (half - 0.25)
        ends = _points(surface, arm, [(x, edge), (x, ARM_LENGTH)])
        pygame.draw.line(surface, _PAINT, ends[0], ends[1], surface.pix(0.15))


def _crosswalk(surface: WorldSurface, thing: Crosswalk) -> None:
    walk = thing.walk
    along = np.array([-walk.across[1], walk.across[0]])
    for offset in np.arange(-walk.half + 0.55, walk.half - 0.2, 1.0):
        corners = [
            walk.centre + walk.across * (offset + x) + along * y
            for x, y in ((-0.27, -1.4), (0.27, -1.4), (0.27, 1.4), (-0.27, 1.4))
        ]
        pygame.draw.polygon(surface, _PAINT, [surface.vec2pix(corner) for corner in corners])
    if thing.signal is not None:
        for side in (-1, 1):
            at = surface.vec2pix(walk.centre + walk.across * side * (walk.half + 0.9) + along * 2.2)
            pygame.draw.circle(surface, _HOUSING, at, surface.pix(0.75))
            lamp = _LAMPS["green" if thing.signal else "red"]
            pygame.draw.circle(surface, lamp, at, surface.pix(0.5))


def _line(surface: WorldSurface, thing: StopLine) -> None:
    across = np.array([-np.sin(thing.heading), np.cos(thing.heading)])
    ends = [surface.vec2pix(thing.position + across * side * 1.85) for side in (-1, 1)]
    pygame.draw.line(surface, _PAINT, ends[0], ends[1], surface.pix(0.45))


_PAINTED: tuple[tuple[Any, Any], ...] = ((Crosswalk, _crosswalk), (StopLine, _line))


def _light(surface: WorldSurface, thing: TrafficLight) -> None:
    """Lamps one above the other, beside the arm; the arrow left of them."""
    x, y = surface.vec2pix(thing.position)
    big = thing.arm == "S"
    radius = surface.pix(1.0 if big else 0.7)
    step, margin = round(radius * 2.3), round(radius * 0.45)
    if thing.plain:
        height = 3 * step + margin
        box = pygame.Rect(0, 0, 2 * radius + 2 * margin, height)
        box.center = (x, y)
        pygame.draw.rect(surface, _HOUSING, box, border_radius=radius)
        for i, colour in enumerate(("red", "yellow", "green")):
            lamp = _LAMPS[colour] if colour == thing.colour else _DARK
            at = (box.centerx, box.top + margin // 2 + step // 2 + i * step)
            pygame.draw.circle(surface, lamp, at, radius)
    if thing.arrow is not None:
        size = round(radius * 1.45)
        box = pygame.Rect(0, 0, 2 * size + margin, 2 * size + margin)
        # Below the lamps: the lane is on their left.
        box.center = (x, y + (2 * step + size // 2 if thing.plain else 0))
        pygame.draw.rect(surface, _HOUSING, box, border_radius=radius // 2)
        _arrow(surface, box, thing.arrow)


def _arrow(surface: WorldSurface, box: pygame.Rect, shown: str) -> None:
    """An arrow to the left: green, dark, or in rays for flashing."""
    unit = box.width / 10
    colour = _DARK if shown == "dark" else _LAMPS["green" if shown == "green" else "yellow"]
    shape = ((1.2, 5), (5, 1.6), (5, 3.8), (8.8, 3.8), (8.8, 6.2), (5, 6.2), (5, 8.4))
    points = [(box.left + x * unit, box.top + y * unit) for x, y in shape]
    pygame.draw.polygon(surface, colour, points)
    if shown == "flashing":
        for angle in np.linspace(0, 2 * math.pi, 12, endpoint=False):
            direction = np.array([math.cos(angle), math.sin(angle)])
            centre = np.array(box.center)
            ends = [centre + direction * box.width * k for k in (0.62, 0.78)]
            pygame.draw.line(surface, colour, ends[0], ends[1], max(2, surface.pix(0.18)))


def _sign(surface: WorldSurface, thing: StopSign) -> None:
    """A red octagon with a white rim and the word."""
    centre, metre = np.array(surface.vec2pix(thing.position)), surface.scaling
    for radius, colour in ((1.75, _OUTLINE), (1.65, _PAINT), (1.4, _SIGN)):
        corners = [
            centre + radius * metre * np.array([math.cos(a), math.sin(a)])
            for a in np.arange(8) * math.pi / 4 + math.pi / 8
        ]
        pygame.draw.polygon(surface, colour, corners)
    word = _font(round(metre * 1.35)).render("STOP", True, _PAINT)
    surface.blit(word, word.get_rect(center=tuple(centre)))


@lru_cache(maxsize=8)
def _font(size: int) -> pygame.font.Font:
    pygame.font.init()
    return pygame.font.Font(None, size)


def _pedestrian(surface: WorldSurface, walker: Pedestrian) -> None:
    """Shoulders and a head, larger than life."""
    across = np.array([-np.sin(walker.heading), np.cos(walker.heading)])
    for radius, colour in ((0.72, _OUTLINE), (0.6, _PEOPLE)):
        for side in (-1, 0, 1):
            shoulder = surface.vec2pix(walker.position + across * side * 0.5)
            pygame.draw.circle(surface, colour, shoulder, surface.pix(radius))
    head = surface.vec2pix(walker.position)
    pygame.draw.circle(surface, (247, 214, 184), head, surface.pix(0.5))


def _car(surface: WorldSurface, car: Any) -> None:
    own = isinstance(car, OwnCar)
    car.color = _CRASHED if car.crashed else _OWN if own else _OTHER
    VehicleGraphics.display(car, surface, offscreen=True, draw_roof=True)
    if own:
        # An arrow on the roof: this is the one that takes orders.
        forth = np.array([np.cos(car.heading), np.sin(car.heading)])
        aside = np.array([-forth[1], forth[0]])
        corners = [
            car.position + forth * 1.1,
            *(car.position - forth * 0.9 + aside * s for s in (0.75, -0.75)),
        ]
        pygame.draw.polygon(surface, _PAINT, [surface.vec2pix(corner) for corner in corners])
