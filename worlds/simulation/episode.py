"""One run of a controller in a simulator: its decisions and what became of the car."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from verifier.finite import Trace
from worlds.simulation.interface import Status

Outcome = Literal["finished", "elsewhere", "collision", "unfinished"]
"""The manoeuvre was made; another one was made; something was hit; time ran out."""


@dataclass(frozen=True)
class Decision:
    """The controller looked and acted.

    Attributes:
        seconds: Simulated time.
        label: What held.
        seen: What the controller was told; differs from ``label`` behind a detector.
        action: What it did; None for the empty action where that is not ``stop``.
        state: The controller's state before.
        step: The 1-based line that the transition came from, if any.
    """

    seconds: float
    label: frozenset[str]
    seen: frozenset[str]
    action: str | None
    state: int
    step: int | None

    @property
    def letter(self) -> frozenset[str]:
        """The letter of the trace: what held and what was done."""
        return self.label if self.action is None else self.label | {self.action}


@dataclass(frozen=True)
class Episode:
    """A finished simulation.

    Attributes:
        simulator: Its name.
        seed: Of the simulation and of the controller's choices.
        decisions: In order; never empty. The last ``closing`` of them were made behind the place,
            by a controller that begins again, and end before it moves again.
        closing: See there.
        outcome: What became of it.
        status: At the end.
    """

    simulator: str
    seed: int
    decisions: tuple[Decision, ...]
    closing: int
    outcome: Outcome
    status: Status

    @property
    def trace(self) -> Trace:
        """The letters, for `verifier.finite.check_trace`."""
        return tuple(decision.letter for decision in self.decisions)

    @property
    def hash(self) -> str:
        """Of the trace and of the times of its letters: equal for equal simulations."""
        rows = [[round(d.seconds, 6), sorted(d.seen), sorted(d.letter)] for d in self.decisions]
        return "sha256:" + hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data (sets are sorted lists)."""
        return {
            "simulator": self.simulator,
            "seed": self.seed,
            "outcome": self.outcome,
            "closing": self.closing,
            "hash": self.hash,
            "status": vars(self.status),
            "decisions": [
                {
                    "seconds": round(d.seconds, 6),
                    "label": sorted(d.label),
                    "seen": sorted(d.seen),
                    "action": d.action,
                    "state": d.state,
                    "step": d.step,
                }
                for d in self.decisions
            ],
        }
