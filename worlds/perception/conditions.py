"""Light and weather: what a camera makes of a scene, as functions of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError


@dataclass(frozen=True)
class Condition:
    """Gain, haze and grain, in this order, on values from 0 to 255.

    Attributes:
        name: As it is asked for.
        gain: Factor on the light.
        haze: Share of light grey (200) that is mixed in.
        grain: Standard deviation of the noise of each pixel and colour.
    """

    name: str
    gain: float = 1.0
    haze: float = 0.0
    grain: float = 0.0

    def __call__(
        self, picture: NDArray[np.uint8], chance: np.random.Generator
    ) -> NDArray[np.uint8]:
        """The picture in this condition; of the same shape."""
        if self.name == "day":
            return picture
        light = self.gain * picture.astype(np.float32)
        light = (1 - self.haze) * light + self.haze * 200
        if self.grain:
            light += self.grain * chance.standard_normal(picture.shape, dtype=np.float32)
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)


CONDITIONS: Mapping[str, Condition] = {
    c.name: c
    for c in (
        Condition("day"),
        Condition("dusk", gain=0.6, grain=4),
        Condition("night", gain=0.3, grain=8),
        Condition("fog", haze=0.6, grain=4),
        Condition("grain", grain=25),
    )
}
"""By name."""


def condition(name: str) -> Condition:
    """A condition by name.

    Raises:
        InputError: Unknown.
    """
    if name not in CONDITIONS:
        raise InputError(f"no condition {name!r}", remedy=f"use one of {', '.join(CONDITIONS)}")
    return CONDITIONS[name]
