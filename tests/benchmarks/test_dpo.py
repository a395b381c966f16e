import pytest

from benchmarks.dpo import largest_difference
from benchmarks.dpo_run import Job, Result, ordered
from benchmarks.dpo_tokens import work_of
from benchmarks.paired import MismatchError
from pipeline.training.pairs import Pair, TokenGroup
from pipeline.training.plan import plan_steps
from pipeline.training.settings import TrainSettings

# Two prompts that begin alike (1 2), answers that begin alike (7).
GROUPS = [
    TokenGroup((1, 2, 3), ((7, 8), (7, 9, 9), (6,)), (Pair(0, 1), Pair(0, 2))),
    TokenGroup((1, 2, 4), ((5, 5, 5), (5,)), (Pair(0, 1),)),
]
SETTINGS = TrainSettings(epochs=1, pairs_per_step=3, pairs_per_prompt=2)


def test_counts_of_one_update():
    work = work_of(GROUPS, plan_steps(GROUPS, SETTINGS))
    assert work.pairs == 3
    assert work.apart == (5 + 6) + (5 + 4) + (6 + 4)
    assert work.padded == 6 * 6
    # A pair's prompt and the answers' common beginning once.
    assert work.in_pairs == (3 + 1 + 1 + 2) + (3 + 2 + 1) + (3 + 3)
    assert work.in_prompts == (3 + 1 + 1 + 2 + 1) + (3 + 3)
    assert work.in_rows == work.in_prompts - 2
    assert work.reference == work.in_rows
    # Predicting: the prompt's end and every answer's tokens but its last; once for the update,
    # once for the reference.
    assert work.predictions == 2 * ((1 + 1 + 1) + (1 + 2))
    assert work.padded_predictions == 2 * 6 * 5


def test_small_updates_share_less():
    whole = work_of(GROUPS, plan_steps(GROUPS, SETTINGS))
    steps = plan_steps(GROUPS, TrainSettings(epochs=1, pairs_per_step=1, pairs_per_prompt=1))
    single = work_of(GROUPS, steps)
    assert single.in_rows == single.in_prompts == single.in_pairs == whole.in_pairs
    assert single.reference == whole.reference  # every completion once, whatever the updates


def test_order_is_that_of_the_updates():
    steps = plan_steps(GROUPS, SETTINGS)
    order = [(i.group, i.chosen, i.rejected) for part in steps[0].parts[0] for i in part.items]
    assert ordered(GROUPS, SETTINGS) == order
    assert sorted(order) == [(0, 0, 1), (0, 0, 2), (1, 0, 1)]


def test_job_can_be_written_and_read(tmp_path):
    job = Job(tmp_path / "pairs.jsonl", SETTINGS, {"gradient_checkpointing": False})
    job.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job


def result(losses, tokens="same"):
    return Result(1.0, 1.0, tuple(losses), 1.0, 0.0, tokens)


def test_difference_is_the_largest_of_all_updates_and_rounds():
    ours = [result([0.7, 0.6]), result([0.7, 0.6])]
    theirs = [result([0.7, 0.5]), result([0.4, 0.6])]
    assert largest_difference(ours, theirs) == pytest.approx(0.3)


@pytest.mark.parametrize("other", [result([0.7]), result([0.7, 0.6], "others")])
def test_different_work_is_not_compared(other):
    with pytest.raises(MismatchError):
        largest_difference([result([0.7, 0.6])], [other])
