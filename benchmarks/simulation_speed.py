"""What a simulated second costs, beside the simulators' libraries alone, in alternating blocks."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
from highway_env.road.road import Road
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.controller import ControlledVehicle

from benchmarks.paired import Comparison, cpu_seconds
from benchmarks.results import Row, at_least
from verifier.controller import Controller, Transition
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary
from worlds.highway.cars import OtherCar, OwnCar
from worlds.highway.simulator import FREQUENCY, HighwaySimulator
from worlds.simulation.driver import Course, drive
from worlds.simulation.interface import Simulator
from worlds.simulation.layout import Layout, layout_of
from worlds.sumo.engine import ENGINE, sumo
from worlds.sumo.network import Network, network_of
from worlds.sumo.roads import PLACE
from worlds.sumo.signals import start_of
from worlds.sumo.simulator import WARM_UP, SumoSimulator

ADDED = 1.25
"""Our CPU time may be at most so many times the library's: what is added costs less than 25 %."""

ENVIRONMENTS = {"junction": "intersection-v2", "roundabout": "roundabout-v1"}
"""highway-env's own, by the shape of the place."""

_UNIT = "simulated s / CPU s"
_COURSE = Course(load_semantics("default"))
_OURS = "ours"
_ALONE, _PLAIN = "its road, by the library alone", "plain libsumo"
_PART = 1 / 3
_IDLE = 1  # of the library's discrete actions: neither faster nor slower, no other lane
_HIGHWAY_NOTE = (
    "Ours: whole episodes, with warming up, lights, pedestrians, right of way, labels and the "
    "controller's decision every second. The library alone: highway-env's own Road with its own "
    "vehicles (IDMVehicle for others, ControlledVehicle for our car; every environment of the "
    "library has one such, and at a crossing there is nothing else) where ours are, put there "
    "anew for every second (warming up included), and moved by Road.act and Road.step at the same "
    "10 Hz; putting them there is not counted. The unit does not count the warming up. Target: "
    "ours takes less than 1.25 times its CPU time."
)
_SUMO_NOTE = (
    "Ours: whole episodes, with loading, warming up, our car and right of way around it, labels "
    "and the controller's decision every second. Plain libsumo loads the same network, signals, "
    "traffic and seed and steps for the same time (warming up included) without our car; nothing "
    "is read from it. The unit does not count the warming up. Target as above."
)
_ENVIRONMENT_NOTE = (
    "A vehicle (our own car is one, pedestrians are none) for one simulated second: unequal "
    "traffic does not decide. Ours as whole episodes with warming up; the library's environment "
    "at the same 10 Hz and one decision (IDLE) a second, with its default observation, not "
    "rendered, and without the time that its resets take. Target as above."
)

Side = Callable[[], float]
"""Does a block's work and gives the CPU seconds of it."""


@dataclass(frozen=True)
class Drive:
    """What is driven at a place of some shape: stop, then wait for a guard and go."""

    shape: str
    scenario: str
    action: str
    guard: str

    @property
    def controller(self) -> Controller:
        """Who drives."""
        steps = Transition(0, "true", "stop", 1), Transition(1, self.guard, self.action, 2)
        return Controller(0, 2, steps)


_FREE = "!car_from_left & !pedestrian_in_front"
DRIVES = (
    Drive(
        "junction",
        "traffic_light",
        "go_straight",
        f"green_traffic_light & !car_from_right & {_FREE}",
    ),
    Drive("roundabout", "roundabout", "go_straight", _FREE),
    Drive(
        "crossing",
        "pedestrian_crossing",
        "go_straight",
        "!pedestrian_at_left & !pedestrian_at_right & !pedestrian_in_front",
    ),
)


def speed_rows(vocabulary: Vocabulary, blocks: int, seeds: int) -> Iterator[Row]:
    """Both simulators at every place.

    Args:
        vocabulary: The domain.
        blocks: Number of blocks of each comparison; one more warms both sides up.
        seeds: Episodes in a block.
    """
    parts = [range(i * seeds, (i + 1) * seeds) for i in range(blocks + 1)]
    for each in DRIVES:
        yield from _highway_rows(each, vocabulary, parts)
    for each in DRIVES:
        yield _sumo_row(each, vocabulary, parts)


