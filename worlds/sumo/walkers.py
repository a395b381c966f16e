"""Pedestrians near a crosswalk: who is on it, who steps onto it, who waits beside it."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from worlds.simulation.layout import ARM_OF, Layout
from worlds.sumo.engine import signals, sumo
from worlds.sumo.network import Lane, Network
from worlds.sumo.roads import CROSSWALK_WIDTH, LANE_WIDTH

STEP_ONTO = 1.5
"""Seconds before the first step at which a pedestrian counts."""

AT_KERB = 1.5
"""Metres beside the carriageway of a crossing."""

_BEFORE = 0.4  # metres; nobody walks further in a step


def metres_beside(point: tuple[float, float], crosswalk: Lane) -> float:
    """Metres from a point to a crosswalk; 0 on it."""
    (x, y), (x2, y2) = crosswalk.shape[0], crosswalk.shape[-1]
    length = math.hypot(x2 - x, y2 - y)
    ahead = ((point[0] - x) * (x2 - x) + (point[1] - y) * (y2 - y)) / length
    aside = ((point[0] - x) * (y2 - y) - (point[1] - y) * (x2 - x)) / length
    return math.hypot(max(-ahead, ahead - length, 0.0), max(abs(aside) - crosswalk.width / 2, 0.0))


@dataclass(frozen=True)
class Walkers:
    """Reads pedestrians from the running simulation.

    Attributes:
        layout: What there is.
        network: Where it is.
    """

    layout: Layout
    network: Network

    def seen(self) -> dict[str, str]:
        """The proposition that each pedestrian makes true, for those who do."""
        if not self.layout.pedestrians:
            return {}
        walkers = sumo.person.getIDList()
        if self.layout.shape == "crossing":
            found = {walker: self._at_crossing(walker) for walker in walkers}
            return {walker: name for walker, name in found.items() if name}
        named = {ARM_OF[name]: name for name in self.layout.pedestrians}
        return {walker: named[walker[1]] for walker in walkers if self._crosses(walker)}

    def on_crosswalk(self, arm: str) -> frozenset[str]:
        """Pedestrians on the crosswalk over an arm."""
        crosswalk = self.network.crosswalks.get(arm)
        walkers = sumo.person.getIDList() if crosswalk else ()
        return frozenset(w for w in walkers if sumo.person.getRoadID(w) == crosswalk)

    def about_to_step(self, arms: Set[str]) -> frozenset[str]:
        """Pedestrians right before the crosswalk over one of these arms, and not on it yet."""
        return frozenset(
            walker
            for walker in sumo.person.getIDList()
            if walker[1] in arms
            and sumo.person.getNextEdge(walker) == self.network.crosswalks[walker[1]]
            and self._metres_beside(walker) <= _BEFORE
        )

    def _metres_beside(self, walker: str) -> float:
        lane = self.network.lanes[f"{self.network.crosswalks[walker[1]]}_0"]
        return metres_beside(sumo.person.getPosition(walker), lane)

    def _crosses(self, walker: str) -> bool:
        """Whether somebody is on the crosswalk of their arm or steps onto it soon."""
        crosswalk = self.network.crosswalks[walker[1]]
        if sumo.person.getRoadID(walker) == crosswalk:
            return True
        if sumo.person.getNextEdge(walker) != crosswalk:
            return False
        link = self.network.links.get(f"p{walker[1]}")
        if link is not None and signals()[link] not in "Gg":
            return False
        return self._metres_beside(walker) <= STEP_ONTO * sumo.person.getSpeed(walker)

    def _at_crossing(self, walker: str) -> str | None:
        crosswalk = self.network.crosswalks["S"]
        if sumo.person.getRoadID(walker) == crosswalk:
            return "pedestrian_in_front"
        x, y = sumo.person.getPosition(walker)
        along = self.network.lanes[f"{crosswalk}_0"].shape[0][1]
        if abs(x) - LANE_WIDTH > AT_KERB or abs(y - along) > CROSSWALK_WIDTH / 2:
            return None
        return "pedestrian_at_left" if x < 0 else "pedestrian_at_right"
