"""What others do for a car that is under way: they do not start to get in its way.

Labels speak about the moment of a decision. A decision that was right then stays right, because
nobody who was not there sets out afterwards: pedestrians do not step onto the road in front of a
moving car (nor do cars start at a stop sign, see `turns`). Those who were there or on their way do
not give way, so a wrong decision has consequences.

A roundabout takes longer. There our car waits itself, before its exit, for pedestrians who were
not there when it set out, and those who are not on the road yet wait only while it is close.
"""

from __future__ import annotations

from collections.abc import Iterator

from worlds.simulation.layout import Layout
from worlds.sumo.car import BEYOND, speed_to_stop
from worlds.sumo.engine import STEP, sumo
from worlds.sumo.network import Network
from worlds.sumo.roads import CROSSWALK_WIDTH
from worlds.sumo.traffic import CAR_LENGTH, US
from worlds.sumo.walkers import Walkers

CLOSE = 12.0
"""Metres to the exit of a roundabout from which on nobody steps onto the road before our car."""

_EXIT_GAP = 2.0  # metres between our waiting car and the crosswalk


class Courtesy:
    """Tells SUMO's pedestrians and cars what they would not do by themselves.

    Args:
        layout: What there is.
        network: Where it is.
        exit_arm: Where our car leaves the place.
        free: Pedestrians who were there when it set out.
    """

    def __init__(
        self, layout: Layout, network: Network, exit_arm: str, free: frozenset[str]
    ) -> None:
        self._layout = layout
        self._network = network
        self._walkers = Walkers(layout, network)
        self._exit_arm = exit_arm
        self._free = free
        self._held: dict[str, float] = {}

    def show(self, from_line: float, to_end: float, ahead: float) -> None:
        """To be called before every step of SUMO while our car is under way.

        Args:
            from_line: Metres by which its front has passed the stop line.
            to_end: Metres from its front to the end of its way.
            ahead: Metres to the car that drives before it on its way; infinite if none does.
        """
        arms = set(self._arms(from_line, to_end, ahead))
        for walker in self._walkers.about_to_step(arms) - self._free - self._held.keys():
            self._held[walker] = sumo.person.getMaxSpeed(walker)
            sumo.person.setSpeed(walker, 0.0)
        present = set(sumo.person.getIDList())
        for walker in [w for w in self._held if w[1] not in arms]:
            speed = self._held.pop(walker)
            if walker in present:
                sumo.person.setSpeed(walker, speed)
        if self._layout.shape == "roundabout":
            self._do_not_see_us_in_circle()

    def speed_before_exit(self, to_end: float) -> float:
        """Speed at which our car can still wait for late pedestrians at its exit."""
        gap = to_end - BEYOND - CROSSWALK_WIDTH - _EXIT_GAP
        passed = gap <= -_EXIT_GAP
        if passed or not self._walkers.on_crosswalk(self._exit_arm) - self._free:
            return float("inf")
        return speed_to_stop(gap, STEP)

    def _arms(self, from_line: float, to_end: float, ahead: float) -> Iterator[str]:
        """Arms whose crosswalk nobody steps onto now."""
        if self._layout.shape != "roundabout":
            yield from ("S", self._exit_arm)
            return
        if from_line < CROSSWALK_WIDTH + CAR_LENGTH:
            yield "S"
        # Not while another car may be waiting there for those whom we would hold.
        to_exit = to_end - BEYOND - CROSSWALK_WIDTH
        if to_exit <= CLOSE and ahead > to_exit:
            yield self._exit_arm

    def _do_not_see_us_in_circle(self) -> None:
        for car in sumo.vehicle.getIDList():
            if car != US and sumo.vehicle.getRoadID(car).startswith(("ring", ":")):
                sumo.vehicle.setParameter(car, "junctionModel.ignoreIDs", US)
