"""Signal programmes: what every movement is shown, phase after phase.

A movement is an arm and a direction ("Sl": from the south to the left), or "p" and the arm that
pedestrians cross ("pW"). Signals are SUMO's: ``G`` goes first, ``g`` goes but yields, ``y`` is
yellow and everything else is red. So a protected left turn is ``G``, a permissive one ``g``.

The order is: our left-turn arrow, if there is one, alone; then our direction and the oncoming
one; then the crossing road. Pedestrians walk beside the traffic that has green. Those at the left
and the oncoming cars are stopped a few seconds before us ("early cut-off"), so that left turns get
their chance and late oncoming cars are gone before our light is not green any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from worlds.simulation.layout import ARROW, FLASHING, LIGHT, Layout

_YELLOW, _ALL_RED = 3.0, 5.0


@dataclass(frozen=True)
class Phase:
    """Some seconds in which no signal changes.

    Attributes:
        seconds: How long.
        shown: Signal of each movement that does not have red.
    """

    seconds: float
    shown: Mapping[str, str] = field(default_factory=dict)

    def state(self, links: Mapping[str, int]) -> str:
        """SUMO's state string, given the link index of every movement."""
        letters = ["r"] * (max(links.values()) + 1)
        for movement, index in links.items():
            letters[index] = self.shown.get(movement, "r")
        return "".join(letters)


def programme(layout: Layout) -> tuple[Phase, ...]:
    """The phases of a layout's lights, in order; they repeat for ever. None without lights."""
    if not layout.lights:
        return ()
    return tuple(_crossing() if layout.shape == "crossing" else _junction(layout.lights))


def _crossing() -> Iterator[Phase]:
    cars = {"Ss": "G", "Ns": "G"}
    yield Phase(16.0, cars)
    yield Phase(_YELLOW, _yellow(cars))
    yield Phase(2.0)
    yield Phase(11.0, {"pS": "G"})
    yield Phase(5.0)


def _junction(lights: tuple[str, ...]) -> Iterator[Phase]:
    permissive = LIGHT in lights or FLASHING in lights
    ours = {"Ss": "G", "Sr": "g"} | ({"Sl": "g"} if permissive else {})
    oncoming = {"Ns": "G", "Nr": "g", "Nl": "g"}
    right, beside = {"pE": "G"}, {"pW": "G", "pE": "G"}
    if ARROW in lights:
        yield Phase(9.0, {"Sl": "G"})
        if LIGHT in lights and FLASHING not in lights:
            # Green follows the arrow at once; whoever still turns left is gone when others come.
            yield Phase(6.0, ours)
        else:
            yield Phase(_YELLOW, {"Sl": "y"})
            yield Phase(2.0)
    yield Phase(6.0, ours | oncoming | beside)
    yield Phase(_YELLOW, ours | _yellow(oncoming) | right)
    yield Phase(3.0, ours | right)
    yield Phase(_YELLOW, _yellow(ours))
    yield Phase(_ALL_RED)
    crossing = {"Ws": "G", "Wr": "g", "Wl": "g", "Es": "G", "Er": "g", "El": "g"}
    yield Phase(13.0, crossing | {"pS": "G"})
    yield Phase(3.0, crossing)
    yield Phase(_YELLOW, _yellow(crossing))
    yield Phase(_ALL_RED)


def _yellow(movements: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(movements, "y")


def seconds_to_green(phases: tuple[Phase, ...], now: int, remaining: float, movement: str) -> float:
    """Seconds until a movement is shown green; 0 if it is, infinite if it never will be.

    Args:
        phases: The programme.
        now: Index of the phase that lasts.
        remaining: Seconds that it will still last.
        movement: Which one.
    """
    if phases[now].shown.get(movement) in ("G", "g"):
        return 0.0
    seconds = remaining
    for i in range(1, len(phases)):
        phase = phases[(now + i) % len(phases)]
        if phase.shown.get(movement) in ("G", "g"):
            return seconds
        seconds += phase.seconds
    return float("inf")


def programme_xml(phases: tuple[Phase, ...], links: Mapping[str, int], light: str) -> str:
    """An additional file that makes SUMO run the programme."""
    rows = "\n".join(
        f'<phase duration="{phase.seconds:g}" state="{phase.state(links)}"/>' for phase in phases
    )
    logic = (
        f'<tlLogic id="{light}" type="static" programID="ours" offset="0">\n{rows}\n</tlLogic>\n'
    )
    return f"<additional>\n{logic if phases else ''}</additional>\n"


def start_of(phases: tuple[Phase, ...], share: float) -> tuple[int, float]:
    """Phase, and seconds that are left of it, at a share (0 to 1) of the cycle."""
    left = share * sum(phase.seconds for phase in phases)
    for index, phase in enumerate(phases):
        if left < phase.seconds:
            return index, phase.seconds - left
        left -= phase.seconds
    return 0, phases[0].seconds
