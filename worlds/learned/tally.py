"""Counting what recordings show: states, steps, and in how many episodes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worlds.learned.recordings import Label, Recording

State = tuple[Label, ...]
"""The last labels, latest at the end; fewer of them at the beginning of an episode."""

Step = tuple[State, State]
"""Two states that follow each other."""


@dataclass(frozen=True)
class Tally:
    """How often what was seen.

    Attributes:
        history: Labels per state.
        episodes: Number of episodes.
        visits: Times that a state was seen.
        steps: Times that a step was seen.
        state_episodes: Episodes in which a state was seen.
        step_episodes: Episodes in which a step was seen.
        first: Episodes that began in a state.
    """

    history: int
    episodes: int
    visits: Counter[State]
    steps: Counter[Step]
    state_episodes: Counter[State]
    step_episodes: Counter[Step]
    first: Counter[State]

    @property
    def recorded_steps(self) -> int:
        """Steps recorded, repetitions included."""
        return self.steps.total()

    @property
    def seen_once(self) -> int:
        """Steps that were seen exactly once."""
        return sum(1 for count in self.steps.values() if count == 1)


def states_of(recording: Recording, history: int) -> list[State]:
    """The state after each label."""
    labels = recording.labels
    return [labels[max(0, i + 1 - history) : i + 1] for i in range(len(labels))]


def steps_of(recording: Recording, history: int) -> list[Step]:
    """The steps, in order."""
    states = states_of(recording, history)
    return list(itertools.pairwise(states))


def tally(recordings: Iterable[Recording], history: int = 1) -> Tally:
    """Count states and steps.

    Raises:
        ValueError: ``history`` is not positive.
    """
    if history < 1:
        raise ValueError("a state remembers at least one label")
    episodes = 0
    visits: Counter[State] = Counter()
    steps: Counter[Step] = Counter()
    state_episodes: Counter[State] = Counter()
    step_episodes: Counter[Step] = Counter()
    first: Counter[State] = Counter()
    for recording in recordings:
        episodes += 1
        states = states_of(recording, history)
        taken: Sequence[Step] = list(itertools.pairwise(states))
        visits.update(states)
        steps.update(taken)
        state_episodes.update(set(states))
        step_episodes.update(set(taken))
        first[states[0]] += 1
    return Tally(history, episodes, visits, steps, state_episodes, step_episodes, first)
