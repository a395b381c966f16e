"""Fairness assumptions for learned worlds: proposed from recordings, or copied and tested on them.

Recordings are finite, so they never prove that something comes again and again. What they can
show is that it came in every long episode, and how long the longest wait for it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.bindings import spot
from verifier.formulas import atomic_propositions, parse_ltl
from verifier.vocabulary import Vocabulary
from worlds.learned.boolean import holds_in
from worlds.learned.recordings import Label, Recording
from worlds.simulation.layout import ARROW, CARS, FLASHING, LIGHT, PEDESTRIANS
from worlds.statistics import at_most

LONG = 60
"""Steps from which an episode is long enough to be asked whether something came in it."""


@dataclass(frozen=True)
class Support:
    """What recordings say about an assumption ``GF condition``.

    Attributes:
        formula: The assumption.
        long_episodes: Episodes of at least `LONG` steps.
        seen_in: Those of them in which the condition held at some label.
        longest_wait: The most steps in a row without it, in any of them (the whole episode where
            it never held); None if the assumption is not of this form.
    """

    formula: str
    long_episodes: int
    seen_in: int
    longest_wait: int | None

    @property
    def supported(self) -> bool:
        """Whether the condition held in every long episode, and there was one."""
        return 0 < self.long_episodes == self.seen_in

    @property
    def missing_at_most(self) -> float:
        """Upper bound (95 %) on the probability that a long episode goes by without it."""
        missed = self.long_episodes - self.seen_in
        return at_most(missed, self.long_episodes)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "formula": self.formula,
            "long_episodes": self.long_episodes,
            "seen_in": self.seen_in,
            "longest_wait": self.longest_wait,
            "missing_at_most": round(self.missing_at_most, 6),
            "supported": self.supported,
        }


def clear_conditions(propositions: Sequence[str]) -> tuple[str, ...]:
    """What lets a careful driver go: nobody in the way, and a light if there are lights.

    One condition per kind of light, or one in all: ``green_traffic_light & !car_from_left``.
    """
    nobody = [f"!{name}" for name in propositions if name in (*CARS, *PEDESTRIANS)]
    lights = [name for name in propositions if name in (LIGHT, ARROW, FLASHING)]
    return tuple(" & ".join([*([light] if light else []), *nobody]) for light in lights or [""])


def proposals(recordings: Sequence[Recording], propositions: Sequence[str]) -> tuple[Support, ...]:
    """``GF clear`` for every clear condition, with what the recordings say about it."""
    conditions = [c for c in clear_conditions(propositions) if c]
    return tuple(support(f"GF({condition})", recordings, propositions) for condition in conditions)


def support(formula: str, recordings: Iterable[Recording], known: Iterable[str]) -> Support:
    """What the recordings say about an assumption.

    Raises:
        InputError: It is no LTL formula over the ``known`` propositions.
    """
    long = [r.labels for r in recordings if r.steps >= LONG]
    parsed = parse_ltl(formula, known, place="assumptions")
    if not (parsed._is(spot.op_G) and parsed[0]._is(spot.op_F) and parsed[0][0].is_boolean()):
        return Support(formula, len(long), 0, None)
    condition = str(parsed[0][0])
    waits = [_waits(condition, labels) for labels in long]
    seen = sum(1 for row in waits if len(row) > 1)
    return Support(formula, len(long), seen, max((max(row) for row in waits), default=0))


def applicable(
    formulas: Iterable[str], propositions: Sequence[str], vocabulary: Vocabulary
) -> list[str]:
    """The formulas that speak only of these propositions."""
    known = set(propositions)
    parsed = ((text, parse_ltl(text, vocabulary.proposition_names)) for text in formulas)
    return [text for text, formula in parsed if known.issuperset(atomic_propositions(formula))]


def _waits(condition: str, labels: Sequence[Label]) -> list[int]:
    """Lengths of the stretches between labels with the condition; one stretch if there is none."""
    waits = [0]
    for label in labels:
        if holds_in(condition, label):
            waits.append(0)
        else:
            waits[-1] += 1
    return waits
