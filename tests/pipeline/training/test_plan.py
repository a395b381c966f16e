"""Every pair is used as often as it counts, in rows of bounded size, reproducibly."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_pairs import quick

from pipeline.training import plan
from pipeline.training.batches import RowCollator, row_content
from pipeline.training.pairs import Pair, TokenGroup
from pipeline.training.plan import Item, item_count, plan_steps, row_of, within_rows


@st.composite
def token_groups(draw):
    tokens = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
    groups = []
    for number in range(draw(st.integers(1, 4))):
        completions = draw(st.lists(tokens, min_size=2, max_size=5, unique=True))
        indices = st.integers(0, len(completions) - 1)
        ordered = draw(
            st.lists(
                st.tuples(indices, indices).filter(lambda p: p[0] != p[1]),
                min_size=1,
                max_size=5,
                unique=True,
            )
        )
        pairs = tuple(Pair(c, r, draw(st.integers(1, 3))) for c, r in ordered)
        groups.append(TokenGroup((7, 8, number), tuple(completions), pairs))
    return groups


PLANS = {
    "groups": token_groups(),
    "per_step": st.integers(1, 7),
    "per_prompt": st.integers(1, 4),
    "epochs": st.integers(1, 2),
    "seed": st.integers(0, 5),
}


def _settings(per_step, per_prompt, epochs, seed, **more):
    return quick(
        pairs_per_step=per_step, pairs_per_prompt=per_prompt, epochs=epochs, seed=seed, **more
    )


def _items(step):
    return [item for parts in step.parts for part in parts for item in part.items]


@given(**PLANS)
@settings(max_examples=60, deadline=None)
def test_each_epoch_uses_every_pair_as_often_as_it_counts(
    groups, per_step, per_prompt, epochs, seed
):
    chosen = _settings(per_step, per_prompt, epochs, seed)
    steps = plan_steps(groups, chosen)
    per_epoch = -(-item_count(groups, chosen) // per_step)
    assert len(steps) == epochs * per_epoch
    expected = Counter(
        {
            Item(g, p.chosen, p.rejected): p.weight
            for g, group in enumerate(groups)
            for p in group.pairs
        }
    )
    for epoch in range(epochs):
        mine = steps[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert Counter(item for step in mine for item in _items(step)) == expected
        assert mine[-1].epoch == pytest.approx(epoch + 1)
    assert steps == plan_steps(groups, chosen)


@given(**PLANS)
@settings(max_examples=40, deadline=None)
def test_shares_make_the_mean_over_pairs_and_tokens(groups, per_step, per_prompt, epochs, seed):
    for step in plan_steps(groups, _settings(per_step, per_prompt, epochs, seed)):
        (parts,) = step.parts
        assert sum(part.item_share for part in parts) == pytest.approx(1)
        assert sum(part.token_share for part in parts) == pytest.approx(1)


@given(limit=st.integers(4, 40), **PLANS)
@settings(max_examples=40, deadline=None)
def test_rows_stay_within_the_limit(limit, groups, per_step, per_prompt, epochs, seed):
    before, plan.ROW_TOKENS = plan.ROW_TOKENS, limit
    try:
        steps = plan_steps(groups, _settings(per_step, per_prompt, epochs, seed))
    finally:
        plan.ROW_TOKENS = before
    for part in (part for step in steps for part in step.parts[0]):
        size = len(row_of(row_content(part, groups).completions, groups).tokens)
        assert size <= limit or len(part.items) == 1


@given(processes=st.integers(2, 3), **PLANS)
@settings(max_examples=40, deadline=None)
def test_several_processes_share_an_update_evenly(
    processes, groups, per_step, per_prompt, epochs, seed
):
    chosen = _settings(per_step, per_prompt, epochs, seed)
    alone, together = plan_steps(groups, chosen), plan_steps(groups, chosen, processes)
    assert len(alone) == len(together)
    for one, several in zip(alone, together, strict=True):
        assert len(several.parts) == processes
        assert len({len(part.items) for (part,) in several.parts}) == 1
        assert set(_items(one)) == set(_items(several))
        assert sum(part.item_share for (part,) in several.parts) == pytest.approx(processes)
        assert sum(part.token_share for (part,) in several.parts) == pytest.approx(processes)


@given(groups=token_groups())
@settings(max_examples=30, deadline=None)
def test_sft_imitates_each_chosen_completion_once(groups):
    steps = plan_steps(groups, quick(method="sft", pairs_per_step=3))
    found = Counter((item.group, item.chosen) for step in steps for item in _items(step))
    assert found == Counter({(g, p.chosen) for g, group in enumerate(groups) for p in group.pairs})


def test_another_seed_gives_another_order():
    group = TokenGroup((1,), tuple((n,) for n in range(9)), tuple(Pair(n, 8) for n in range(8)))
    orders = {str(plan_steps([group], quick(pairs_per_step=2, seed=seed))) for seed in range(4)}
    assert len(orders) > 1


def test_max_steps_cuts_the_plan():
    group = TokenGroup((1,), ((2,), (3,)), (Pair(0, 1, 9),))
    assert len(plan_steps([group], quick(pairs_per_step=2, max_steps=3))) == 3


def test_every_process_gets_its_own_part_of_the_same_update():
    group = TokenGroup((1,), ((2, 4), (3,)), (Pair(0, 1, 8),))
    steps = plan_steps([group], quick(pairs_per_step=4), 2)
    collate = RowCollator(steps, [group])
    for update, step in enumerate(steps):
        for process, (part,) in enumerate(step.parts):
            (batch,) = collate([{"number": 2 * update + process}])["parts"]
            assert batch["content"] == row_content(part, [group])
            assert batch["row"]["input_ids"].tolist() == [[1, 2, 4, 3]]


def test_within_rows_keeps_the_order():
    group = TokenGroup((1,), tuple((n, n) for n in range(2, 9)), ())
    items = [Item(0, n, None) for n in range(7)]
    rows = list(within_rows(items, [group]))
    assert [item for row in rows for item in row] == items
