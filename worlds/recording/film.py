"""Filming: an episode with the pictures that the simulator gave on the way."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from verifier.controller import Controller
from verifier.rules import RuleBook
from verifier.vocabulary import Vocabulary
from worlds.recording.violations import Violation, violations_of
from worlds.simulation.driver import Course, drive
from worlds.simulation.episode import Decision, Episode
from worlds.simulation.interface import Simulator

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOMENT_HOOK = "on_moment"
"""Name of an attribute that a simulator may have: a function without arguments, or None, which it
calls whenever a picture of the scene would differ, several times in a period. With it films are
smooth; without it they have one picture per period."""


MOMENT = 0.2
"""Seconds between two pictures at least, other than those of decisions."""


@dataclass(frozen=True)
class Shot:
    """A picture of the scene.

    Attributes:
        seconds: Simulated time.
        decision: Index of the decision that is being carried out; at its beginning, the picture
            shows what it was made about.
        speed: Of the car, metres per second.
    """

    seconds: float
    decision: int
    speed: float
    _shape: tuple[int, ...]
    _pixels: bytes

    @property
    def picture(self) -> NDArray[np.uint8]:
        """(height, width, 3), RGB."""
        return np.frombuffer(zlib.decompress(self._pixels), np.uint8).reshape(self._shape)


@dataclass(frozen=True)
class Film:
    """An episode, its pictures and what it breaks.

    Attributes:
        episode: What happened.
        shots: In order; the first one of a decision shows what it was made about. Decisions made
            behind the place have one only if they break a rule.
        violations: The rules it breaks, earliest first.
        propositions: What could be observed, in the vocabulary's order.
        steps: The numbered steps of the controller; may be empty.
        title: What is filmed, for the reader: the controller's name or the task.
    """

    episode: Episode
    shots: tuple[Shot, ...]
    violations: tuple[Violation, ...]
    propositions: tuple[str, ...]
    steps: tuple[str, ...]
    title: str

    def look(self, decision: int) -> Shot:
        """The picture that a decision was made about."""
        return next(shot for shot in self.shots if shot.decision == decision)

    def broken_at(self, decision: int) -> tuple[Violation, ...]:
        """Rules that a decision breaks."""
        return tuple(v for v in self.violations if v.decision == decision)


@dataclass(frozen=True)
class Ride:
    """What is driven, where, and by which rules it is judged.

    Attributes:
        simulator: Stays open.
        controller: Makes the decisions.
        action: The manoeuvre asked for; None if any will do.
        course: How it is driven.
        rules: The rule book.
        vocabulary: The domain.
        title: For the reader.
        zoom: Only the middle of the pictures is shown, so many times larger; at least 1.
    """

    simulator: Simulator
    controller: Controller
    action: str | None
    course: Course
    rules: RuleBook
    vocabulary: Vocabulary
    title: str = ""
    zoom: float = 1.0

    def drive(self, seed: int) -> tuple[Episode, tuple[Violation, ...]]:
        """One episode and what it breaks, without pictures.

        Raises:
            InputError: As `drive`.
        """
        episode = drive(self.simulator, self.controller, self.action, seed, self.course)
        return episode, self._judge(episode)

    def film(self, seed: int) -> Film:
        """The same episode with pictures: filming changes nothing.

        Raises:
            InputError: As `drive`.
        """
        camera = _Camera(self.simulator, self.course, self.zoom)
        hooked = hasattr(self.simulator, MOMENT_HOOK)
        if hooked:
            setattr(self.simulator, MOMENT_HOOK, camera.moment)
        try:
            episode = drive(self.simulator, self.controller, self.action, seed, camera.course)
        finally:
            if hooked:
                setattr(self.simulator, MOMENT_HOOK, None)
        violations = self._judge(episode)
        return Film(
            episode=episode,
            shots=camera.shots_of(episode, violations),
            violations=violations,
            propositions=self.simulator.propositions,
            steps=self.controller.steps,
            title=self.title,
        )

    def _judge(self, episode: Episode) -> tuple[Violation, ...]:
        seen = self.simulator.propositions
        return violations_of(episode.trace, self.rules, self.vocabulary, seen)


class _Camera:
    """Takes a picture at every decision, and while it is carried out."""

    def __init__(self, simulator: Simulator, course: Course, zoom: float) -> None:
        self._shots: list[Shot] = []
        self._simulator, self._decisions = simulator, 0
        self._zoom = zoom
        self._perceive, self._watch = course.perceive, course.watch
        self.course = replace(course, perceive=self._look, watch=self._after)

    def shots_of(self, episode: Episode, violations: Sequence[Violation]) -> tuple[Shot, ...]:
        """What was taken. Pictures behind the place belong to the last decision before it, but for
        those of decisions that break a rule there.
        """
        last = len(episode.decisions) - episode.closing - 1
        breaking = {v.decision for v in violations}
        kept: list[Shot] = []
        for shot in self._shots:
            if shot.decision <= last or shot.decision in breaking:
                kept.append(shot)
            elif (kept[-1].seconds, kept[-1].decision) != (shot.seconds, last):
                kept.append(replace(shot, decision=last))
        return tuple(kept)

    def _look(self, simulator: Simulator) -> frozenset[str]:
        """Called when a decision is due: what it will be made about."""
        self._decisions += 1
        self._take()
        return simulator.observe() if self._perceive is None else self._perceive(simulator)

    def moment(self) -> None:
        """Called by the simulator itself, between two looks."""
        if not self._decisions:  # it is being reset
            return
        if self._simulator.status().seconds - self._shots[-1].seconds > MOMENT - 1e-6:
            self._take()

    def _after(self, simulator: Simulator, decision: Decision) -> None:
        self._take()
        if self._watch is not None:
            self._watch(simulator, decision)

    def _take(self) -> None:
        status = self._simulator.status()
        picture = middle_of(self._simulator.render(), self._zoom)
        pixels = zlib.compress(picture.tobytes(), 1)
        shot = Shot(status.seconds, self._decisions - 1, status.speed, picture.shape, pixels)
        # Of two pictures of one moment the later one belongs to the decision made then.
        if self._shots and self._shots[-1].seconds == shot.seconds and not self._only_look(shot):
            self._shots.pop()
        self._shots.append(shot)

    def _only_look(self, shot: Shot) -> bool:
        """Whether the last shot is all that is left of another decision."""
        last = self._shots[-1].decision
        return last != shot.decision and (len(self._shots) < 2 or self._shots[-2].decision != last)


def middle_of(picture: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    """The middle of a picture, 1 / ``zoom`` as high and wide."""
    height, width = picture.shape[:2]
    top, left = round(height * (1 - 1 / zoom) / 2), round(width * (1 - 1 / zoom) / 2)
    return np.ascontiguousarray(picture[top : height - top, left : width - left])


Severity = tuple[bool, int, int]
"""Smaller is worse."""


def severity(episode: Episode, violations: Sequence[Violation]) -> Severity:
    """How bad an episode is: a collision first, then the most broken rules, then the earliest."""
    never = len(episode.decisions)
    first = min((never if v.decision is None else v.decision for v in violations), default=never)
    return episode.outcome != "collision", -len(violations), first


def worst_episode(
    ride: Ride, seeds: Sequence[int], done: Callable[[int], object] | None = None
) -> tuple[Episode, tuple[Violation, ...]]:
    """The worst of some episodes (see `severity`), the first of equally bad ones; no pictures yet.

    Args:
        ride: What is driven.
        seeds: Of the episodes; at least one.
        done: Is told 1 after each episode.

    Raises:
        InputError: As `drive`.
    """
    found: list[tuple[Episode, tuple[Violation, ...]]] = []
    for seed in seeds:
        found.append(ride.drive(seed))
        if done is not None:
            done(1)
    return min(found, key=lambda pair: severity(*pair))
