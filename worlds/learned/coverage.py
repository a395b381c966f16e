"""How much of a simulator the recordings have shown, and a bound on what they have not.

Two ways, since neither is enough. Step by step: the Good-Turing estimate of the probability that
the next step is a transition never seen, with the bound of McAllester and Schapire. It takes steps
for independent draws, which the steps of one episode are not. Episode by episode: episodes have
seeds of their own and are independent, so what held-out episodes show about a world learned from
the others bounds, exactly, how often a new episode has a transition that the world lacks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worlds.learned.bounds import (
    CONFIDENCE,
    good_turing,
    hoeffding_upper,
    missing_mass_bound,
)
from worlds.learned.recordings import Recording
from worlds.learned.tally import State, Tally, steps_of, tally
from worlds.statistics import at_most

HELD_OUT = 0.3
"""Share of the episodes that the held-out test keeps back (the last ones)."""

_POINTS = 12


@dataclass(frozen=True)
class StateCoverage:
    """What was seen of the ways on from one state.

    Attributes:
        state: The labels it remembers.
        draws: Steps recorded from it.
        ways: Distinct ones.
        seen_once: Of these, seen once.
        estimate: Good-Turing estimate of the probability of a way not seen; None without steps.
        bound: Upper bound on it. Exact for a world whose next label depends on the state alone.
    """

    state: State
    draws: int
    ways: int
    seen_once: int
    estimate: float | None
    bound: float


@dataclass(frozen=True)
class HeldOut:
    """A world learned from some episodes, met by others.

    Attributes:
        learned_from: Episodes the world was learned from.
        tested_on: Others.
        with_unseen: Of these, how many had a transition that the world lacks.
        bound: Upper bound on the probability that a new episode has one (Clopper-Pearson). It
            holds for the world of all episodes too, which lacks less.
        unseen_steps: Mean share of such steps in a held-out episode; None without any.
        unseen_steps_bound: Upper bound on the mean share in a new episode (Hoeffding).
    """

    learned_from: int
    tested_on: int
    with_unseen: int
    bound: float
    unseen_steps: float | None
    unseen_steps_bound: float


@dataclass(frozen=True)
class CurvePoint:
    """What so many episodes show on average, whichever they are.

    Attributes:
        episodes: Number of episodes.
        steps: Recorded steps in them.
        states: Expected number of distinct states.
        transitions: Expected number of distinct transitions.
        new_per_step: Expected number of new transitions per further step, here.
    """

    episodes: int
    steps: float
    states: float
    transitions: float
    new_per_step: float


@dataclass(frozen=True)
class Coverage:
    """What recordings cover.

    Attributes:
        tally: The counts.
        estimate: Good-Turing estimate of the probability that a step is unseen.
        bound: McAllester and Schapire's bound on it, as if steps were independent.
        in_one_episode: Transitions seen in one episode only.
        estimate_by_episode: Share of episodes with a transition that no other episode had: the
            estimated probability that a new episode has an unseen one.
        transitions_at_least: Estimated lower bound on the number of transitions there are in all
            (Chao 1987, bias-corrected, from transitions seen in one and in two episodes).
        held_out: The held-out test.
        states: One row per state, most uncertain first.
        curve: The learning curve.
    """

    tally: Tally
    estimate: float | None
    bound: float
    in_one_episode: int
    estimate_by_episode: float | None
    transitions_at_least: float
    held_out: HeldOut
    states: tuple[StateCoverage, ...]
    curve: tuple[CurvePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; a state is the list of the labels it remembers."""
        return {
            "history": self.tally.history,
            "episodes": self.tally.episodes,
            "steps": self.tally.recorded_steps,
            "states": len(self.tally.visits),
            "transitions": len(self.tally.steps),
            "seen_once": self.tally.seen_once,
            "seen_in_one_episode": self.in_one_episode,
            "confidence": CONFIDENCE,
            "unseen_step": {"estimate": self.estimate, "bound_if_independent": self.bound},
            "unseen_in_episode": {
                "estimate": self.estimate_by_episode,
                "held_out": vars(self.held_out),
            },
            "transitions_at_least": self.transitions_at_least,
            "per_state": [
                {**vars(row), "state": [sorted(label) for label in row.state]}
                for row in self.states
            ],
            "curve": [vars(point) for point in self.curve],
        }


