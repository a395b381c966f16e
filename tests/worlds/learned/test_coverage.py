"""Coverage: estimates and bounds hold where the truth is known."""

import itertools
import math
import random
from collections import Counter

import pytest
from test_learn_world import recording

from worlds.learned.bounds import (
    good_turing,
    hoeffding_upper,
    missing_mass_bound,
)
from worlds.learned.coverage import coverage, held_out, learning_curve
from worlds.learned.tally import tally
from worlds.statistics import at_most


@pytest.mark.parametrize(
    ("successes", "trials", "bound"),
    [(0, 10, 0.2589), (1, 10, 0.3942), (5, 20, 0.4556), (10, 10, 1.0), (0, 0, 1.0)],
)
def test_clopper_pearson_against_tables(successes, trials, bound):
    """The upper ends of 90 % two-sided intervals, as printed in tables of the beta quantiles."""
    assert at_most(successes, trials) == pytest.approx(bound, abs=1e-4)


def test_rule_of_three():
    for trials in (30, 300, 3000):
        assert at_most(0, trials) == pytest.approx(3 / trials, rel=0.06)


def test_missing_mass_bound_is_the_published_formula():
    expected = 5 / 10_000 + (2 * math.sqrt(2) + math.sqrt(3)) * math.sqrt(math.log(60) / 10_000)
    assert missing_mass_bound(5, 10_000) == pytest.approx(expected)
    assert missing_mass_bound(1, 3) == 1.0
    assert missing_mass_bound(0, 0) == 1.0
    assert good_turing(0, 0) is None
    assert hoeffding_upper(0.0, 0) == 1.0


def test_the_bound_holds_and_the_estimate_is_unbiased_for_draws_of_a_known_law():
    chance = random.Random(1)
    weights = [1 / (k + 1) ** 1.2 for k in range(400)]
    total = sum(weights)
    misses, errors = 0, []
    for _ in range(200):
        drawn = Counter(chance.choices(range(400), weights, k=500))
        missing = sum(w for k, w in enumerate(weights) if k not in drawn) / total
        once = sum(1 for count in drawn.values() if count == 1)
        misses += missing > missing_mass_bound(once, 500)
        errors.append(missing - once / 500)
    assert misses <= 10  # of 200, at 95 %
    assert abs(sum(errors) / len(errors)) < 0.005


def test_counts():
    recordings = [recording("ggc.g"), recording("ggc.c", 1), recording("gg", 2)]
    found = coverage(recordings)
    assert found.tally.recorded_steps == 9
    assert len(found.tally.steps) == 5
    assert found.tally.seen_once == 2  # .g and .c
    assert found.estimate == pytest.approx(2 / 9)
    assert found.in_one_episode == 2
    assert found.estimate_by_episode == pytest.approx(2 / 3)
    assert found.transitions_at_least == pytest.approx(5 + (2 / 3) * 2 * 1 / (2 * (2 + 1)))
    least = found.states[0]
    assert (least.draws, least.ways, least.seen_once, least.estimate) == (2, 2, 2, 1.0)
    assert sum(row.draws for row in found.states) == 9


def test_held_out_episodes_meet_the_world_of_the_others():
    recordings = [recording("gg.gg", seed) for seed in range(7)]
    recordings += [recording("g.g", 7), recording("gc", 8), recording("gggg", 9)]
    found = held_out(recordings)
    assert (found.learned_from, found.tested_on, found.with_unseen) == (7, 3, 1)
    assert found.bound == at_most(1, 3)
    assert found.unseen_steps == pytest.approx(1 / 3)


def test_the_episode_bound_holds_for_a_known_world():
    """Episodes of three coin throws with 8 faces: how often does a new one have a new pair?"""
    chance = random.Random(2)
    letters = "g.cb"

    def word() -> str:
        return "".join(chance.choices(letters, (0.7, 0.2, 0.07, 0.03), k=4))

    wrong = 0
    for _ in range(60):
        recordings = [recording(word(), seed) for seed in range(40)]
        bound = held_out(recordings).bound
        known = {(a, b) for r in recordings for a, b in zip(r.labels, r.labels[1:], strict=False)}
        fresh = [recording(word(), seed).labels for seed in range(200)]
        new = sum(any(p not in known for p in itertools.pairwise(r)) for r in fresh)
        wrong += new / 200 > bound
    assert wrong <= 3  # of 60, at 95 %; the world of all episodes lacks even less


def test_the_learning_curve_is_the_mean_over_orders():
    words = ["gg", "g.", "gg", "gc", "ggc", "b."]
    recordings = [recording(word, seed) for seed, word in enumerate(words)]
    curve = learning_curve(tally(recordings))
    chance = random.Random(3)
    for point in curve:
        sizes = []
        for _ in range(2000):
            chosen = chance.sample(recordings, point.episodes)
            sizes.append(len(tally(chosen).steps))
        assert point.transitions == pytest.approx(sum(sizes) / len(sizes), abs=0.1)
    assert curve[-1].transitions == len(tally(recordings).steps)
    assert curve[-1].episodes == len(recordings)
    assert all(a.transitions <= b.transitions for a, b in itertools.pairwise(curve))


def test_json_is_plain():
    import json

    found = coverage([recording("ggc.g"), recording("gg", 1)]).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["transitions"] == 4
    assert found["unseen_in_episode"]["held_out"]["tested_on"] == 1


def test_one_episode_is_not_enough_for_episode_bounds():
    found = coverage([recording("gg")])
    assert found.estimate_by_episode is None
    assert found.held_out.bound == 1.0
