"""Audit of a rule book in a world: what is it worth to satisfy these specifications?

A score is only as good as the rule book behind it. The audit finds members that follow from
others, trivial controllers that score high, members that no controller can satisfy together, and
members that can only hold vacuously. Every answer is exact for the world, the profile and all
controllers, or the part is reported as undecided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from verifier.audit_findings import findings
from verifier.checker import Checker
from verifier.errors import TimeLimitError
from verifier.implications import Implications, find_implications
from verifier.limits import call_with_limit
from verifier.realizability import Game, Manoeuvre, Realizability
from verifier.rules import RuleBook
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.trivial_controllers import (
    RandomScores,
    TrivialScore,
    constant_scores,
    random_scores,
)
from verifier.vocabulary import Vocabulary

T = TypeVar("T")

DEFAULT_TIME_LIMIT = 60.0
"""Seconds per part of the audit."""

DEFAULT_RANDOM_CONTROLLERS = 100


@dataclass(frozen=True)
class OnlyVacuous:
    """``id`` never holds unless ``because``, a strengthening of its formula, holds too."""

    id: str
    because: str


@dataclass(frozen=True)
class Audit:
    """The result of `audit`; a part that is None was not decided in time.

    Attributes:
        world: The world's name.
        rules: The rule book's name.
        semantics: The profile.
        applicable: Ids of the specifications in whose scope the world is; only they are audited.
        inapplicable: Ids of the others.
        trivial: Scores of the controllers that always do the same, best first.
        random: Scores of random controllers.
        implications: Which members follow from others.
        realizability: Which members one controller can satisfy together.
        manoeuvres: Which actions a controller can promise within the rules; empty if no controller
            keeps the rules at all.
        only_vacuous: Members that hold only vacuously, whatever controller satisfies them.
        undecided: Why parts were not decided, one sentence each.
    """

    world: str
    rules: str
    semantics: Semantics
    applicable: tuple[str, ...]
    inapplicable: tuple[str, ...]
    trivial: tuple[TrivialScore, ...]
    random: RandomScores | None
    implications: Implications | None
    realizability: Realizability
    manoeuvres: tuple[Manoeuvre, ...] | None
    only_vacuous: tuple[OnlyVacuous, ...] | None
    undecided: tuple[str, ...]

    def findings(self) -> tuple[str, ...]:
        """What the audit found, in plain sentences."""
        return findings(self)

    def to_json(self) -> dict[str, Any]:
        """The audit as JSON values, findings included."""
        out = dataclasses.asdict(self)
        for row, score in zip(out["trivial"], self.trivial, strict=True):
            row |= {"passed": score.passed, "applicable": score.applicable, "high": score.high}
        for row, manoeuvre in zip(out["manoeuvres"] or (), self.manoeuvres or (), strict=True):
            row["possible"] = manoeuvre.possible
        out["realizability"]["maximum"] = self.realizability.maximum
        out["findings"] = self.findings()
        return _as_lists(out)


def audit(
    world: TransitionSystem,
    rules: RuleBook,
    semantics: Semantics,
    vocabulary: Vocabulary,
    *,
    time_limit: float = DEFAULT_TIME_LIMIT,
    seed: int = 0,
    random_controllers: int = DEFAULT_RANDOM_CONTROLLERS,
) -> Audit:
    """Audit ``rules`` in ``world`` under one profile.

    Args:
        world: The world model.
        rules: The rule book; members whose scope excludes the world are only listed.
        semantics: The profile; its ``assumptions`` decide which words of the world count.
        vocabulary: The domain.
        time_limit: Seconds for each of the parts; a part that takes longer is undecided.
        seed: Of the random controllers.
        random_controllers: How many random controllers to score.

    Raises:
        InputError: No path of the world satisfies its assumptions.
    """
    in_scope = {s.id: s.formula for s in rules.specifications if s.applies_to(world.propositions)}
    game = Game(world, semantics, vocabulary)
    undecided: list[str] = []

    def decide(question: str, function: Callable[[], T]) -> T | None:
        try:
            return call_with_limit(function, time_limit)
        except TimeLimitError as error:
            undecided.append(f"Not decided: {question} ({error}).")
            return None

    def only_vacuous() -> tuple[OnlyVacuous, ...]:
        because = {i: game.only_vacuously(formula) for i, formula in in_scope.items()}
        return tuple(OnlyVacuous(i, text) for i, text in because.items() if text is not None)

    def manoeuvres() -> tuple[Manoeuvre, ...]:
        found = (game.manoeuvre(action, in_scope) for action in vocabulary.action_names)
        return tuple(manoeuvre for manoeuvre in found if manoeuvre is not None)

    checker = Checker(world, rules, semantics, vocabulary, time_limit)
    return Audit(
        world=world.name,
        rules=rules.name,
        semantics=semantics,
        applicable=tuple(in_scope),
        inapplicable=tuple(s.id for s in rules.specifications if s.id not in in_scope),
        trivial=constant_scores(checker),
        random=random_scores(checker, random_controllers, seed),
        implications=decide(
            "which specifications follow from others",
            lambda: find_implications(game.letters(), in_scope),
        ),
        realizability=_realizability(game, in_scope, decide),
        manoeuvres=decide("which manoeuvres the specifications permit", manoeuvres),
        only_vacuous=decide("which specifications can only hold vacuously", only_vacuous),
        undecided=tuple(undecided),
    )


def _realizability(
    game: Game,
    formulas: dict[str, str],
    decide: Callable[[str, Callable[[], Any]], Any],
) -> Realizability:
    together = decide(
        "whether one controller can satisfy all specifications",
        lambda: game.realizable(formulas.values()),
    )
    if together:
        return Realizability("realizable", (tuple(formulas),), ())
    found = decide(
        "which specifications can hold together", lambda: game.jointly_realizable(formulas)
    )
    value = "unknown" if together is None and found is None else "unrealizable"
    if found is None:
        return Realizability(value, None, None)
    return Realizability(value if found.conflicts else "realizable", found.maximal, found.conflicts)


def _as_lists(value: Any) -> Any:
    """Tuples turned into lists, at any depth."""
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_lists(item) for item in value]
    return value
