"""The sequential comparison: rarely wrong however often one looks, and soon right."""

from __future__ import annotations

import math
import random

import pytest
from scipy.integrate import quad

from worlds.simulation.sequential import Comparison, log_payoff


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 0), (3, 9), (40, 60), (70, 30)])
def test_payoff_is_the_integral(wins: int, losses: int) -> None:
    integral, _ = quad(
        lambda p: p**wins * (1 - p) ** losses * 2.0 ** (wins + losses), 0.5, 1, epsabs=0
    )
    assert log_payoff(wins, losses) == pytest.approx(math.log(2 * integral), rel=1e-9, abs=1e-12)


def test_payoff_of_long_games() -> None:
    assert log_payoff(0, 3000) == pytest.approx(-math.log(3001), rel=1e-3)  # 2/2 * 1/(n+1)
    assert math.isfinite(log_payoff(30_000, 10))


def test_the_payoff_is_a_fair_game() -> None:
    """Given what was seen, the expected payoff after one more round is the present one."""
    for wins, losses in ((0, 0), (4, 1), (2, 7)):
        expected = 0.5 * math.exp(log_payoff(wins + 1, losses)) + 0.5 * math.exp(
            log_payoff(wins, losses + 1)
        )
        assert expected == pytest.approx(math.exp(log_payoff(wins, losses)))


def play(p: float, q: float, chance: random.Random, most: int, error: float) -> Comparison:
    """Look after every pair, independent within it; stop when it is decided."""
    comparison = Comparison(error=error)
    while comparison.pairs < most and comparison.decided is None:
        comparison = comparison.after([(chance.random() < p, chance.random() < q)])
    return comparison


def test_equals_are_rarely_told_apart() -> None:
    chance = random.Random(7)
    wrong = sum(play(0.7, 0.7, chance, 200, 0.2).decided is not None for _ in range(300))
    assert wrong / 300 < 0.2  # at most, at any time; in truth it is far less


def test_a_difference_is_found_and_never_the_wrong_way() -> None:
    chance = random.Random(8)
    for better, (p, q) in {"first": (0.95, 0.5), "second": (0.6, 0.95)}.items():
        games = [play(p, q, chance, 300, 0.05) for _ in range(60)]
        assert {game.decided for game in games} == {better}
        assert sum(game.pairs for game in games) / len(games) < 60


def test_a_decision_stays() -> None:
    comparison = Comparison().after([(True, False)] * 8)
    assert comparison.decided == "first"
    comparison = comparison.after([(False, True)] * 50 + [(True, True), (False, False)])
    assert (comparison.decided, comparison.pairs) == ("first", 60)
    data = comparison.to_json()
    assert (data["both"], data["neither"], data["first_only"], data["better"]) == (1, 1, 8, "first")


def test_few_pairs_decide_nothing() -> None:
    assert Comparison().after([(True, False)] * 7).decided is None
    assert Comparison().after([(True, True)] * 500).decided is None
