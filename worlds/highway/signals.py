"""Signal programmes: what every direction is shown, phase after phase, and where one is.

The order is: our left-turn arrow, if there is one, alone; then our direction and the oncoming
one; then the crossing road. Pedestrians walk beside the traffic that has green. Those who are
late may still step off the kerb when their light has just turned red; everybody is given time to
get across before the traffic starts. The oncoming direction is stopped some seconds before ours
("early cut-off"): late oncoming cars are gone before our light is not green any more, and those of
ours who turn left get their chance, so that nobody is sent onto the road to the left any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worlds.simulation.layout import ARROW, FLASHING, LIGHT, Layout

Colour = Literal["red", "yellow", "green"]
Arrow = Literal["dark", "green", "flashing"]

_NOBODY: frozenset[str] = frozenset()
_BESIDE = frozenset("WE")
_RIGHT, _OURS = frozenset("E"), frozenset("S")


@dataclass(frozen=True)
class Phase:
    """Some seconds in which no signal changes.

    Attributes:
        seconds: How long.
        own: Light of our lane.
        arrow: Its left-turn arrow.
        opposite: Light of the oncoming lane.
        crossing: Light of the lanes from the left and from the right.
        walk: Arms that pedestrians may step onto.
        late: Arms that those who are late still step onto.
    """

    seconds: float
    own: Colour = "red"
    arrow: Arrow = "dark"
    opposite: Colour = "red"
    crossing: Colour = "red"
    walk: frozenset[str] = _NOBODY
    late: frozenset[str] = _NOBODY


def programme(layout: Layout) -> tuple[Phase, ...]:
    """The phases of a layout's lights, in order; they repeat for ever. None without lights."""
    if not layout.lights:
        return ()
    return _crossing() if layout.shape == "crossing" else _junction(layout.lights)


def _crossing() -> tuple[Phase, ...]:
    return (
        Phase(14.0, own="green", opposite="green"),
        Phase(3.0, own="yellow", opposite="yellow"),
        Phase(1.0),
        Phase(8.0, walk=_OURS, late=_OURS),
        Phase(3.0, late=_OURS),
        Phase(4.5),
    )


def _junction(lights: tuple[str, ...]) -> tuple[Phase, ...]:
    light: Colour = "green" if LIGHT in lights else "red"
    permissive: Arrow = "flashing" if FLASHING in lights else "dark"
    phases: list[Phase] = []
    if ARROW in lights:
        phases.append(Phase(8.0, arrow="green"))
        # Whoever turns left at the arrow's end is out of the way before oncoming cars start.
        dark = FLASHING in lights or LIGHT not in lights
        phases.append(Phase(3.5) if dark else Phase(3.0, light))
    phases += [
        Phase(5.0, light, permissive, "green", walk=_BESIDE, late=_BESIDE),
        Phase(3.0, light, permissive, "green", walk=_RIGHT, late=_BESIDE),
        Phase(2.0, light, permissive, "yellow", walk=_RIGHT, late=_RIGHT),
        Phase(4.0, light, permissive, walk=_RIGHT, late=_RIGHT),
        Phase(3.0, "yellow" if LIGHT in lights else "red", late=_RIGHT),
        Phase(2.0),
        Phase(9.0, crossing="green", walk=_OURS, late=_OURS),
        Phase(3.0, crossing="green", late=_OURS),
        Phase(3.0, crossing="yellow"),
        Phase(2.0),
    ]
    return tuple(phases)


class Clock:
    """Where a programme is.

    Args:
        phases: The programme; may be empty.
        share: Of the cycle that is over, 0 to 1.
    """

    def __init__(self, phases: tuple[Phase, ...], share: float) -> None:
        self._phases, self._index = phases, 0
        self._left = phases[0].seconds if phases else 0.0
        self.advance(share * sum(phase.seconds for phase in phases))

    @property
    def phase(self) -> Phase | None:
        """The phase that lasts; None without lights."""
        return self._phases[self._index] if self._phases else None

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if not self._phases:
            return
        self._left -= seconds
        while self._left <= 1e-9:
            self._index = (self._index + 1) % len(self._phases)
            self._left += self._phases[self._index].seconds
