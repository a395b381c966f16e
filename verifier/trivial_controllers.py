"""Controllers that pay no attention to the task, and how a rule book scores them.

A rule book under which they rank high rewards the wrong thing: a controller that always stops
satisfies 12 of the paper's 15 specifications in a free environment.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.strategies import chosen_actions
from verifier.verdicts import VERDICT_VALUES

HIGH = 0.75
"""Share of the applicable specifications from which a trivial controller ranks high."""

_MAX_RANDOM_STATES = 3
_MAX_RANDOM_PROPOSITIONS = 2


@dataclass(frozen=True)
class TrivialScore:
    """How one trivial controller scores.

    Attributes:
        controller: ``always_stop`` and the like.
        counts: How many verdicts have each value.
        violated: Ids of the specifications it violates.
    """

    controller: str
    counts: dict[str, int]
    violated: tuple[str, ...]

    @property
    def passed(self) -> int:
        """Specifications that hold, vacuously or not: what the publications count."""
        return self.counts["satisfied"] + self.counts["vacuous"]

    @property
    def applicable(self) -> int:
        """Specifications in whose scope the world is."""
        return sum(self.counts.values()) - self.counts["inapplicable"]

    @property
    def high(self) -> bool:
        """Whether it passes suspiciously much."""
        return self.applicable > 0 and self.passed >= HIGH * self.applicable


@dataclass(frozen=True)
class RandomScores:
    """How many specifications ``count`` random controllers pass (best, mean, worst)."""

    count: int
    seed: int
    applicable: int
    best: int
    mean: float
    worst: int


def constant_controllers(actions: Iterable[str]) -> dict[str, Controller]:
    """For each action the controller that does nothing else: ``always_stop``, ..."""
    return {
        f"always_{action}": Controller(0, 1, (Transition(0, "true", action, 0),))
        for action in actions
    }


def random_controller(
    generator: random.Random, propositions: Sequence[str], actions: Sequence[str]
) -> Controller:
    """A complete deterministic controller that looks at few propositions and acts at random."""
    states = range(generator.randint(1, _MAX_RANDOM_STATES))
    transitions: list[Transition] = []
    for state in states:
        most = min(_MAX_RANDOM_PROPOSITIONS, len(propositions))
        seen = generator.sample(list(propositions), generator.randint(0, most))
        for values in product((True, False), repeat=len(seen)):
            literals = [p if value else f"!{p}" for p, value in zip(seen, values, strict=True)]
            guard = " & ".join(literals) or "true"
            action, target = generator.choice(actions), generator.choice(states)
            transitions.append(Transition(state, guard, action, target))
    return Controller(0, len(states), tuple(transitions))


def constant_scores(checker: Checker) -> tuple[TrivialScore, ...]:
    """The scores of all constant controllers, best first."""
    actions = chosen_actions(checker.vocabulary, checker.semantics)
    scores = [_score(checker, name, c) for name, c in constant_controllers(actions).items()]
    return tuple(sorted(scores, key=lambda score: -score.passed))


def random_scores(checker: Checker, count: int, seed: int) -> RandomScores | None:
    """The scores of ``count`` random controllers; None if ``count`` is 0."""
    if count <= 0:
        return None
    generator = random.Random(seed)
    actions = chosen_actions(checker.vocabulary, checker.semantics)
    scores = [
        _score(checker, "random", random_controller(generator, checker.world.propositions, actions))
        for _ in range(count)
    ]
    passed = [score.passed for score in scores]
    return RandomScores(
        count, seed, scores[0].applicable, max(passed), sum(passed) / count, min(passed)
    )


def _score(checker: Checker, name: str, controller: Controller) -> TrivialScore:
    # Only constant controllers' vacuity is reported; both kinds pass.
    values = [value for value, _ in checker.values(controller, vacuity=name != "random")]
    counts = Counter(values)
    return TrivialScore(
        controller=name,
        counts={value: counts[value] for value in VERDICT_VALUES},
        violated=tuple(
            specification.id
            for specification, value in zip(checker.rules.specifications, values, strict=True)
            if value == "violated"
        ),
    )
