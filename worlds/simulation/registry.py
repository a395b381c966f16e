"""Simulators by name: ``KIND/SCENARIO``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec

from verifier.errors import InputError
from verifier.vocabulary import Vocabulary
from worlds.load import shipped_worlds
from worlds.simulation.interface import Simulator
from worlds.simulation.layout import Layout, layout_of

Make = Callable[[Layout, str], Simulator]
"""Makes a simulator of a layout under a name."""

WALK = "walk"
"""The kind that walks at random through the hand-written world: it needs no things in a place."""

# kind -> (module with `make`, library it needs)
_KINDS: Mapping[str, tuple[str, str | None]] = {
    "highway": ("worlds.highway.simulator", "highway_env"),
    "sumo": ("worlds.sumo.simulator", "libsumo"),
    WALK: ("worlds.simulation.walk", None),
}
_NOT_SIMULATED = {"free", "universal", "paper_wide_median", "highway_merge", "school_crossing"}

KINDS = tuple(_KINDS)
"""Kinds of simulators."""


def simulated_worlds() -> tuple[str, ...]:
    """``KIND/SCENARIO`` of every simulated world that ships."""
    return tuple(
        f"{kind}/{scenario}"
        for kind in KINDS
        for scenario in shipped_worlds()
        if kind == WALK or scenario not in _NOT_SIMULATED
    )


def scenario_of(name: str) -> str:
    """SCENARIO of ``KIND/SCENARIO``: a shipped name or the path of a world file.

    Raises:
        InputError: There is no such kind, or the scenario is not simulated by it.
    """
    kind, slash, scenario = name.partition("/")
    if not slash or not scenario or kind not in _KINDS:
        raise InputError(
            f"no simulated world {name!r}",
            remedy=f"name one as KIND/SCENARIO with KIND {' or '.join(KINDS)}, as in "
            "sumo/traffic_light; see: specdrive simulate --list",
        )
    if kind != WALK and scenario in _NOT_SIMULATED:
        raise InputError(
            f"the world {scenario!r} is not simulated", remedy="see: specdrive simulate --list"
        )
    return scenario


def make_simulator(name: str, vocabulary: Vocabulary) -> Simulator:
    """A simulator by name; SCENARIO is a shipped name or the path of a world file.

    Raises:
        InputError: Unknown kind or scenario, no layout for it, or the library is not installed.
    """
    scenario = scenario_of(name)
    kind = name.partition("/")[0]
    layout = layout_of(scenario, vocabulary, buildable=kind != WALK)
    module, library = _KINDS[kind]
    if library is not None and find_spec(library) is None:
        raise InputError(
            f"{kind} worlds need {library}, which is not installed",
            remedy="pip install 'specdrive[sim]'",
        )
    make: Make = import_module(module).make
    return make(layout, name)
