"""What others do for a car that is under way: they do not start to get in its way.

Labels speak about the moment of a decision. A decision that was right then stays right, because
nobody who was not there, and nobody who had to wait, sets out afterwards: whoever is at a stop
sign stays there, and pedestrians do not step onto the road in front of a moving car. Those who
were there or on their way do not give way, so a wrong decision has consequences.
"""

from __future__ import annotations

from dataclasses import dataclass

from worlds.simulation.layout import Layout
from worlds.sumo.car import speed_to_stop
from worlds.sumo.engine import STEP, sumo
from worlds.sumo.network import Network
from worlds.sumo.traffic import US
from worlds.sumo.walkers import Walkers

_WAIT = 0.5  # metres before the stop line


@dataclass(frozen=True)
class Courtesy:
    """Tells SUMO's cars and pedestrians what they would not do by themselves.

    Attributes:
        layout: What there is.
        network: Where it is.
    """

    layout: Layout
    network: Network

    def show(self, free: frozenset[str], exit_arm: str) -> None:
        """To be called before every step of SUMO while our car is under way.

        Args:
            free: Pedestrians who were there when it set out.
            exit_arm: Where it leaves the place.
        """
        Walkers(self.layout, self.network).hold(free, exit_arm)
        if self.layout.shape == "roundabout":
            self._do_not_see_us_in_circle()
        elif self.layout.has_sign and not self.layout.lights:
            self._hold_at_signs("NEW" if self.layout.all_way_stop else "N")

    def _do_not_see_us_in_circle(self) -> None:
        for car in sumo.vehicle.getIDList():
            if car != US and sumo.vehicle.getRoadID(car).startswith(("ring", ":")):
                sumo.vehicle.setParameter(car, "junctionModel.ignoreIDs", US)

    def _hold_at_signs(self, arms: str) -> None:
        for car in sumo.vehicle.getIDList():
            edge = sumo.vehicle.getRoadID(car)
            if car != US and car[0] in arms and edge == f"in_{car[0]}":
                gap = self.network.car_lanes[edge].length - sumo.vehicle.getLanePosition(car)
                sumo.vehicle.setSpeed(car, speed_to_stop(gap - _WAIT, STEP))
