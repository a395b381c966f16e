"""Networks: made by SUMO's netconvert once per layout, kept in a cache, and read back."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from verifier.errors import InputError
from worlds.simulation.layout import Layout
from worlds.sumo.roads import PLACE, connections_xml, edges_xml, nodes_xml
from worlds.sumo.signals import Phase, programme, programme_xml
from worlds.sumo.traffic import traffic_xml

Point = tuple[float, float]
"""Metres; x to the east, y to the north, the place at the origin."""

CACHE_VARIABLE = "SPECDRIVE_CACHE"
"""Environment variable that names the folder for networks; otherwise the temporary folder."""

_OPTIONS = (
    *(
        "--no-turnarounds",
        "true",
        "--walkingareas",
        "true",
        "--offset.disable-normalization",
        "true",
    ),
    *("--precision", "3", "--no-warnings", "true"),
)


@dataclass(frozen=True)
class Lane:
    """A lane of a road, a pavement, a crosswalk, or a way through a junction.

    Attributes:
        name: SUMO's.
        edge: The edge it belongs to.
        kind: SUMO's function of the edge: ``normal``, ``internal``, ``crossing``, ``walkingarea``.
        for_cars: Whether cars may drive there.
        length: Metres.
        width: Metres.
        shape: Its middle line; the outline of a walking area.
    """

    name: str
    edge: str
    kind: str
    for_cars: bool
    length: float
    width: float
    shape: tuple[Point, ...]


@dataclass(frozen=True)
class Network:
    """A network with its signal programme and traffic, as files and as what they say.

    Attributes:
        folder: Where the files are.
        lanes: By name.
        links: Link index of every movement at the traffic light (see `signals`).
        crosswalks: Edge of the crosswalk over each arm.
        junctions: Outlines of the nodes that are not ends of the world.
        via: First inner lane on the way from one edge to another, and the next from an inner lane.
        phases: The signal programme.
    """

    folder: Path
    lanes: Mapping[str, Lane]
    links: Mapping[str, int]
    crosswalks: Mapping[str, str]
    junctions: tuple[tuple[Point, ...], ...]
    via: Mapping[tuple[str, str], str]
    phases: tuple[Phase, ...]

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Network, signal programme and traffic."""
        return tuple(self.folder / name for name in _FILES)  # pyright: ignore[reportReturnType]

    @cached_property
    def car_lanes(self) -> Mapping[str, Lane]:
        """The lane for cars of every normal edge."""
        return {
            lane.edge: lane
            for lane in self.lanes.values()
            if lane.kind == "normal" and lane.for_cars
        }

    def inner_lanes(self, edges: Sequence[str]) -> tuple[Lane, ...]:
        """Lanes between the end of the first edge and the beginning of the last, in order."""
        found: list[Lane] = []
        for before, after in pairwise(edges):
            name = self.via.get((before, after))
            while name is not None:
                found.append(self.lanes[name])
                name = self.via.get((self.lanes[name].edge, after))
            found.append(self.car_lanes[after])
        return tuple(found[:-1])


_FILES = ("place.net.xml", "signals.add.xml", "traffic.rou.xml")


def network_of(layout: Layout) -> Network:
    """The network of a layout; made if it is not in the cache. Safe in concurrent processes.

    Raises:
        InputError: netconvert is missing or fails.
    """
    sources = {
        "place.nod.xml": nodes_xml(layout),
        "place.edg.xml": edges_xml(layout),
        "place.con.xml": connections_xml(layout),
        "traffic.rou.xml": traffic_xml(layout),
    }
    phases = programme(layout)
    everything = repr((sources, phases, _OPTIONS, version("eclipse-sumo")))
    name = hashlib.sha256(everything.encode()).hexdigest()[:20]
    folder = _cache() / name
    if not all((folder / name).is_file() for name in _FILES):
        shutil.rmtree(folder, ignore_errors=True)  # of which something has been tidied away
        _make(folder, sources, phases)
    return _read(folder, phases)