@dataclass(frozen=True)
class Block:
    """The same work, done by every side.

    Attributes:
        ours: We do it.
        peers: Others do it, by name.
        amounts: How much work it is, in the unit of the comparison with each peer.
    """

    ours: Side
    peers: Mapping[str, Side]
    amounts: Mapping[str, float]


def in_turns(blocks: Iterable[Block]) -> dict[str, Comparison]:
    """Costs of a unit of work, ours and every peer's, block by block; who begins changes.

    The first block warms all sides up and does not count.
    """
    found: defaultdict[str, Comparison] = defaultdict(Comparison)
    for number, block in enumerate(blocks):
        sides = {_OURS: block.ours, **block.peers}
        order = list(sides) if number % 2 else list(reversed(sides))
        spent = {name: sides[name]() for name in order}
        if number:
            for name, amount in block.amounts.items():
                found[name].add(1, spent[_OURS] / amount, spent[name] / amount)
    return dict(found)


def _cpu(work: Callable[[], object]) -> float:
    began = cpu_seconds()
    work()
    return cpu_seconds() - began


def _row(what: str, unit: str, peer: str, found: Comparison, note: str) -> Row:
    ours, theirs = found.rates(1)
    row = Row(what, ours, unit, peer, theirs, found.ratio, found.spread)
    return dataclasses.replace(at_least(row, 1 / ADDED), note=note)


def _episodes(simulator: Simulator, each: Drive, seeds: Sequence[int]) -> list[float]:
    """Drive them; how long each took, in simulated seconds."""
    controller, action = each.controller, each.action
    return [drive(simulator, controller, action, s, _COURSE).status.seconds for s in seeds]


@dataclass
class Scene:
    """The vehicles of a moment on a road of the library, and the ticks until the next one."""

    road: Road
    ticks: int = 0

    @property
    def vehicle_seconds(self) -> float:
        """Vehicles times seconds."""
        return len(self.road.vehicles) * self.ticks / FREQUENCY

    def play(self) -> None:
        """Let the library move them."""
        for _ in range(self.ticks):
            self.road.act()
            self.road.step(1 / FREQUENCY)


class Recorded(HighwaySimulator):
    """Remembers the scene of every second, warming up included, as the library would have it."""

    def __init__(self, layout: Layout, name: str) -> None:
        super().__init__(layout, name)
        self.scenes: list[Scene] = []

    def _tick(self, seconds: float) -> None:
        if self._ticks % FREQUENCY == 0:
            road = Road(self.place.network)
            road.vehicles.extend(library_vehicle(road, c) for c in (self.own, *self.traffic.all))
            self.scenes.append(Scene(road))
        self.scenes[-1].ticks += 1
        super()._tick(seconds)


def library_vehicle(road: Road, car: OwnCar | OtherCar) -> ControlledVehicle:
    """The library's vehicle where one of ours is, on the same way at the same speed."""
    state: dict[str, Any] = {
        "position": car.position.copy(),
        "heading": car.heading,
        "speed": car.speed,
        "target_lane_index": car.target_lane_index,
        "target_speed": car.target_speed,
        "route": list(car.route or ()) or None,
    }
    if isinstance(car, OtherCar):
        return IDMVehicle(road, **state, enable_lane_change=False)
    return ControlledVehicle(road, **state)


