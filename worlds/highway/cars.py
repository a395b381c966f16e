"""Our car and the others, as vehicles of highway-env.

Steering is the library's in both. Our car's orders become target speeds of the library's
controlled vehicle; the others follow the library's intelligent driver model, behind whatever
right of way puts in front of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from highway_env.road.road import Road
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.controller import ControlledVehicle

from worlds.highway.places import CAR_LENGTH, LaneIndex, Path

if TYPE_CHECKING:
    from highway_env.vehicle.kinematics import Vehicle
    from highway_env.vehicle.objects import RoadObject

GENTLE, HARD, ACCELERATION = 2.5, 7.0, 2.5
"""Our car's planned and hardest braking and its acceleration, metres per second squared."""

AT_LINE = 0.8
"""Metres before the stop line within which our car stands at it."""

_STOPS = 0.3  # metres before the line at which our car comes to stand


class _OnPath:
    """A vehicle that knows on which path it is."""

    path: Path
    road: Any
    position: Any
    speed: float
    action: Any
    target_lane_index: LaneIndex

    def on_state_update(self) -> None:
        """The lane is the one of the path, not the nearest of all."""
        self.lane_index = self.target_lane_index
        self.lane = self.road.network.get_lane(self.lane_index)

    @property
    def s(self) -> float:
        """Metres of the path behind its middle."""
        return self.path.s_of(self.road.network, self.target_lane_index, self.position)

    @property
    def front(self) -> float:
        """s of its front bumper."""
        return self.s + CAR_LENGTH / 2

    @property
    def rear(self) -> float:
        """s of its rear bumper."""
        return self.s - CAR_LENGTH / 2


class OwnCar(_OnPath, ControlledVehicle):  # type: ignore[misc]
    """The car that takes orders.

    Args:
        road: Where it drives.
        path: Of any manoeuvre: they all begin alike.
        s: Where on it.
        speed: Metres per second.
    """

    def __init__(self, road: Road, path: Path, s: float, speed: float) -> None:
        lane = road.network.get_lane(path.lanes[0])
        super().__init__(
            *(road, lane.position(s, 0.0), lane.heading_at(s), speed),  # type: ignore[arg-type]
            target_lane_index=path.lanes[0],
        )
        self.path = path
        self.manoeuvre: str | None = None
        """The manoeuvre that has been begun."""
        self.drives_up = False
        """Whether it goes to the line and no further."""
        self.hardest_braking = 0.0
        self.dt = 0.1

    @property
    def at_line(self) -> bool:
        """Whether it stands at the stop line."""
        return self.speed < 0.1 and 0.0 <= self.path.line - self.front < AT_LINE

    @property
    def must_go_on(self) -> bool:
        """Whether it has begun a manoeuvre and cannot stop before the line any more."""
        left = self.path.line - self.front
        return self.manoeuvre is not None and self.speed**2 > 2 * HARD * max(0.0, left)

    def begin(self, manoeuvre: str, path: Path) -> None:
        """Make a manoeuvre: the route is the library's."""
        self.manoeuvre, self.path, self.drives_up = manoeuvre, path, False
        self.plan_route_to(path.lanes[-1][1])

    def halt(self) -> None:
        """Stop, before the line."""
        self.manoeuvre, self.drives_up, self.route = None, False, None

    def drive_up(self) -> None:
        """Go to the line and stand there."""
        self.manoeuvre, self.drives_up, self.route = None, True, None

    def act(self, action: Any = None) -> None:  # noqa: ARG002
        """Set the target speed that the order asks for, and steer."""
        # The library accelerates by (target - speed) / TAU_ACC.
        self.target_speed = self.speed + self._acceleration() * self.TAU_ACC
        super().act()

    def step(self, dt: float) -> None:
        """Move on; remembers the hardest braking."""
        before = self.speed
        super().step(dt)
        self.hardest_braking = max(self.hardest_braking, (before - self.speed) / dt)

    def _acceleration(self) -> float:
        if self.manoeuvre is not None:
            return self._towards(self.path.speed_at(self.s, GENTLE))
        if not self.drives_up:
            left = max(0.05, self.path.line - self.front)
            braking = max(GENTLE, self.speed**2 / (2 * left))
            return max(-min(braking, HARD), -self.speed / self.dt)
        # The library moves first and brakes then, half a tick late on average.
        left = self.path.line - _STOPS - self.front - self.speed * self.dt / 2
        if left < 0.02:
            return max(-GENTLE, -self.speed / self.dt)
        needed = self.speed**2 / (2 * left)
        if needed >= GENTLE:
            return max(-HARD, -needed, -self.speed / self.dt)
        # Not faster than what can still be braked gently after this tick.
        return self._towards(math.sqrt(2 * GENTLE * max(0.0, left - self.speed * self.dt)))

    def _towards(self, speed: float) -> float:
        return min(max((speed - self.speed) / self.dt, -HARD), ACCELERATION)


