"""SUMO inside this process, through libsumo: one simulation at a time, and quiet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from verifier.errors import InputError
from worlds.sumo.network import Network
from worlds.sumo.roads import PLACE

STEP = 0.1
"""Seconds between two states of SUMO."""

_OPTIONS = (
    *("--step-length", str(STEP), "--time-to-teleport", "-1", "--xml-validation", "never"),
    # Collisions are reported and change nothing; also those within a junction.
    *("--collision.action", "warn", "--collision.check-junctions", "true"),
    *("--collision.mingap-factor", "0"),
    *("--no-step-log", "true", "--no-warnings", "true", "--duration-log.disable", "true"),
)


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Without libsumo's warning about pyarrow, which is of no consequence here: nothing is
    written as Parquet."""
    name = "LIBSUMO_AS_TRACI"
    before = os.environ.get(name)
    os.environ[name] = "quiet"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


with _quiet_import():
    import libsumo

sumo: Any = libsumo
"""libsumo, whose functions have no types."""


class Engine:
    """The process's only simulation, lent to one owner at a time.

    The owner is whoever started last; an earlier owner is told so when it goes on. So several
    simulators can be used in turn in one process, but never two at the same time.
    """

    def __init__(self, module: ModuleType) -> None:
        self._sumo: Any = module
        self._owner: object | None = None

    def start(self, owner: object, network: Network, seed: int) -> None:
        """Begin a simulation; one that runs is ended.

        Raises:
            InputError: SUMO cannot load it.
        """
        net, signals, traffic = (str(path) for path in network.files)
        options = [*("-n", net, "-a", signals, "-r", traffic, "--seed", str(seed)), *_OPTIONS]
        try:
            if self._sumo.isLoaded():
                self._sumo.load(options)
            else:
                self._sumo.start(["sumo", *options])
        except (self._sumo.TraCIException, self._sumo.FatalTraCIError) as error:
            self._owner = None
            raise InputError(
                f"SUMO cannot load the network: {error}",
                file=network.folder,
                remedy="remove the folder; it is made again",
            ) from error
        self._owner = owner

    def check(self, owner: object) -> None:
        """See that the simulation is the owner's.

        Raises:
            InputError: Another simulator has been started since, or none.
        """
        if self._owner is not owner:
            raise InputError(
                "another SUMO simulation has been started in this process, which holds only one",
                remedy="reset this simulator to go on with it, or use one process for each",
            )

    def close(self, owner: object) -> None:
        """End the simulation if it is the owner's."""
        if self._owner is owner:
            self._owner = None
            if self._sumo.isLoaded():
                self._sumo.close()


ENGINE = Engine(libsumo)
"""The only one."""


def signals() -> str:
    """What every movement is shown now: a letter for each link of the traffic light."""
    return sumo.trafficlight.getRedYellowGreenState(PLACE)
