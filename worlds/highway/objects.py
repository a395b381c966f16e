"""What highway-env does not have: traffic lights, stop signs, crosswalks and pedestrians.

They are road objects in the library's sense. Only pedestrians can be run into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highway_env.vehicle.objects import RoadObject
from numpy.typing import NDArray

from worlds.highway.places import Place, Walk, turned
from worlds.highway.signals import Arrow, Colour, Phase

if TYPE_CHECKING:
    from highway_env.road.road import Road

BESIDE = 4.9
"""Metres from the edge of the road to the middle of a light or sign beside it."""

_WAITS, _GONE = 0.6, 2.5  # metres from the kerb: waiting before the road, vanishing behind it


class Fixture(RoadObject):
    """Something that stands beside the road of an arm, or is painted on it.

    Args:
        road: Where it belongs.
        place: Gives the sizes.
        arm: At which arm.
        x: Metres to the right of the arm's middle, for who drives towards the place.
        y: Metres from the centre of the place.
    """

    LENGTH, WIDTH = 1.0, 1.0

    def __init__(self, road: Road, place: Place, arm: str, x: float, y: float) -> None:
        turn = turned(arm)
        heading = float(np.arctan2(*(turn @ np.array([0.0, -1.0]))[::-1]))
        super().__init__(road, turn @ np.array([x, y]), heading, 0.0)  # type: ignore[arg-type]
        self.arm = arm
        self.collidable = self.solid = self.check_collisions = False
        self.half_road = place.lane + 2.0


class TrafficLight(Fixture):
    """The light of an arm's traffic.

    Attributes:
        colour: What it shows.
        arrow: What its left-turn arrow shows; None if it has none.
        plain: Whether it has more than the arrow.
    """

    def __init__(self, road: Road, place: Place, arm: str, arrow: bool, plain: bool) -> None:
        super().__init__(road, place, arm, place.lane + 2.0 + BESIDE, place.line - 0.5)
        self.colour: Colour = "red"
        self.arrow: Arrow | None = "dark" if arrow else None
        self.plain = plain

    def show(self, phase: Phase) -> None:
        """Take over what a phase shows to this arm."""
        if self.arm == "S":
            self.colour, self.arrow = phase.own, None if self.arrow is None else phase.arrow
        else:
            self.colour = phase.opposite if self.arm == "N" else phase.crossing


class StopSign(Fixture):
    """An octagonal sign at the stop line.

    Attributes:
        shown: False while a guard does not hold it up.
    """

    def __init__(self, road: Road, place: Place, arm: str) -> None:
        super().__init__(road, place, arm, place.lane + 2.0 + BESIDE, place.line - 0.5)
        self.shown = True


class StopLine(Fixture):
    """The line before which whoever must stop comes to a standstill."""

    def __init__(self, road: Road, place: Place, arm: str) -> None:
        super().__init__(road, place, arm, place.lane, place.line)


class Crosswalk(Fixture):
    """The stripes on which pedestrians cross an arm.

    Attributes:
        walk: Its geometry.
        signal: What its pedestrians are shown: True to walk; None without lights.
    """

    def __init__(self, road: Road, place: Place, walk: Walk) -> None:
        away = float(np.abs(walk.centre).max())
        super().__init__(road, place, walk.arm, 0.0, away)
        self.walk = walk
        self.signal: bool | None = None


class Pedestrian(RoadObject):
    """Somebody who walks over a crosswalk from one kerb to the other and then is gone.

    Args:
        road: Where they walk.
        walk: The crosswalk.
        sense: 1 from the left kerb to the right one, -1 the other way.
        speed: Of walking, metres per second.
        late: Whether they still step off the kerb when their light has just turned red.
        patience: Seconds that they stand at the kerb at least.
        away: Metres from the kerb at which they appear.
        aside: Metres from the middle line of the crosswalk.
    """

    LENGTH, WIDTH = 0.7, 0.7

    def __init__(
        self,
        road: Road,
        walk: Walk,
        sense: int,
        speed: float,
        late: bool,
        patience: float,
        away: float,
        aside: float,
    ) -> None:
        self.walk, self.sense, self.late = walk, sense, late
        self.pace, self.patience = speed, patience
        self.u = -(walk.half + away)
        """Metres from the middle of the crosswalk, in the direction of walking."""
        self.going = False
        """Whether they have decided to cross."""
        self._aside = np.array([-walk.across[1], walk.across[0]]) * aside
        heading = float(np.arctan2(*(sense * walk.across)[::-1]))
        super().__init__(road, self._where(), heading, 0.0)  # type: ignore[arg-type]
        self.check_collisions = False  # cars look for them, not they for cars

    @property
    def across(self) -> float:
        """Metres from the middle of the crosswalk, positive to the right kerb."""
        return self.u * self.sense

    @property
    def to_kerb(self) -> float:
        """Metres that they still walk before they step onto the road; negative on it."""
        return -self.walk.half - self.u

    @property
    def on_road(self) -> bool:
        """Whether they are between the kerbs."""
        return abs(self.u) <= self.walk.half

    @property
    def crossing(self) -> bool:
        """Whether they have decided to cross and are not yet across."""
        return self.going and self.u <= self.walk.half

    @property
    def pushed(self) -> bool:
        """Whether a car has hit them, or would within the next moment."""
        return self.crashed or bool(np.any(self.impact))

    @property
    def gone(self) -> bool:
        """Whether they have walked away."""
        return self.u > self.walk.half + _GONE

    def step(self, seconds: float) -> None:
        """Walk, or wait at the kerb without having decided to cross."""
        waits_at = -self.walk.half - _WAITS
        u = self.u + self.pace * seconds
        if not self.going and u >= waits_at:
            u = max(self.u, waits_at)
            self.patience -= seconds
        self.speed = (u - self.u) / seconds
        self.u = u
        self.position = self._where()

    def _where(self) -> NDArray[np.float64]:
        return self.walk.centre + self.walk.across * self.across + self._aside
