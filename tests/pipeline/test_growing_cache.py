"""The growing cache holds what transformers' own would, whatever comes and goes."""

import pytest

torch = pytest.importorskip("torch")

from pipeline.growing_cache import SPARE, GrowingLayer, growing_cache  # noqa: E402


def new(rows, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 2, tokens, 4, generator=generator) for _ in range(2)]


@pytest.mark.parametrize(
    "selections",
    [
        [[0, 0, 1, 2]],  # rows repeat
        [[0, 2], [1]],  # the last fills the gap, in place
        [[2, 1], [0, 1]],  # order changes
        [[1, 2, 0]],  # a rotation: nothing may be overwritten before it is read
        [[0, 1]],
    ],
)
def test_rows_come_and_go(selections):
    from transformers.cache_utils import DynamicLayer

    ours, theirs = GrowingLayer(), DynamicLayer()
    for step, (rows, tokens) in enumerate([(3, 5), (3, 1)]):
        for layer in (ours, theirs):
            layer.update(*new(rows, tokens, step))
    for step, indices in enumerate(selections):
        for layer in (ours, theirs):
            layer.batch_select_indices(torch.tensor(indices))
            layer.update(*new(len(indices), 1, 10 + step))
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)


def test_new_tokens_are_written_in_place_until_the_room_is_full():
    layer = GrowingLayer()
    layer.update(*new(2, 3, 0))
    where = layer.keys.data_ptr()
    for i in range(SPARE):
        layer.update(*new(2, 1, i))
    assert layer.keys.data_ptr() == where
    layer.batch_select_indices(torch.tensor([1]))  # row 1 moves to the front
    assert layer.keys.data_ptr() == where
    layer.update(*new(1, 1, 0))
    assert layer.keys.data_ptr() != where
    assert layer.get_seq_length() == 3 + SPARE + 1


def test_every_layer_of_a_plain_model_grows(tiny):
    assert all(type(layer) is GrowingLayer for layer in growing_cache(tiny.model.config).layers)
