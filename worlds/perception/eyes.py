"""Eyes: a detector between a simulator and a controller, and what it does when it is unsure.

The controller is told which confidences reach a threshold; its trace is judged on the truth. Eyes
with a band around the threshold stop and look again while what lies in the band could change what
the controller does ("unsure -> stop").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

from verifier.errors import InputError
from verifier.truth_tables import atomic_propositions_of
from worlds.simulation.driver import Course, Machine
from worlds.simulation.episode import Decision
from worlds.simulation.interface import Simulator

Confidences = Mapping[str, float]
"""How sure a detector is that each proposition holds, from 0 to 1."""

MOST_UNSURE = 10
"""Propositions that may be unsure at once: 2 ** 10 cases are looked at. Beyond it, it stops."""


class Eyes(Protocol):
    """A detector. It lives for many episodes and is told where each begins."""

    @property
    def threshold(self) -> float:
        """Confidence from which on a proposition is taken to hold."""
        ...

    def open(self, seed: int) -> None:
        """An episode begins. Equal seeds and equal scenes give equal confidences."""
        ...

    def look(self, simulator: Simulator) -> Confidences:
        """The confidence of every proposition of the simulator, now."""
        ...

    def watch(self, simulator: Simulator) -> None:
        """Called after every step of the simulator, also between decisions."""
        ...


@dataclass
class Gaze:
    """One episode seen through eyes: what was said, and how often it was unsure.

    Attributes:
        eyes: The detector.
        band: Half the width of the band around the threshold in which it is unsure; 0 for never.
        confidences: At every decision so far.
        hesitations: Decisions at which it stopped to look again.
    """

    eyes: Eyes
    band: float = 0.0
    confidences: list[Confidences] = field(default_factory=list)
    hesitations: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.band < 0.5:
            raise InputError(
                f"a band of {self.band:g} around the threshold", remedy="give 0 to below 0.5"
            )

    def perceive(self, simulator: Simulator) -> frozenset[str]:
        """See `worlds.simulation.driver.Perceive`.

        Behind the place nothing is ahead to be misperceived: what is settled there is settled
        by the truth.
        """
        if simulator.done:
            label = simulator.observe()
            self.confidences.append({p: float(p in label) for p in simulator.propositions})
        else:
            self.confidences.append(self.eyes.look(simulator))
        return self._surely(self.confidences[-1])

    def hesitate(self, machine: Machine) -> bool:
        """See `worlds.simulation.driver.Hesitate`."""
        latest = self.confidences[-1]
        relevant = guard_propositions(machine)
        low, high = self.eyes.threshold - self.band, self.eyes.threshold + self.band
        unsure = [p for p, c in latest.items() if p in relevant and low < c < high]
        if not unsure or not could_differ(machine, self._surely(latest), unsure):
            return False
        self.hesitations += 1
        return True

    def watch(self, simulator: Simulator, decision: Decision) -> None:
        """See `worlds.simulation.driver.Watch`."""
        del decision
        self.eyes.watch(simulator)

    def _surely(self, confidences: Confidences) -> frozenset[str]:
        return frozenset(p for p, c in confidences.items() if c >= self.eyes.threshold)


def seen_through(course: Course, eyes: Eyes, seed: int, band: float = 0.0) -> tuple[Course, Gaze]:
    """The course of one episode that is seen through eyes, and the record of what was seen."""
    eyes.open(seed)
    gaze = Gaze(eyes, band)
    watch = course.watch

    def watch_both(simulator: Simulator, decision: Decision) -> None:
        gaze.watch(simulator, decision)
        if watch is not None:
            watch(simulator, decision)

    hesitate = gaze.hesitate if band > 0 else None
    return Course(course.semantics, course.max_seconds, gaze.perceive, watch_both, hesitate), gaze


def choices(machine: Machine, label: frozenset[str]) -> tuple[tuple[str, int], ...]:
    """What the machine might do under a label: actions and next states, in order.

    Equal choices under two labels mean equal behaviour, up to which line of the text is named.
    """
    return tuple((t.action, t.target) for t in machine.enabled(label))


def guard_propositions(machine: Machine) -> frozenset[str]:
    """Propositions that occur in the guards of the machine's present state."""
    guards = (t.guard for t in machine.outgoing)
    return frozenset(name for guard in guards for name in atomic_propositions_of(guard))


def could_differ(machine: Machine, label: frozenset[str], unsure: Iterable[str]) -> bool:
    """Whether some other reading of the unsure propositions changes the machine's choices."""
    names = sorted(unsure)
    if len(names) > MOST_UNSURE:
        return True
    now = choices(machine, label)
    return any(
        choices(machine, label.symmetric_difference(flipped)) != now
        for size in range(1, len(names) + 1)
        for flipped in combinations(names, size)
    )
