"""The detector: a small convolutional network from two pictures to a confidence per proposition.

About 170,000 parameters at 96 pixels. Each view (see `worlds.perception.frames`) has layers of its
own, which see the picture and its difference from the one a period before: what moves stands out.
Their last maps are flattened, not averaged: where a car is decides which proposition it belongs
to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from verifier.errors import InputError
from verifier.yaml_files import load_json
from worlds.perception.detections import Detections, Floats, detections_of
from worlds.perception.frames import Frames, Picture
from worlds.perception.recalibration import Recalibration, recalibration_from_json

CHANNELS = (16, 32, 48, 64)
"""Of the four layers; each halves height and width."""

WEIGHTS, CARD = "detector.safetensors", "detector.json"
"""Files of a saved detector."""

_BATCH = 256


class Network(nn.Module):
    """Two pictures to log odds.

    Args:
        outputs: Number of propositions.
        size: Height and width of each view, a multiple of 16 with four layers.
        channels: Of the layers.
        hidden: Width of the layer before the outputs.
    """

    def __init__(
        self,
        outputs: int,
        size: int,
        channels: Sequence[int] = CHANNELS,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        factor = 2 ** len(channels)
        if size % factor:
            raise InputError(f"pictures of {size} pixels", remedy=f"use a multiple of {factor}")
        narrow, side = max(channels[-1] // 4, 4), size // factor
        self.size = size
        self.wide, self.near = _layers(channels, narrow), _layers(channels, narrow)
        self.head = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(2 * narrow * side * side, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        """Log odds of (batch, 3, 2 size, size) values from 0 to 1: (batch, outputs)."""
        both = torch.cat([2 * now - 1, now - before], dim=1)
        wide, near = both[:, :, : self.size], both[:, :, self.size :]
        return self.head(torch.cat([self.wide(wide), self.near(near)], dim=1))


def _layers(channels: Sequence[int], narrow: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 6
    for after in channels:
        layers += [
            nn.Conv2d(width, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
        width = after
    return nn.Sequential(*layers, nn.Conv2d(width, narrow, 1), nn.ReLU(), nn.Flatten())


@dataclass(frozen=True)
class Detector:
    """A trained network and how to read it.

    Attributes:
        network: In evaluation mode.
        propositions: Its outputs.
        size: Height and width of each view.
        channels: Of its layers.
        hidden: Width of the layer before the outputs.
        recalibration: Applied to its confidences; None for none.
        card: How it was made, for people.
    """

    network: Network
    propositions: tuple[str, ...]
    size: int
    channels: tuple[int, ...]
    hidden: int
    recalibration: Recalibration | None
    card: Mapping[str, Any]

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.network.parameters())

    def raw(self, now: Picture, before: Picture) -> Floats:
        """Confidences before recalibration, of (n, 2 size, size, 3) pictures: (n, propositions)."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(now), _BATCH):
                part = slice(start, start + _BATCH)
                odds = self.network(as_tensor(now[part]), as_tensor(before[part]))
                found.append(torch.sigmoid(odds.double()).numpy())
        return np.concatenate(found)

    def confidences(self, now: Picture, before: Picture) -> Floats:
        """Recalibrated confidences, of (n, 2 size, size, 3) pictures: (n, propositions)."""
        found = self.raw(now, before)
        if self.recalibration is not None:
            for i, name in enumerate(self.propositions):
                if name in self.recalibration.maps:
                    found[:, i] = self.recalibration.maps[name](found[:, i])
        return found

    def detect(self, frames: Frames, calibrated: bool = True) -> Detections:
        """What it says about labelled pictures.

        Raises:
            InputError: The pictures have another size, or lack propositions of the detector.
        """
        self.check(frames.propositions, frames.domain)
        if frames.size != self.size:
            raise InputError(
                f"pictures of {frames.size} pixels for a detector of {self.size}",
                remedy="collect them in its size",
            )
        columns = [frames.propositions.index(name) for name in self.propositions]
        read = self.confidences if calibrated else self.raw
        parts = [
            read(frames.pictures[frames.now[i : i + _BATCH]], frames.pictures[b])
            for i in range(0, len(frames), _BATCH)
            for b in [frames.before[i : i + _BATCH]]
        ]
        return detections_of(
            frames.domain,
            self.propositions,
            np.concatenate(parts),
            frames.labels[:, columns],
            frames.episode,
            frames.seconds,
        )

    def check(self, propositions: Sequence[str], place: str) -> None:
        """Whether it can be used where these can be observed.

        Raises:
            InputError: It cannot.
        """
        if set(propositions) != set(self.propositions):
            odd = min(set(propositions) ^ set(self.propositions))
            raise InputError(
                f"{place} and the detector differ in what can be observed: {odd}",
                remedy="train one on pictures of that scenario",
            )


def as_tensor(pictures: Picture) -> Tensor:
    """(n, height, width, 3) bytes to (n, 3, height, width) values from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def save_detector(detector: Detector, folder: Path) -> None:
    """Write weights (safetensors) and card (JSON) into a folder.

    Raises:
        InputError: It cannot be written.
    """
    card = dict(detector.card) | {
        "propositions": list(detector.propositions),
        "size": detector.size,
        "channels": list(detector.channels),
        "hidden": detector.hidden,
        "parameters": detector.parameters,
        "recalibration": detector.recalibration and detector.recalibration.to_json(),
    }
    weights = {k: v.contiguous() for k, v in detector.network.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / WEIGHTS)
        (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", file=folder, remedy="choose another place"
        ) from None


def load_detector(folder: Path) -> Detector:
    """Read what `save_detector` wrote.

    Raises:
        InputError: There is none, or it is damaged.
    """
    remedy = "make one with: specdrive perception detector train"
    card = load_json(folder / CARD)
    try:
        names, size = tuple(map(str, card["propositions"])), int(card["size"])
        channels, hidden = tuple(map(int, card["channels"])), int(card["hidden"])
        recalibration = card["recalibration"] and recalibration_from_json(card["recalibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"not a detector's card: {error}", file=folder / CARD, remedy=remedy
        ) from None
    network = Network(len(names), size, channels, hidden)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        problem = str(error).split("\n", maxsplit=1)[0]
        raise InputError(problem, file=folder / WEIGHTS, remedy=remedy) from None
    network.eval()
    return Detector(network, names, size, channels, hidden, recalibration or None, card)