def coverage(
    recordings: Sequence[Recording], history: int = 1, confidence: float = CONFIDENCE
) -> Coverage:
    """What the recordings cover, as seen by a world whose states remember ``history`` labels."""
    counted = tally(recordings, history)
    spread = Counter(counted.step_episodes.values())
    rare = {step for step, count in counted.step_episodes.items() if count == 1}
    alone = sum(1 for r in recordings if not rare.isdisjoint(steps_of(r, history)))
    once, draws, episodes = counted.seen_once, counted.recorded_steps, counted.episodes
    shrink = (episodes - 1) / episodes if episodes else 0.0
    unseen = shrink * spread[1] * (spread[1] - 1) / (2 * (spread[2] + 1))
    return Coverage(
        tally=counted,
        estimate=good_turing(once, draws),
        bound=missing_mass_bound(once, draws, confidence),
        in_one_episode=len(rare),
        estimate_by_episode=alone / episodes if episodes > 1 else None,
        transitions_at_least=len(counted.steps) + unseen,
        held_out=held_out(recordings, history, confidence),
        states=_per_state(counted, confidence),
        curve=learning_curve(counted),
    )


def held_out(
    recordings: Sequence[Recording],
    history: int = 1,
    confidence: float = CONFIDENCE,
    share: float = HELD_OUT,
) -> HeldOut:
    """Learn from the first episodes and meet the last ``share`` of them."""
    kept = len(recordings) - round(share * len(recordings))
    known = set(tally(recordings[:kept], history).steps)
    shares = []
    for recording in recordings[kept:]:
        steps = steps_of(recording, history)
        shares.append(sum(1 for step in steps if step not in known) / max(1, len(steps)))
    unseen = sum(1 for value in shares if value)
    mean = math.fsum(shares) / len(shares) if shares else None
    return HeldOut(
        learned_from=kept,
        tested_on=len(shares),
        with_unseen=unseen,
        bound=at_most(unseen, len(shares), confidence),
        unseen_steps=mean,
        unseen_steps_bound=hoeffding_upper(mean or 0.0, len(shares), confidence),
    )


def learning_curve(counted: Tally) -> tuple[CurvePoint, ...]:
    """Expected numbers of distinct states and transitions in e of the episodes, for growing e.

    Rarefaction by episodes (Colwell, Mao and Chang 2004): the mean over all choices of e episodes,
    so that the curve does not depend on the order in which they were recorded.
    """
    total = counted.episodes
    points = sorted({max(1, round(total ** (i / (_POINTS - 1)))) for i in range(_POINTS)})
    states = Counter(counted.state_episodes.values())
    steps = Counter(counted.step_episodes.values())
    per_episode = counted.recorded_steps / total if total else 0.0

    def point(e: int) -> CurvePoint:
        transitions = _expected(steps, total, e)
        # Beyond the last episode: Good-Turing by episodes.
        after = _expected(steps, total, e + 1) - transitions if e < total else steps[1] / total
        return CurvePoint(
            episodes=e,
            steps=e * per_episode,
            states=_expected(states, total, e),
            transitions=transitions,
            new_per_step=after / per_episode if per_episode else 0.0,
        )

    return tuple(map(point, points))


def _expected(spread: Counter[int], total: int, chosen: int) -> float:
    """Expected number of things met in ``chosen`` of ``total`` episodes.

    ``spread[m]`` things are in m episodes each.
    """
    return math.fsum(
        count * (1 - math.comb(total - m, chosen) / math.comb(total, chosen))
        for m, count in spread.items()
    )


def _per_state(counted: Tally, confidence: float) -> tuple[StateCoverage, ...]:
    draws: Counter[State] = Counter()
    ways: Counter[State] = Counter()
    once: Counter[State] = Counter()
    for (source, _), count in counted.steps.items():
        draws[source] += count
        ways[source] += 1
        once[source] += count == 1
    rows = [
        StateCoverage(
            state=state,
            draws=draws[state],
            ways=ways[state],
            seen_once=once[state],
            estimate=good_turing(once[state], draws[state]),
            bound=missing_mass_bound(once[state], draws[state], confidence),
        )
        for state in counted.visits
    ]
    # What matters is a way not seen from a state that is often visited.
    return tuple(sorted(rows, key=lambda row: (-row.seen_once, row.draws)))
