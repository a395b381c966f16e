"""Highway worlds as gymnasium environments.

    import gymnasium
    import worlds.highway

    environment = gymnasium.make("specdrive/highway-junction-v0", scenario="two_way_stop")

One step is one decision: it lasts until the next one is due.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.highway.simulator import HighwaySimulator, make
from worlds.simulation.interface import STOP
from worlds.simulation.layout import Shape, layout_of

MAX_SECONDS = 120.0
"""Simulated time after which an episode is truncated."""

ARRIVED, HIT, SECOND = 1.0, -1.0, -0.005
"""Rewards: for leaving the place, for hitting something, for every second."""


class HighwayEnvironment(gymnasium.Env[NDArray[np.int8], np.int64]):
    """A highway world.

    An action is an index into `actions`: ``stop`` and the manoeuvres. An observation has a 1 for
    every proposition that holds, in the order of `propositions`. The reward is `ARRIVED` for
    leaving the place and `HIT` for a collision, and `SECOND` for every second that a decision
    takes.

    Args:
        shape: Which shape the scenario has to have.
        scenario: A shipped name or the path of a world file.
        render_mode: ``rgb_array`` or None.
        max_seconds: Simulated time after which an episode is truncated.

    Raises:
        InputError: Unknown scenario, or one of another shape.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        shape: Shape,
        scenario: str | Path,
        render_mode: str | None = None,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        layout = layout_of(scenario, load_vocabulary())
        if layout.shape != shape:
            raise InputError(
                f"the world {scenario} is a {layout.shape}, not a {shape}",
                remedy=f"make specdrive/highway-{layout.shape}-v0 of it",
            )
        self.simulator: HighwaySimulator = make(layout, f"highway/{scenario}")
        self.render_mode, self._max_seconds = render_mode, max_seconds
        self.actions = (STOP, *self.simulator.actions)
        self.propositions = self.simulator.propositions
        self.action_space = spaces.Discrete(len(self.actions))
        self.observation_space = spaces.MultiBinary(len(self.propositions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int8], dict[str, Any]]:
        """Start anew; equal seeds give equal episodes."""
        super().reset(seed=seed, options=options)
        self.simulator.reset(int(self.np_random.integers(2**31)))
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.int8], float, bool, bool, dict[str, Any]]:
        """Carry out one decision."""
        simulator = self.simulator
        before = simulator.status().seconds
        simulator.apply(self.actions[int(action)])
        simulator.step()
        while not (simulator.ready or simulator.done):
            simulator.step()
        status = simulator.status()
        reward = SECOND * (status.seconds - before)
        if simulator.done:
            reward += HIT if status.collision else ARRIVED
        late = not simulator.done and status.seconds >= self._max_seconds
        return self._observation(), reward, simulator.done, late, self._info()

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The picture, if the mode is ``rgb_array``."""
        return self.simulator.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the simulator."""
        self.simulator.close()

    def _observation(self) -> NDArray[np.int8]:
        label = self.simulator.observe()
        return np.array([name in label for name in self.propositions], dtype=np.int8)

    def _info(self) -> dict[str, Any]:
        return {"label": sorted(self.simulator.observe()), **vars(self.simulator.status())}
