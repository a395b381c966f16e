"""Pictures with labels, for training and testing a detector.

A sample is the picture at a decision and the one a period before: a single picture does not show
what moves. At the first look of an episode there is no earlier picture; it stands in for itself.

A detector's picture is two views, one above the other: the whole scene, in which cars come from
afar, and its middle third, in which pedestrians are more than a speck. It is (2 size, size, 3).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from verifier.errors import InputError
from worlds.perception.conditions import Condition
from worlds.perception.detections import Booleans, Floats, Integers
from worlds.simulation.interface import STOP, Simulator

Picture = NDArray[np.uint8]

SIZE = 96
"""Height and width of each view in pixels, unless another size is asked for."""

NEAR = 3
"""The near view shows the middle 1/3 of the scene."""

GO_RATE = 0.1
"""Probability that the car makes a manoeuvre at a decision while pictures are collected."""

_LONGEST = 60


@dataclass(frozen=True)
class Frames:
    """Labelled pictures of one or more simulators; n samples among m pictures.

    Attributes:
        domain: Where they come from.
        propositions: Names of the columns of ``labels``.
        pictures: (m, 2 size, size, 3), RGB.
        now: (n,) index of the picture of a sample.
        before: (n,) index of the one a period before; ``now`` itself at the first look.
        labels: (n, propositions).
        episode: (n,).
        seconds: (n,).
    """

    domain: str
    propositions: tuple[str, ...]
    pictures: Picture
    now: Integers
    before: Integers
    labels: Booleans
    episode: Integers
    seconds: Floats

    def __len__(self) -> int:
        return len(self.now)

    @property
    def size(self) -> int:
        """Height and width of each view."""
        return self.pictures.shape[2]

    def samples(self, chosen: Booleans) -> Frames:
        """Those samples; all pictures stay."""
        return Frames(
            self.domain,
            self.propositions,
            self.pictures,
            self.now[chosen],
            self.before[chosen],
            self.labels[chosen],
            self.episode[chosen],
            self.seconds[chosen],
        )

    def under(self, condition: Condition, seed: int) -> Frames:
        """The same scenes in other weather or light."""
        if condition.name == "day":
            return self
        chance = np.random.default_rng([seed, 7])
        pictures = np.stack([condition(picture, chance) for picture in self.pictures])
        return Frames(
            f"{self.domain}, {condition.name}",
            self.propositions,
            pictures,
            self.now,
            self.before,
            self.labels,
            self.episode,
            self.seconds,
        )


def shrink(picture: Picture, size: int) -> Picture:
    """Both views of a picture, cut to its middle square: (2 size, size, 3).

    Raises:
        InputError: It is smaller than that, or not (height, width, 3) of bytes.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise InputError(
            f"a picture of shape {picture.shape} and type {picture.dtype}",
            remedy="render() gives (height, width, 3) of uint8",
        )
    height, width = picture.shape[:2]
    side = min(height, width)
    if side < size:
        raise InputError(
            f"a picture of {width}×{height} pixels, smaller than {size}",
            remedy="use a smaller size",
        )
    return np.concatenate([_view(picture, side, size), _view(picture, side // NEAR, size)])


def _view(picture: Picture, side: int, size: int) -> Picture:
    """The middle square of a side, averaged to (size, size, 3)."""
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.BOX))


def collect(
    simulator: Simulator,
    seeds: Sequence[int],
    samples: int,
    size: int = SIZE,
    done: Callable[[int], None] | None = None,
) -> Frames:
    """Drive at random and keep what is seen at decisions.

    Args:
        simulator: Stays open.
        seeds: Of episodes, at most so many; an episode ends after 60 decisions.
        samples: Stop at this number.
        size: Of each view.
        done: Called with the number of new samples.

    Raises:
        InputError: There are fewer samples in all these episodes.
    """
    pictures: list[Picture] = []
    rows: list[tuple[int, int, frozenset[str], int, float]] = []
    for seed in seeds:
        if len(rows) >= samples:
            break
        before = len(rows)
        _collect_one(simulator, seed, size, samples, pictures, rows)
        if done is not None:
            done(len(rows) - before)
    if len(rows) < samples:
        raise InputError(
            f"{len(rows)} pictures in {len(seeds)} episodes of {simulator.name}",
            remedy="allow more episodes or ask for fewer pictures",
        )
    now, before_, labels, episode, seconds = zip(*rows, strict=True)
    names = simulator.propositions
    return Frames(
        simulator.name,
        names,
        np.stack(pictures),
        np.array(now, dtype=np.int64),
        np.array(before_, dtype=np.int64),
        np.array([[name in label for name in names] for label in labels]),
        np.array(episode, dtype=np.int64),
        np.array(seconds, dtype=np.float64),
    )


def _collect_one(
    simulator: Simulator,
    seed: int,
    size: int,
    samples: int,
    pictures: list[Picture],
    rows: list[tuple[int, int, frozenset[str], int, float]],
) -> None:
    chance = random.Random(f"pictures {seed}")
    simulator.reset(seed)
    pictures.append(shrink(simulator.render(), size))
    previous = len(pictures) - 1
    for _ in range(_LONGEST):
        if simulator.done or len(rows) >= samples:
            return
        now = len(pictures) - 1
        rows.append((now, previous, simulator.observe(), seed, simulator.status().seconds))
        going = simulator.actions and chance.random() < GO_RATE
        simulator.apply(chance.choice(simulator.actions) if going else STOP)
        while True:
            simulator.step()
            if simulator.done:
                return
            pictures.append(shrink(simulator.render(), size))
            previous = len(pictures) - 2
            if simulator.ready:
                break


def joined(parts: Iterable[Frames]) -> Frames:
    """Pictures of several simulators in which the same can be observed.

    Raises:
        InputError: They differ in what can be observed, or in size.
    """
    rows = list(parts)
    first = rows[0]
    offset, shift = 0, 0
    now, before, episode = [], [], []
    for part in rows:
        if part.propositions != first.propositions or part.size != first.size:
            raise InputError(
                f"{part.domain} and {first.domain} differ in what can be observed or in size",
                remedy="name worlds of one scenario",
            )
        now.append(part.now + offset)
        before.append(part.before + offset)
        _, number = np.unique(part.episode, return_inverse=True)
        episode.append(number + shift)
        offset, shift = offset + len(part.pictures), shift + int(number.max()) + 1
    return Frames(
        " + ".join(part.domain for part in rows),
        first.propositions,
        np.concatenate([part.pictures for part in rows]),
        np.concatenate(now),
        np.concatenate(before),
        np.concatenate([part.labels for part in rows]),
        np.concatenate(episode),
        np.concatenate([part.seconds for part in rows]),
    )
