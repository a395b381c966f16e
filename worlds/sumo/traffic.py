"""Who else is on the road: flows of cars and of pedestrians that come at random.

Every second somebody comes with a fixed probability, so gaps are geometrically distributed; the
seed of the simulation fixes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from worlds.simulation.layout import ARM_OF, Layout
from worlds.sumo.roads import arms, crosswalks, route

CARS_PER_SECOND, CARS_PER_SECOND_AT_LIGHTS = 0.035, 0.06
"""On each arm that cars come from. Where lights hold the traffic up there may be more of it."""

PEDESTRIANS_PER_SECOND, PEDESTRIANS_PER_SECOND_AT_LIGHTS = 0.03, 0.1
"""On each crosswalk of a junction or roundabout."""

PEDESTRIANS_PER_SECOND_AT_CROSSING = 0.06
"""On the crosswalk of a straight road."""

CAR_LENGTH, CAR_WIDTH = 4.5, 1.8
"""Metres; of every car, ours too."""

US, CAR, WALKER = "us", "car", "walker"
"""Name of our car, and the types of others."""

HORIZON = 1000
"""Seconds until which somebody comes; SUMO makes all pedestrians of a flow when it loads it."""

_WALK = 12.0  # metres of pavement before and behind a crosswalk
_TURNS = 0.3  # share of cars that turn
_OPPOSITE = {"N": "S", "S": "N", "E": "W", "W": "E"}


def traffic_xml(layout: Layout) -> str:
    """SUMO's demand: vehicle types and flows."""
    rows = [
        # Speeds differ from driver to driver, and drivers are not perfectly steady.
        f'<vType id="{CAR}" length="{CAR_LENGTH}" width="{CAR_WIDTH}" accel="2.6" decel="4.5" '
        'sigma="0.3" speedFactor="normc(0.95,0.08,0.75,1.1)" minGap="2"/>',
        f'<vType id="{US}" length="{CAR_LENGTH}" width="{CAR_WIDTH}" sigma="0" speedDev="0" '
        'minGap="2"/>',
        f'<vType id="{WALKER}" vClass="pedestrian" width="0.5" length="0.4" '
        'speedFactor="normc(0.95,0.15,0.6,1.3)"/>',
        *_car_flows(layout),
        *_pedestrian_flows(layout),
    ]
    return "\n".join(["<routes>", *rows, "</routes>", ""])


def _car_flows(layout: Layout) -> Iterator[str]:
    for start, end, rate in streams(layout):
        edges = " ".join(route(layout, start, end))
        # They do not avoid our car within the place, so that wrong decisions have consequences;
        # on a roundabout that begins where they are in the circle (see `simulator`).
        blind = f'<param key="junctionModel.ignoreIDs" value="{US}"/>'
        if layout.all_way_stop:  # `turns` decides who goes
            blind = f'<param key="junctionModel.ignoreTypes" value="{US} {CAR}"/>'
        yield (
            f'<flow id="{start}{end}" type="{CAR}" begin="0" end="{HORIZON}" departSpeed="max" '
            f'probability="{rate:.5f}"><route edges="{edges}"/>'
            f"{'' if layout.shape == 'roundabout' else blind}</flow>"
        )


def streams(layout: Layout) -> Iterator[tuple[str, str, float]]:
    """Arm, destination and cars per second of every stream."""
    rate = CARS_PER_SECOND_AT_LIGHTS if layout.lights else CARS_PER_SECOND
    if layout.shape == "roundabout":
        if layout.cars:
            share = rate / 2
            yield from (("W", "E", share), ("W", "N", share / 2), ("N", "E", share))
            yield from (("E", "W", share), ("E", "N", share / 2), ("N", "S", share / 2))
        return
    present = arms(layout)
    for name in layout.cars:
        start = ARM_OF[name]
        straight = _OPPOSITE[start]
        turns = [arm for arm in present if arm not in (start, straight)]
        if start == "N":
            # Oncoming cars that turn left would have to wait for ours, which they do not see;
            # at lights, those that turn right for pedestrians, until the light is red.
            turns = [] if layout.lights else ["W"]
        turning = _TURNS if turns else 0.0
        yield start, straight, rate * (1 - turning)
        for arm in turns:
            yield start, arm, rate * turning / len(turns)


def _pedestrian_flows(layout: Layout) -> Iterator[str]:
    rate = PEDESTRIANS_PER_SECOND_AT_LIGHTS if layout.lights else PEDESTRIANS_PER_SECOND
    if layout.shape == "crossing":
        rate = PEDESTRIANS_PER_SECOND_AT_CROSSING
    for arm in crosswalks(layout):
        for name, edges, start, end in (
            (f"{arm}1", f"out_{arm} in_{arm}", _WALK, -_WALK),
            (f"{arm}2", f"in_{arm} out_{arm}", -_WALK, _WALK),
        ):
            yield (
                f'<personFlow id="p{name}" type="{WALKER}" begin="0" end="{HORIZON}" '
                f'probability="{rate / 2:.5f}" departPos="{start}">'
                f'<walk edges="{edges}" arrivalPos="{end}"/></personFlow>'
            )
