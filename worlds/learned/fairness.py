"""Which assumptions a learned world is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from verifier.vocabulary import Vocabulary
from worlds.check import check_world
from worlds.learned.assumptions import Support
from worlds.learned.model import LearnedWorld


@dataclass(frozen=True)
class Choice:
    """An assumption that was considered.

    Attributes:
        support: What the recordings say about it.
        taken: Whether the world has it.
        reason: Why, in one clause.
    """

    support: Support
    taken: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return self.support.to_json() | {"taken": self.taken, "reason": self.reason}


def choose_assumptions(
    learned: LearnedWorld,
    candidates: Iterable[Support],
    vocabulary: Vocabulary,
    *,
    need_support: bool,
) -> tuple[LearnedWorld, tuple[Choice, ...]]:
    """The world with the assumptions that it can have.

    An assumption that no path of the world satisfies is never taken: nothing could be verified.

    Args:
        learned: The world.
        candidates: In order of preference.
        vocabulary: The domain.
        need_support: Take only those that the recordings support.
    """
    choices: list[Choice] = []
    for support in candidates:
        formulas = [c.support.formula for c in choices if c.taken]
        longer = learned.with_assumptions([*formulas, support.formula]).world
        errors = [f for f in check_world(longer, vocabulary) if f.severity == "error"]
        if errors:
            choices.append(Choice(support, False, errors[0].problem))
        elif need_support and not support.supported:
            choices.append(Choice(support, False, evidence(support)))
        else:
            choices.append(Choice(support, True, evidence(support)))
    taken = [c.support.formula for c in choices if c.taken]
    return learned.with_assumptions(taken), tuple(choices)


def evidence(support: Support) -> str:
    """What the recordings say, in words."""
    if support.longest_wait is None:
        return "recordings cannot tell: it is not of the form GF condition"
    if not support.long_episodes:
        return "no episode was long enough to tell"
    return (
        f"held in {support.seen_in:,} of {support.long_episodes:,} long episodes, longest wait "
        f"{support.longest_wait:,} steps; a new one lacks it with probability at most "
        f"{100 * support.missing_at_most:.1f} %"
    )
