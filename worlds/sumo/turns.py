"""Cars at signs: they wait while our car is under way and, where every road has a sign, take turns.

SUMO's all-way stop lets cars go together whose ways do not cross. `all_way_stop` says that one at
a time has its turn, as drivers do who cannot know where the others go; so the one that has waited
longest goes when the junction is empty, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator

from worlds.simulation.layout import Layout
from worlds.sumo.car import speed_to_stop
from worlds.sumo.engine import STEP, sumo
from worlds.sumo.network import Network
from worlds.sumo.traffic import US

_WAIT = 0.5  # metres before the stop line
_AT_LINE, _STANDING = 2.0, 0.1  # metres; metres per second
_ITS_OWN = -1.0  # speed that hands a car back to SUMO


class Turns:
    """Who may pass a stop sign; one for each simulation.

    Args:
        layout: What there is.
        network: Where it is.
    """

    def __init__(self, layout: Layout, network: Network) -> None:
        self.taken = layout.all_way_stop and not layout.lights
        """Whether cars take turns; otherwise they stop, and then go when SUMO lets them."""
        signed = layout.has_sign and not layout.lights
        self._arms = "NEW" if self.taken else "N" if signed else ""
        self._network = network
        self.turn: str | None = None
        """The car that is about to enter the junction because it has its turn."""

    def give(self, under_way: bool) -> None:
        """To be called before every step of SUMO.

        Args:
            under_way: Whether our car is. Then nobody else starts.
        """
        if not self._arms or not (under_way or self.taken):
            return
        waiting = dict(self._approaching())
        if self.turn not in waiting:
            self.turn = None if under_way or self._occupied() else self._first(waiting)
        for car, gap in waiting.items():
            held = speed_to_stop(gap - _WAIT, STEP)
            sumo.vehicle.setSpeed(car, _ITS_OWN if car == self.turn else held)

    def _approaching(self) -> Iterator[tuple[str, float]]:
        """Cars before a sign, and their metres to the stop line."""
        for car in sumo.vehicle.getIDList():
            edge = sumo.vehicle.getRoadID(car)
            if car != US and car[0] in self._arms and edge == f"in_{car[0]}":
                lane = self._network.car_lanes[edge]
                yield car, lane.length - sumo.vehicle.getLanePosition(car)

    def _occupied(self) -> bool:
        return any(
            sumo.vehicle.getRoadID(car).startswith(":")
            for car in sumo.vehicle.getIDList()
            if car != US
        )

    def _first(self, waiting: dict[str, float]) -> str | None:
        standing = [
            car
            for car, gap in waiting.items()
            if gap <= _AT_LINE and sumo.vehicle.getSpeed(car) <= _STANDING
        ]
        return max(standing, key=lambda car: (sumo.vehicle.getWaitingTime(car), car), default=None)