def _highway_rows(each: Drive, vocabulary: Vocabulary, parts: Sequence[range]) -> Iterator[Row]:
    layout, name = layout_of(each.scenario, vocabulary), f"highway/{each.scenario}"
    simulator = HighwaySimulator(layout, name)
    what = f"{name}, a controller driving"
    peer = ENVIRONMENTS.get(each.shape)
    environment = library_environment(peer) if peer else None

    def block(seeds: range) -> Block:
        scenes, seconds = recorded_scenes(each, layout, seeds)
        vehicles = math.fsum(scene.vehicle_seconds for scene in scenes)
        amounts = {_ALONE: seconds} | ({peer: vehicles} if peer else {})
        peers: dict[str, Side] = {_ALONE: lambda: _cpu(lambda: [s.play() for s in scenes])}
        if peer:
            peers[peer] = lambda: environment_cpu(environment, vehicles, seeds[0])
        return Block(lambda: _cpu(lambda: _episodes(simulator, each, seeds)), peers, amounts)

    found = in_turns(map(block, parts))
    yield _row(what, _UNIT, _ALONE, found[_ALONE], _HIGHWAY_NOTE)
    if peer:
        yield _row(what, "vehicle s / CPU s", peer, found[peer], _ENVIRONMENT_NOTE)


def recorded_scenes(each: Drive, layout: Layout, seeds: Sequence[int]) -> tuple[list[Scene], float]:
    """What there is to be moved in the episodes of these seeds, and their simulated seconds."""
    recorded = Recorded(layout, f"highway/{layout.scenario}")
    seconds = math.fsum(_episodes(recorded, each, seeds))
    return recorded.scenes, seconds


@contextmanager
def unchanged(kind: type) -> Iterator[None]:
    """Puts the constants of a class back at the end.

    The library's junction sets some of IDMVehicle's for the whole process; our cars are such
    vehicles, and must not drive otherwise because somebody made another environment.
    """
    before = {name: value for name, value in vars(kind).items() if name.isupper()}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(kind, name, value)


def library_environment(name: str) -> Any:
    """One of highway-env's environments at our frequencies."""
    config = {"simulation_frequency": FREQUENCY, "policy_frequency": 1}
    with unchanged(IDMVehicle):
        return gymnasium.make(name, config=config).unwrapped


def environment_cpu(environment: Any, amount: float, seed: int) -> float:
    """CPU seconds of so many vehicle seconds in the steps of an environment.

    It is slow: a part of them is made, and taken for all.
    """
    done, spent, over = 0.0, 0.0, True
    with unchanged(IDMVehicle):
        while done < _PART * amount:
            if over:
                environment.reset(seed=seed)
                seed += 1
            done += len(environment.road.vehicles)
            began = cpu_seconds()
            *_, terminated, truncated, _ = environment.step(_IDLE)
            spent += cpu_seconds() - began
            over = terminated or truncated
    return spent * amount / done


def _sumo_row(each: Drive, vocabulary: Vocabulary, parts: Sequence[range]) -> Row:
    layout, name = layout_of(each.scenario, vocabulary), f"sumo/{each.scenario}"
    simulator, plain = SumoSimulator(layout, name), PlainSumo(network_of(layout))

    def block(seeds: range) -> Block:
        seconds = _episodes(simulator, each, seeds)
        return Block(
            lambda: _cpu(lambda: _episodes(simulator, each, seeds)),
            {_PLAIN: lambda: _cpu(lambda: plain.play(seeds, seconds))},
            {_PLAIN: math.fsum(seconds)},
        )

    try:
        found = in_turns(map(block, parts))
        return _row(f"{name}, a controller driving", _UNIT, _PLAIN, found[_PLAIN], _SUMO_NOTE)
    finally:
        simulator.close()
        ENGINE.close(plain)


@dataclass(frozen=True)
class PlainSumo:
    """SUMO with a place's network, signals and traffic, and nobody who looks or interferes."""

    network: Network

    def play(self, seeds: Sequence[int], seconds: Sequence[float]) -> None:
        """Load and step once per seed, for so many seconds after warming up."""
        for seed, length in zip(seeds, seconds, strict=True):
            source = random.Random(f"sumo {seed}")  # as `SumoSimulator.reset` has it
            ENGINE.start(self, self.network, source.randrange(2**31))
            if self.network.phases:
                phase, remaining = start_of(self.network.phases, source.random())
                sumo.trafficlight.setPhase(PLACE, phase)
                sumo.trafficlight.setPhaseDuration(PLACE, remaining)
            sumo.simulationStep(WARM_UP + length)
