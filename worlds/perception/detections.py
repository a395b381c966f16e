"""What a detector said and what was true: the data behind every curve and every test here.

A file of detections is JSON Lines. A row is a whole scene,

    {"domain": "sumo/traffic_light", "episode": 7, "seconds": 4.0, "label": ["car_from_left"],
     "confidences": {"car_from_left": 0.93, "pedestrian_at_right": 0.08}}

or one detection of an object detector, which says with what confidence it found a thing and
whether the thing was there:

    {"domain": "photos", "episode": 7, "proposition": "car_from_left", "confidence": 0.93,
     "correct": true}

``domain``, ``episode`` and ``seconds`` may be left out. Rows of one episode depend on each other,
so everything is estimated and resampled by episodes; without ``episode`` every row is its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.yaml_files import read_text

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]

_REMEDY = "see the form of such files in docs/perception.md"


@dataclass(frozen=True)
class Detections:
    """Detections of several propositions, in long form: n of them.

    Attributes:
        domain: Where they come from, for titles.
        propositions: Names.
        proposition: (n,) index into ``propositions``.
        confidence: (n,) from 0 to 1: how sure the detector is that the proposition holds.
        truth: (n,) whether it holds.
        episode: (n,) number of the episode.
        seconds: (n,) simulated time within the episode; NaN where unknown.
    """

    domain: str
    propositions: tuple[str, ...]
    proposition: Integers
    confidence: Floats
    truth: Booleans
    episode: Integers
    seconds: Floats

    def __len__(self) -> int:
        return len(self.confidence)

    def of(self, name: str) -> Detections:
        """Those of one proposition."""
        return self.where(self.proposition == self.propositions.index(name))

    def where(self, chosen: Booleans) -> Detections:
        """Those that are chosen."""
        return Detections(
            self.domain,
            self.propositions,
            self.proposition[chosen],
            self.confidence[chosen],
            self.truth[chosen],
            self.episode[chosen],
            self.seconds[chosen],
        )

    def with_confidence(self, confidence: Floats) -> Detections:
        """The same scenes, seen by another detector."""
        return Detections(
            self.domain,
            self.propositions,
            self.proposition,
            confidence,
            self.truth,
            self.episode,
            self.seconds,
        )

    def answers(self) -> Detections:
        """Confidence in the answer given, and whether it was right.

        The answer is "holds" from confidence 1/2 on; then both "yes" and "no" answers count, with
        confidences from 1/2 to 1.
        """
        yes = self.confidence >= 0.5
        folded = self.with_confidence(np.where(yes, self.confidence, 1 - self.confidence))
        return Detections(
            folded.domain,
            folded.propositions,
            folded.proposition,
            folded.confidence,
            yes == self.truth,
            folded.episode,
            folded.seconds,
        )

    def split(self, share: float, seed: int) -> tuple[Detections, Detections]:
        """Two parts with whole episodes each, the first with about that share of them.

        Raises:
            InputError: There are fewer than two episodes.
        """
        numbers = np.unique(self.episode)
        if len(numbers) < 2:
            raise InputError(
                f"{len(numbers)} episode in {self.domain}",
                remedy="give detections of at least two episodes: one part is held out",
            )
        np.random.default_rng(seed).shuffle(numbers)
        cut = min(max(round(share * len(numbers)), 1), len(numbers) - 1)
        first = np.isin(self.episode, numbers[:cut])
        return self.where(first), self.where(~first)


def detections_of(
    domain: str,
    propositions: Sequence[str],
    confidences: Floats,
    truth: Booleans,
    episode: Integers,
    seconds: Floats | None = None,
) -> Detections:
    """From tables of one row per scene.

    Args:
        domain: Their name.
        propositions: Names of the columns.
        confidences: (scenes, propositions).
        truth: (scenes, propositions).
        episode: (scenes,).
        seconds: (scenes,); unknown if None.
    """
    scenes, width = confidences.shape
    time = np.full(scenes, np.nan) if seconds is None else seconds
    return Detections(
        domain,
        tuple(propositions),
        np.tile(np.arange(width, dtype=np.int64), scenes),
        confidences.astype(np.float64).ravel(),
        truth.astype(np.bool_).ravel(),
        np.repeat(episode.astype(np.int64), width),
        np.repeat(time.astype(np.float64), width),
    )


def detection_rows(detections: Detections) -> Iterable[dict[str, Any]]:
    """Rows of a file: one per scene where the time is known, else one per detection."""
    scenes: dict[tuple[int, float], dict[str, Any]] = {}
    for p, c, t, e, s in zip(
        detections.proposition.tolist(),
        detections.confidence.tolist(),
        detections.truth.tolist(),
        detections.episode.tolist(),
        detections.seconds.tolist(),
        strict=True,
    ):
        name = detections.propositions[p]
        if not isfinite(s):
            yield {
                "domain": detections.domain,
                "episode": e,
                "proposition": name,
                "confidence": round(c, 6),
                "correct": t,
            }
            continue
        scene = scenes.setdefault(
            (e, s),
            {
                "domain": detections.domain,
                "episode": e,
                "seconds": s,
                "label": [],
                "confidences": {},
            },
        )
        scene["confidences"][name] = round(c, 6)
        if t:
            scene["label"].append(name)
    yield from scenes.values()


def read_detections(files: Iterable[str | Path]) -> Detections:
    """The detections of some files, taken together.

    Episodes of different files are different episodes.

    Raises:
        InputError: Unreadable, not detections, or none; the message names the line.
    """
    names: dict[str, int] = {}
    episodes: dict[tuple[object, ...], int] = {}
    domains: dict[str, None] = {}
    rows: list[tuple[int, float, bool, int, float]] = []
    paths = [Path(file) for file in files]
    for path in paths:
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            row = _parse(line, path, f"line {number}")
            domains.setdefault(str(row.get("domain", path.stem)))
            key = (path, row["episode"]) if "episode" in row else (path, None, number)
            episode = episodes.setdefault(key, len(episodes))
            seconds = float(row.get("seconds", np.nan))
            for name, confidence, truth in _members(row, path, f"line {number}"):
                index = names.setdefault(name, len(names))
                rows.append((index, confidence, truth, episode, seconds))
    if not rows:
        raise InputError("no detections", file=paths[0] if paths else None, remedy=_REMEDY)
    columns = list(zip(*rows, strict=True))
    return Detections(
        " + ".join(domains),
        tuple(names),
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.float64),
        np.array(columns[2], dtype=np.bool_),
        np.array(columns[3], dtype=np.int64),
        np.array(columns[4], dtype=np.float64),
    )


def _parse(line: str, file: Path, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        raise InputError("not JSON", file=file, place=place, remedy=_REMEDY) from None
    if not isinstance(row, dict):
        raise InputError("not an object", file=file, place=place, remedy=_REMEDY)
    for key, kinds in {"episode": (int,), "seconds": (int, float)}.items():
        value = row.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise InputError(f"{key} cannot be {value!r}", file=file, place=place, remedy=_REMEDY)
    return row


def _members(row: Mapping[str, Any], file: Path, place: str) -> list[tuple[str, float, bool]]:
    def refuse(problem: str) -> InputError:
        return InputError(problem, file=file, place=place, remedy=_REMEDY)

    def confident(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise refuse(f"the confidence of {name} must be from 0 to 1, not {value!r}")
        return float(value)

    if "confidences" in row:
        confidences, label = row["confidences"], row.get("label")
        if not isinstance(confidences, dict) or not isinstance(label, list):
            raise refuse("a scene has an object 'confidences' and a list 'label'")
        unknown = [name for name in label if name not in confidences]
        if unknown:
            raise refuse(f"{unknown[0]!r} is in the label but has no confidence")
        return [(name, confident(name, c), name in label) for name, c in confidences.items()]
    name, correct = row.get("proposition"), row.get("correct")
    if not isinstance(name, str) or not isinstance(correct, bool):
        raise refuse(
            "neither a scene ('confidences', 'label') nor a detection ('proposition', "
            "'confidence', 'correct')"
        )
    return [(name, confident(name, row.get("confidence")), correct)]
