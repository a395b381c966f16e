"""Which of two controllers is better? As few episodes as the evidence allows, and no more.

Both are driven with the same seeds. Pairs in which one succeeds and the other does not tell which
is better; if they were equal, each would win half of these. The test bets against "the first is
not better": the expected payoff of a fair game, a mixture over every probability p > 1/2 of a win,

    E = 2 * integral from 1/2 to 1 of p^wins (1 - p)^losses 2^(wins + losses) dp,

is a non-negative supermartingale that starts at 1 if no win is likelier than 1/2 (Robbins,
"Statistical methods related to the law of the iterated logarithm", Ann. Math. Stat. 41, 1970). By
Ville's inequality it ever reaches 1/a with probability at most a, so one may look after every
episode and stop as soon as it does (Ramdas, Gruenwald, Vovk and Shafer, "Game-theoretic statistics
and safe anytime-valid inference", Statistical Science 38, 2023). The same bet in the other
direction has the other half of the error. Pairs need not be independent of each other, only no
win may be likelier than 1/2 given what was seen; pairing by seed takes the luck of the traffic out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from worlds.statistics import log_beta_cdf

Better = Literal["first", "second"]

ERROR = 0.05
"""Probability of calling one better that is not, unless another one is asked for."""


@dataclass(frozen=True)
class Comparison:
    """What has been seen of two controllers so far.

    Attributes:
        first_only: Pairs in which only the first succeeded.
        second_only: Pairs in which only the second did.
        both: Pairs in which both did.
        neither: Pairs in which neither did.
        error: Probability of calling one better that is not, however often one looks.
        decided: Which is better, once there is enough evidence; stays so.
    """

    first_only: int = 0
    second_only: int = 0
    both: int = 0
    neither: int = 0
    error: float = ERROR
    decided: Better | None = None

    @property
    def pairs(self) -> int:
        """Pairs seen."""
        return self.first_only + self.second_only + self.both + self.neither

    def after(self, outcomes: Iterable[tuple[bool, bool]]) -> Comparison:
        """With more pairs: did the first succeed, did the second?

        Pairs after the decision are counted and change nothing about it.
        """
        now = self
        for first, second in outcomes:
            field = {
                (True, False): "first_only",
                (False, True): "second_only",
                (True, True): "both",
                (False, False): "neither",
            }[first, second]
            now = replace(now, **{field: getattr(now, field) + 1})
            now = replace(now, decided=now.decided or now._decision())
        return now

    def evidence(self, better: Better) -> float:
        """Logarithm of the payoff of the bet that this one is better; 0 is where it starts."""
        wins, losses = self.first_only, self.second_only
        return log_payoff(*((wins, losses) if better == "first" else (losses, wins)))

    def _decision(self) -> Better | None:
        needed = math.log(2 / self.error)
        sides: tuple[Better, ...] = ("first", "second")
        return next((side for side in sides if self.evidence(side) >= needed), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data; payoffs as logarithms."""
        return {
            **{key: getattr(self, key) for key in ("first_only", "second_only", "both", "neither")},
            "pairs": self.pairs,
            "error": self.error,
            "better": self.decided,
            "log_payoff_first": self.evidence("first"),
            "log_payoff_second": self.evidence("second"),
        }


def log_payoff(wins: int, losses: int) -> float:
    """Logarithm of E in the module's text.

    With X ~ Beta(wins + 1, losses + 1): E = 2^(wins + losses + 1) B(wins + 1, losses + 1)
    P(X > 1/2), and P(X > 1/2) = P(1 - X < 1/2).
    """
    a, b = wins + 1, losses + 1
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return (wins + losses + 1) * math.log(2) + log_beta + log_beta_cdf(0.5, b, a)
