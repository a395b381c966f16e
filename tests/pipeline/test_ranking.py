"""Ranking: a partial order without a trivial attractor, and the pairs that come of it."""

from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.evaluation import Judge
from pipeline.ranking import MARGINS, Ranked, margin_paper_count, margin_road, select_pairs
from pipeline.tasks import Task
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

RULES = ("yield_to_left", "yield_to_right", "pedestrian_ahead")


def ranked(name, **changes):
    row = {
        "answer": name,
        "task": "t",
        "text": name,
        "identity": name,
        "parsed": True,
        "success": False,
        "violated": frozenset(),
        "progress": False,
        "satisfied": 0,
        "weight": 0.0,
        "origin": "free",
        "parent": None,
    }
    return Ranked(**(row | changes))


@st.composite
def answers(draw):
    parsed = draw(st.booleans())
    violated = draw(st.frozensets(st.sampled_from(RULES))) if parsed else frozenset()
    progress = parsed and draw(st.booleans())
    return ranked(
        draw(st.uuids().map(str)),
        parsed=parsed,
        violated=violated,
        progress=progress,
        success=progress and not violated,
        satisfied=draw(st.integers(0, 15)) if parsed else 0,
        weight=float(draw(st.integers(0, 12))) if parsed else 0.0,
    )


@given(st.lists(answers(), min_size=3, max_size=3), st.sampled_from(sorted(MARGINS)))
def test_every_order_is_a_strict_partial_order(trio, order):
    margin = MARGINS[order]
    for one, other, third in permutations(trio):
        assert margin(one, one) is None
        if margin(one, other) is not None:
            assert margin(one, other) > 0
            assert margin(other, one) is None
            if margin(other, third) is not None:
                assert margin(one, third) is not None


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(answers(), answers())
def test_success_is_above_and_unreadable_below_everything_else(one, other):
    if one.success and not other.success:
        assert margin_road(one, other) is not None
    if one.parsed and not other.parsed:
        assert margin_road(one, other) is not None
    if not one.success and not one.violated and not one.progress and other.progress:
        assert margin_road(one, other) is None or not other.parsed


def by_judge(task, **texts):
    """Ranked answers as the stage makes them, from real verdicts."""
    judge = Judge(load_vocabulary(), SHIPPED["default"])
    found = {}
    for name, text in texts.items():
        judged = judge.judge(task, text)
        found[name] = ranked(
            name,
            success=judged.strict_success,
            violated=frozenset(judged.violated),
            progress=judged.progress == "satisfied",
            satisfied=sum(v.holds for v in judged.paper.verdicts),
        )
    return found


def test_always_stop_wins_under_the_papers_count_and_loses_under_ours():
    task = Task("t", "turn right at the traffic light", "traffic_light", "turn_right", "train")
    found = by_judge(
        task,
        stops="1. Stop. Go to step 1.",
        careless="1. Observe the pedestrian in front.\n2. Turn right.",
        careful=(
            "1. Stop.\n2. If there is no car from left and no pedestrian at right "
            "and no pedestrian in front, turn right."
        ),
    )
    stops, careless, careful = found["stops"], found["careless"], found["careful"]
    assert careful.success
    assert not stops.success
    assert not careless.success
    # The paper's count prefers standing still to a hasty right turn ...
    assert margin_paper_count(stops, careless) is not None
    # ... ours does not compare the two, and prefers only the correct one to both.
    assert margin_road(stops, careless) is None
    assert margin_road(careless, stops) is None
    assert margin_road(careful, stops) is not None
    assert margin_road(careful, careless) is not None
    chosen = {pair.chosen.answer for pair in select_pairs(found.values()).pairs}
    assert chosen == {"careful"}
    assert len(select_pairs(found.values()).pairs) == 2
    counted = select_pairs([stops, careless], order="paper_count")
    assert [pair.chosen.answer for pair in counted.pairs] == ["stops"]


def test_pairs_are_unique_up_to_equivalent_controllers():
    good = [ranked(f"good{i}", identity="g", progress=True, success=True) for i in range(3)]
    bad = [ranked(f"bad{i}", identity="b") for i in range(2)]
    selection = select_pairs([*good, *bad])
    assert [(p.chosen.answer, p.rejected.answer) for p in selection.pairs] == [("good0", "bad0")]
    assert selection.dropped["duplicate"] == 3


def test_near_ties_are_dropped_and_tasks_are_capped():
    good = [ranked(f"g{i}", progress=True, success=True) for i in range(4)]
    bad = [ranked(f"b{i}", violated=frozenset(RULES[:i])) for i in range(4)]
    assert len(select_pairs([*good, *bad], pairs_per_task=5).pairs) == 5
    wide = select_pairs([*good, *bad], margin=3.0).pairs
    assert wide
    assert all(pair.margin > 3 for pair in wide)


def test_a_repair_is_first_paired_with_what_it_repairs_and_can_be_left_out():
    bad = [ranked(f"b{i}", violated=frozenset({"yield_to_left"})) for i in range(3)]
    mended = ranked("m", progress=True, success=True, origin="symbolic_repair", parent="b1")
    pairs = select_pairs([*bad, mended]).pairs
    assert (pairs[0].rejected.answer, pairs[0].source) == ("b1", "symbolic_repair")
    assert select_pairs([*bad, mended], sources=("samples",)).pairs == ()


@pytest.mark.parametrize("only", [True, False])
def test_only_successes_may_be_chosen_on_demand(only):
    better, worse = ranked("a"), ranked("b", violated=frozenset({"yield_to_left"}))
    pairs = select_pairs([better, worse], successes_only=only).pairs
    assert len(pairs) == (0 if only else 1)


def test_orders_for_comparison_do_not_know_which_answers_succeed():
    good = ranked("z", progress=True, success=True, satisfied=15)
    stops = ranked("a", satisfied=13)
    bad = [ranked(f"b{i}", violated=frozenset({"yield_to_left"}), satisfied=9) for i in range(3)]
    chosen = [p.chosen.answer for p in select_pairs([*bad, good, stops]).pairs]
    assert chosen[0] == "z"
    counted = select_pairs([*bad, stops, good], order="paper_count", pairs_per_task=3)
    assert [p.chosen.answer for p in counted.pairs] == ["a", "z", "a"]
