"""Recorded label sequences: what a simulator showed at every decision of an episode.

A file of recordings is JSON Lines, one object per episode:

    {"world": "sumo/traffic_light", "scenario": "traffic_light", "seed": 7, "period": 1.0,
     "driver": "hold", "propositions": ["green_traffic_light", "car_from_left"],
     "seconds": [0.0, 1.0, 2.0], "labels": [["car_from_left"], ["car_from_left"], []],
     "actions": ["stop", "stop", "stop"]}

``labels``, ``seconds`` and ``actions`` have one entry per decision: what held, when, and what the
car was told to do then. Equal files mean equal recordings: nothing depends on the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.yaml_files import read_text

Label = frozenset[str]
"""The propositions that hold."""

_REMEDY = "make it with: specdrive worlds record"


@dataclass(frozen=True)
class Recording:
    """One recorded episode.

    Attributes:
        world: The simulator's name.
        scenario: The hand-written scenario that it simulates: a shipped name or a path.
        seed: Of the episode.
        period: Seconds between two looks of a car that holds.
        driver: Who decided (see `worlds.learned.drivers`).
        propositions: What could be observed.
        seconds: Simulated time of each label.
        labels: What held, in order; never empty.
        actions: What the car was told to do at each label.
    """

    world: str
    scenario: str
    seed: int
    period: float
    driver: str
    propositions: tuple[str, ...]
    seconds: tuple[float, ...]
    labels: tuple[Label, ...]
    actions: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Recorded steps: pairs of labels that follow each other."""
        return len(self.labels) - 1

    @property
    def periods(self) -> tuple[int, ...]:
        """For each label, the periods since the one before, at least 1; 1 for the first."""
        between = (b - a for a, b in pairwise(self.seconds))
        return (1, *(max(1, round(seconds / self.period)) for seconds in between))

    def to_json(self) -> dict[str, Any]:
        """The line of a file of recordings."""
        return {
            "world": self.world,
            "scenario": self.scenario,
            "seed": self.seed,
            "period": self.period,
            "driver": self.driver,
            "propositions": list(self.propositions),
            "seconds": [round(s, 6) for s in self.seconds],
            "labels": [sorted(label) for label in self.labels],
            "actions": list(self.actions),
        }


def recording_from_json(row: Any, file: object = None, place: str | None = None) -> Recording:
    """Validate a line of a file of recordings.

    Raises:
        InputError: A field is missing or of the wrong kind, lengths differ, or a label has what
            is not among the propositions.
    """

    def refuse(problem: str) -> InputError:
        return InputError(problem, file=file, place=place, remedy=_REMEDY)

    if not isinstance(row, Mapping):
        raise refuse("not an object")
    for key, kind in _FIELDS.items():
        if key not in row:
            raise refuse(f"no field {key!r}")
        if not isinstance(row[key], kind) or isinstance(row[key], bool):
            raise refuse(f"{key} cannot be {row[key]!r}")
    for key in ("propositions", "actions"):
        if not all(isinstance(name, str) for name in row[key]):
            raise refuse(f"{key} must be texts")
    if not all(isinstance(s, int | float) for s in row["seconds"]):
        raise refuse("seconds must be numbers")
    if not all(isinstance(label, list) for label in row["labels"]):
        raise refuse("every label must be a list of propositions")
    if not row["labels"]:
        raise refuse("no labels")
    if not len(row["labels"]) == len(row["actions"]) == len(row["seconds"]):
        raise refuse("labels, actions and seconds must have one entry per decision each")
    labels = tuple(frozenset(map(str, label)) for label in row["labels"])
    unknown = frozenset().union(*labels).difference(row["propositions"])
    if unknown:
        raise refuse(f"the label {min(unknown)!r} is not among the propositions")
    return Recording(
        world=row["world"],
        scenario=row["scenario"],
        seed=row["seed"],
        period=float(row["period"]),
        driver=row["driver"],
        propositions=tuple(row["propositions"]),
        seconds=tuple(map(float, row["seconds"])),
        labels=labels,
        actions=tuple(row["actions"]),
    )


_FIELDS: Mapping[str, Any] = {
    "world": str,
    "scenario": str,
    "seed": int,
    "period": int | float,
    "driver": str,
    "propositions": list,
    "seconds": list,
    "labels": list,
    "actions": list,
}


def read_recordings(files: Iterable[str | Path]) -> list[Recording]:
    """All recordings of the files, in order; fit for being put together.

    Raises:
        InputError: Unreadable, not recordings, none at all, an episode given twice, or episodes
            that cannot be put together (see `check_compatible`).
    """
    found: list[Recording] = []
    seen: dict[tuple[str, str, int], str] = {}
    for file in map(Path, files):
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                row = json.loads(line)
            except ValueError:
                raise InputError("not JSON", file=file, place=place, remedy=_REMEDY) from None
            recording = recording_from_json(row, file, place)
            key = (recording.world, recording.driver, recording.seed)
            if key in seen:
                raise InputError(
                    f"the episode of {recording.world} with seed {recording.seed} was already "
                    f"given in {seen[key]}",
                    file=file,
                    place=place,
                    remedy="give each episode once: counted twice, nothing would be rare",
                )
            seen[key] = f"{file}, {place}"
            found.append(recording)
    if not found:
        raise InputError("no recordings", file=next(iter(files), None), remedy=_REMEDY)
    check_compatible(found)
    return found


def check_compatible(recordings: Sequence[Recording]) -> None:
    """Refuse recordings that cannot be put together.

    Raises:
        InputError: They differ in what could be observed or in the time between two looks.
    """
    first = recordings[0]
    for recording in recordings:
        if set(recording.propositions) != set(first.propositions):
            odd = set(recording.propositions) ^ set(first.propositions)
            raise InputError(
                f"{recording.world} and {first.world} differ in what can be observed: {min(odd)}",
                remedy="learn a world from recordings of one place",
            )
        if recording.period != first.period:
            raise InputError(
                f"periods of {recording.period:g} s and {first.period:g} s",
                remedy="a step must mean the same time everywhere: record again",
            )


def recordings_to_lines(recordings: Iterable[Recording]) -> str:
    """The text of a file of recordings."""
    return "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in recordings)
