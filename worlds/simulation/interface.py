"""What a simulator has to offer. Whatever has these members is one: nothing needs to be inherited.

The car stands or rolls before a place (a junction, a crossing, a roundabout). A controller sees a
label, chooses an action, and the simulator carries it out:

    simulator.reset(seed=7)
    while not simulator.done:
        label = simulator.observe()
        simulator.apply(choose(label))
        simulator.step()
        while not (simulator.ready or simulator.done):
            simulator.step()
    simulator.status()

**Actions.** ``stop`` brings the car to a standstill and holds it, before the stop line, for one
period. ``turn_left`` and ``turn_right`` drive up to the place and make the turn; ``go_straight``
made away from the stop line drives up to it, and made at it goes straight on. Once the car has
passed the line it completes what it has begun; the next decision is due when it is out of the
way of others. So one decision is one letter of a trace, as in the formal product.

**Labels** come from geometry and from the simulator's own state, never from the controller. They
speak about the place ahead; behind it nothing is ahead, and the label is empty.

**Moments** (optional): a simulator may have an attribute ``on_moment``, None or a function without
arguments, which it calls several times within a period, whenever a picture would differ. It makes
films smooth (`worlds.recording`); without it they have one picture per period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STOP = "stop"
"""The action that every simulator has."""


@dataclass(frozen=True)
class Status:
    """What has become of the car since `Simulator.reset`.

    Attributes:
        seconds: Simulated time.
        manoeuvre: The manoeuvre by which the car has left the place; None while it has not.
        collision: What it has hit ("car", "pedestrian"); None if nothing. A simulation is done
            when the car has left the place or hit something.
        progress: Share of the way from the start to beyond the place, 0 to 1.
        speed: Of the car, metres per second.
        hardest_braking: Largest deceleration of the car so far, metres per second squared, >= 0.
        others_hardest_braking: The same of any other vehicle that the car made brake.
    """

    seconds: float
    manoeuvre: str | None
    collision: Literal["car", "pedestrian"] | None
    progress: float
    speed: float
    hardest_braking: float
    others_hardest_braking: float


@runtime_checkable
class Simulator(Protocol):
    """A simulated world with one car that takes orders.

    Attributes:
        name: ``KIND/SCENARIO``, as in ``sumo/two_way_stop``.
        scenario: The hand-written scenario (a shipped name or the path of a world file) that says
            in rules what this simulates.
        propositions: What can be observed there, in the vocabulary's order.
        actions: Manoeuvres that can be made there; ``stop`` always can.
        period: Seconds that one call of `step` takes: the time between two looks.
    """

    name: str
    scenario: str
    propositions: tuple[str, ...]
    actions: tuple[str, ...]
    period: float

    def reset(self, seed: int) -> None:
        """Start anew. Equal seeds and equal actions give equal observations, bit for bit."""
        ...

    def observe(self) -> frozenset[str]:
        """The propositions that hold now. Looking changes nothing."""
        ...

    def apply(self, action: str) -> None:
        """What the car does from now on: ``stop`` or one of `actions`.

        Raises:
            InputError: Neither.
        """
        ...

    def step(self) -> None:
        """Let `period` seconds pass, or fewer if the end comes sooner.

        Raises:
            InputError: It is done, or has not been reset.
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether the next decision is due; False while a manoeuvre is being completed."""
        ...

    @property
    def done(self) -> bool:
        """Whether the car has left the place or hit something."""
        ...

    def status(self) -> Status:
        """What has become of the car so far."""
        ...

    def render(self) -> NDArray[np.uint8]:
        """A picture of the scene from above, (height, width, 3), RGB; always of one size.

        Looking changes nothing, and a simulation that is never looked at costs nothing for it.
        """
        ...

    def close(self) -> None:
        """Free what the simulator holds. May be called twice."""
        ...