class OtherCar(_OnPath, IDMVehicle):
    """A car that follows its path and heeds what is put in front of it, but never our car where
    their ways meet.

    Args:
        road: Where it drives.
        path: Its path.
        s: Where on it.
        speed: Metres per second.
        stream: The proposition that it can make true.
    """

    DISTANCE_WANTED = 2.0 + CAR_LENGTH
    TIME_WANTED = 1.2
    COMFORT_ACC_MAX = 3.0
    # The library's own environments change the inherited ones for the whole process.
    COMFORT_ACC_MIN = -5.0
    ACC_MAX = 6.0

    def __init__(self, road: Road, path: Path, s: float, speed: float, stream: str) -> None:
        lane = road.network.get_lane(path.lanes[0])
        super().__init__(
            *(road, lane.position(s, 0.0), lane.heading_at(s), speed),  # type: ignore[arg-type]
            target_lane_index=path.lanes[0],
            target_speed=path.limits[0],
            enable_lane_change=False,
        )
        self.path, self.stream = path, stream
        self.plan_route_to(path.lanes[-1][1])
        self.check_collisions = False  # ours does; the others keep apart by right of way
        self.committed = False
        """Whether it may pass its line or has passed it."""
        self.reacts_in = 0.0
        """Seconds until its driver has seen that the light is green."""
        self.waits = 0.0
        """Seconds that it has been standing at its line."""
        self.leader: RoadObject | Vehicle | None = None
        self.gap = math.inf
        """Metres from its middle to the leader's."""

    @property
    def may_go(self) -> bool:
        """Whether neither light nor sign keeps it from entering."""
        return self.committed

    def arrival(self, s: float) -> float:
        """Seconds until its front can be at s, accelerating as on a free road."""
        return free_arrival(s - self.front, self.speed, self.path.limits[0], self.COMFORT_ACC_MAX)

    def lane_distance_to(self, other: RoadObject, lane: Any = None) -> float:
        """Distance along the path to the leader, which the driver model asks for."""
        return self.gap if other is self.leader else super().lane_distance_to(other, lane)

    def step(self, dt: float) -> None:
        """Move on, but never backwards."""
        self.action["acceleration"] = max(self.action["acceleration"], -self.speed / dt)
        super().step(dt)


class OrderedRoad(Road):
    """A road on which right of way, not proximity, says who is in front of whom."""

    def neighbour_vehicles(
        self,
        vehicle: Any,
        lane_index: Any = None,  # noqa: ARG002
    ) -> tuple[Any, None]:
        """The leader that was assigned, and nobody behind."""
        return vehicle.leader, None


def free_arrival(distance: float, speed: float, limit: float, acceleration: float) -> float:
    """Seconds for a distance, from a speed, accelerating up to a limit; 0 if it is not positive."""
    if distance <= 0:
        return 0.0
    speed = min(speed, limit)
    reached = (limit**2 - speed**2) / (2 * acceleration)
    if distance <= reached:
        return (math.sqrt(speed**2 + 2 * acceleration * distance) - speed) / acceleration
    return (limit - speed) / acceleration + (distance - reached) / limit
