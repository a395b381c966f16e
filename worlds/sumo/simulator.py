"""The simulator: a place in SUMO with one car that takes orders.

SUMO runs signals, cars, pedestrians and their right of way. Our car is a SUMO vehicle whose
safety checks are off and whose speed is ours; its route is the manoeuvre. Other cars do not see
it within the place (they do on the open road and, on a roundabout, before they enter the circle),
so wrong decisions show as collisions. What keeps right ones safe is common courtesy (`courtesy`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from verifier.errors import InputError
from worlds.simulation.guard import Guard
from worlds.simulation.interface import STOP, Status
from worlds.simulation.layout import EXIT_OF, SIGN, Layout
from worlds.sumo.car import (
    AT_LINE,
    PLACE_SPEED,
    START_GAP,
    STOP_GAP,
    Course,
    next_speed,
    speed_behind,
    speed_through,
    speed_to_stop,
)
from worlds.sumo.collisions import collision_of
from worlds.sumo.courtesy import Courtesy
from worlds.sumo.engine import ENGINE, STEP, sumo
from worlds.sumo.labels import Observer
from worlds.sumo.network import Network, network_of
from worlds.sumo.roads import PLACE, RING_SPEED, route
from worlds.sumo.signals import start_of
from worlds.sumo.traffic import HORIZON, US
from worlds.sumo.turns import Turns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERIOD = 1.0
"""Seconds of one call of `SumoSimulator.step`."""

WARM_UP = 25.0
"""Seconds before our car may move, in which the others spread out."""

_OURS = "in_S"
_CLOSE = 15.0  # metres: who brakes behind our car at most so far away does it for us


def make(layout: Layout, name: str) -> SumoSimulator:
    """The simulator of a layout.

    Raises:
        InputError: netconvert is missing or fails.
    """
    return SumoSimulator(layout, name)


class SumoSimulator:
    """See `worlds.simulation.interface.Simulator`.

    A process holds one SUMO simulation: after another simulator was reset, this one says so until
    it is reset itself.
    """

    period = PERIOD
    on_moment: Callable[[], None] | None = None
    """Called after every step of SUMO, for smooth films (see `worlds.simulation.interface`)."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self.scenario = layout.scenario
        self.propositions = layout.propositions
        self.actions = layout.actions
        self._layout = layout
        self._network: Network = network_of(layout)
        self._observer = Observer(layout, self._network)
        self._line = self._network.car_lanes[_OURS].length
        self._courses = {action: self._course(action) for action in layout.actions}
        self._own_way = {action: self._edges_ahead(action) for action in layout.actions}
        self._crosswalks = frozenset(self._network.crosswalks.values())
        self._running = False

    def _edges_ahead(self, action: str) -> frozenset[str]:
        """Edges on which a car before ours is one to follow: where no way crosses another."""
        edges = route(self._layout, "S", EXIT_OF[action])
        if self._layout.shape != "roundabout":
            return frozenset(edges[1:])
        inner = self._network.inner_lanes(edges[1:])
        return frozenset((*edges[1:], *(lane.edge for lane in inner)))

    def _course(self, action: str) -> Course:
        edges = route(self._layout, "S", EXIT_OF[action])
        inner = sum(lane.length for lane in self._network.inner_lanes(edges))
        speed = PLACE_SPEED[action]
        if self._layout.shape == "roundabout":
            speed = min(speed, RING_SPEED)
        return Course(self._line, inner, speed)

    def reset(self, seed: int) -> None:
        """Start anew: other traffic, and another moment of the lights' cycle, for another seed."""
        source = random.Random(f"sumo {seed}")
        ENGINE.start(self, self._network, source.randrange(2**31))
        self._running = True
        self._turns = Turns(self._layout, self._network)
        self._guard = Guard(random.Random(f"guard {seed}")) if self._layout.has_guard else None
        self._order = STOP
        self._through = False
        self._action = self.actions[0]
        self._position = self._line - START_GAP
        self._speed = 0.0
        self._collision: Literal["car", "pedestrian"] | None = None
        self._manoeuvre: str | None = None
        self._hardest = self._others_hardest = 0.0
        if self._network.phases:
            phase, remaining = start_of(self._network.phases, source.random())
            sumo.trafficlight.setPhase(PLACE, phase)
            sumo.trafficlight.setPhaseDuration(PLACE, remaining)
        for action in self.actions:
            sumo.route.add(action, route(self._layout, "S", EXIT_OF[action]))
        sumo.vehicle.add(
            US, self._action, US, departLane="1", departPos=str(self._position), departSpeed="0"
        )
        sumo.vehicle.setSpeedMode(US, 32)  # all checks off
        sumo.vehicle.setSpeed(US, 0.0)
        if self._turns.taken:
            while sumo.simulation.getTime() < WARM_UP - STEP / 2:
                self._turns.give(under_way=False)
                sumo.simulationStep()
        else:
            sumo.simulationStep(WARM_UP)

    def observe(self) -> frozenset[str]:
        """The propositions that hold now; see `worlds.sumo.labels`."""
        self._check()
        if self._manoeuvre is not None:
            return frozenset()
        label = self._observer.label(self._line - self._position, self._turns.turn)
        return label - {SIGN} if self._guard is not None and not self._guard.raised else label

    def apply(self, action: str) -> None:
        """What the car does from now on; ignored once it has passed its stop line."""
        self._check()
        if action != STOP and action not in self.actions:
            raise InputError(
                f"{self.name} has no action {action!r}",
                remedy=f"choose one of {', '.join((STOP, *self.actions))}",
            )
        if self._position > self._line or self.done:
            return
        self._order = action
        at_line = self._line - self._position <= AT_LINE
        through = action != STOP and (action != "go_straight" or at_line)
        if action not in (STOP, self._action):
            self._action = action
            sumo.vehicle.setRoute(US, route(self._layout, "S", EXIT_OF[action]))
        if through and not self._through:
            free = frozenset(self._observer.walkers.seen())
            arm = EXIT_OF[action]
            self._courtesy = Courtesy(self._layout, self._network, arm, free)
        self._through = through

    def step(self) -> None:
        """Let a second pass, or less if the car leaves the place or hits something in it.

        Raises:
            InputError: It is done, has not been reset, or nobody else comes any more (975 s).
        """
        self._check()
        if self.done:
            raise InputError(f"{self.name} is done", remedy="reset it before the next step")
        if sumo.simulation.getTime() + PERIOD > HORIZON:
            raise InputError(
                f"{self.name} has no more traffic after {HORIZON - WARM_UP:g} seconds",
                remedy="let episodes end before",
            )
        if self._idle():
            sumo.simulationStep(sumo.simulation.getTime() + PERIOD)
            return
        for _ in range(round(PERIOD / STEP)):
            self._advance()
            if self.on_moment is not None:
                self.on_moment()
            if self.done:
                break

    def _idle(self) -> bool:
        """Whether SUMO needs nobody for a while: the same as step by step, and much faster."""
        standing = self._order == STOP and self._speed == 0
        needed = self._turns.taken or self._guard is not None
        return standing and not needed and self.on_moment is None

    def _advance(self) -> None:
        speed = next_speed(self._speed, self._wanted(), STEP)
        sumo.vehicle.setSpeed(US, speed)
        self._turns.give(self._through)
        if self._through:
            leader = self._leader()
            ahead = leader[1] if leader else math.inf
            self._courtesy.show(self._position - self._line, self._to_end(), ahead)
        sumo.simulationStep()
        if self._guard is not None:
            self._guard.advance(STEP)
        self._hardest = max(self._hardest, (self._speed - speed) / STEP)
        self._speed = speed
        self._position += speed * STEP
        if self._position > self._line:
            self._look_around()
        course = self._courses[self._action]
        if self._collision is None and self._position >= course.end:
            self._manoeuvre = self._action

    def _wanted(self) -> float:
        if self._order == STOP:
            return 0.0
        if self._through:
            wanted = speed_through(self._courses[self._action], self._position)
            return min(wanted, self._following(), self._courtesy.speed_before_exit(self._to_end()))
        return speed_to_stop(self._line - STOP_GAP - self._position, STEP)

    def _to_end(self) -> float:
        return self._courses[self._action].end - self._position

    def _leader(self) -> tuple[str, float] | None:
        """A car that drives before ours on its own way, and the metres between the two."""
        if self._position <= self._line:
            return None
        leader = sumo.vehicle.getLeader(US, _CLOSE)
        if not leader or sumo.vehicle.getRoadID(leader[0]) not in self._own_way[self._action]:
            return None
        return leader

    def _following(self) -> float:
        """Speed at which our car does not run into the one before it."""
        leader = self._leader()
        if leader is None:
            return math.inf
        return speed_behind(leader[1], sumo.vehicle.getSpeed(leader[0]), STEP)

    def _look_around(self) -> None:
        self._collision = collision_of(self._speed, self._crosswalks)
        for car in sumo.vehicle.getIDList():
            braking = -sumo.vehicle.getAcceleration(car) if car != US else 0.0
            if braking > self._others_hardest:
                leader = sumo.vehicle.getLeader(car, _CLOSE)
                if leader and leader[0] == US and leader[1] <= _CLOSE:
                    self._others_hardest = braking

    @property
    def ready(self) -> bool:
        """Whether the car stands and waits for orders, or is done."""
        self._check()
        if self.done:
            return True
        if self._through or self._speed > 0:
            return False
        return self._order == STOP or self._line - self._position <= AT_LINE

    @property
    def done(self) -> bool:
        """Whether the car has left the place or hit something."""
        self._check()
        return self._manoeuvre is not None or self._collision is not None

    def status(self) -> Status:
        """What has become of the car so far; seconds count from when it may move."""
        self._check()
        start = self._line - START_GAP
        share = (self._position - start) / (self._courses[self._action].end - start)
        return Status(
            seconds=round(sumo.simulation.getTime() - WARM_UP, 6),
            manoeuvre=self._manoeuvre,
            collision=self._collision,
            progress=min(1.0, share),
            speed=self._speed,
            hardest_braking=self._hardest,
            others_hardest_braking=self._others_hardest,
        )

    def render(self) -> NDArray[np.uint8]:
        """A picture from above, 600 by 600 pixels; see `worlds.sumo.picture`."""
        from worlds.sumo.picture import Painter  # late: episodes without pictures need no Pillow

        self._check()
        if not hasattr(self, "_painter"):
            self._painter = Painter(self._layout, self._network)
        return self._painter.paint(held_up=self._guard is not None and self._guard.raised)

    def close(self) -> None:
        """Free SUMO for another simulator of this process."""
        self._running = False
        ENGINE.close(self)

    def _check(self) -> None:
        if not self._running:
            raise InputError(f"{self.name} has not been reset", remedy="call reset(seed) first")
        ENGINE.check(self)