def _cache() -> Path:
    given = os.environ.get(CACHE_VARIABLE)
    base = (
        Path(given)
        if given
        else Path(tempfile.gettempdir()) / f"specdrive-{getattr(os, 'getuid', int)()}"
    )
    return base / "sumo"


def _make(folder: Path, sources: Mapping[str, str], phases: tuple[Phase, ...]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as made:
        beside = Path(made) / folder.name
        beside.mkdir()
        for name, text in sources.items():
            (beside / name).write_text(text)
        _netconvert(beside)
        links = _links(ET.parse(beside / _FILES[0]).getroot())
        (beside / _FILES[1]).write_text(programme_xml(phases, links, PLACE))
        try:
            beside.rename(folder)
        except OSError:
            # Another process was faster; its content is the same.
            if not folder.is_dir():
                raise


def _netconvert(folder: Path) -> None:
    from sumo import SUMO_HOME  # late: the package is optional

    program = shutil.which("netconvert", path=str(Path(SUMO_HOME) / "bin"))
    if program is None:
        raise InputError(
            "SUMO's netconvert is not installed", remedy="pip install 'specdrive[sim]'"
        )
    parts = ((f"--{kind}-files", f"place.{end}.xml") for kind, end in _PARTS)
    command = [program, *(word for part in parts for word in part), "-o", _FILES[0], *_OPTIONS]
    environment = os.environ | {"SUMO_HOME": SUMO_HOME}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"netconvert failed: {done.stderr.strip() or done.stdout.strip()}",
            remedy="simulate the scenario with highway/ in place of sumo/",
        )


_PARTS = (("node", "nod"), ("edge", "edg"), ("connection", "con"))


def _read(folder: Path, phases: tuple[Phase, ...]) -> Network:
    root = ET.parse(folder / _FILES[0]).getroot()
    crosswalks = {
        edge.attrib["crossingEdges"].split()[0][-1]: edge.attrib["id"]
        for edge in root.iter("edge")
        if edge.get("function") == "crossing"
    }
    junctions = tuple(
        _shape(junction.attrib["shape"])
        for junction in root.iter("junction")
        if junction.attrib["type"] not in ("internal", "dead_end")
    )
    via = {
        (c.attrib["from"], c.attrib["to"]): c.attrib["via"]
        for c in root.iter("connection")
        if "via" in c.attrib
    }
    lanes = {lane.name: lane for lane in _lanes(root)}
    return Network(folder, lanes, _links(root), crosswalks, junctions, via, phases)


def _lanes(root: ET.Element) -> Iterator[Lane]:
    for edge in root.iter("edge"):
        for lane in edge.iter("lane"):
            kind = edge.get("function", "normal")
            walking = lane.get("allow") == "pedestrian" or kind in ("crossing", "walkingarea")
            yield Lane(
                lane.attrib["id"],
                edge.attrib["id"],
                kind,
                not walking,
                float(lane.attrib["length"]),
                float(lane.get("width", 3.2)),
                _shape(lane.attrib["shape"]),
            )


def _links(root: ET.Element) -> dict[str, int]:
    """Link index of every movement (see `signals`)."""
    crossings = {
        edge.attrib["id"]: edge.attrib["crossingEdges"].split()[0][-1]
        for edge in root.iter("edge")
        if edge.get("function") == "crossing"
    }
    links: dict[str, int] = {}
    for connection in root.iter("connection"):
        if connection.get("tl") != PLACE:
            continue
        index, target = int(connection.attrib["linkIndex"]), connection.attrib["to"]
        if target in crossings:
            links[f"p{crossings[target]}"] = index
        else:
            links[f"{connection.attrib['from'][-1]}{connection.attrib['dir'].lower()}"] = index
    return links


def _shape(text: str) -> tuple[Point, ...]:
    points = (point.split(",") for point in text.split())
    return tuple((float(x), float(y)) for x, y, *_ in points)
