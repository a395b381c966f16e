"""Reading prompts: beginnings shared, padding in front and in between, rows that leave."""

import pytest

from pipeline.reading import common_beginnings, read_beginnings, read_prompts

torch = pytest.importorskip("torch")

EXAMPLES = (tuple(range(10, 22)), tuple(range(30, 47)))
PROMPTS = [
    (*EXAMPLES[0], 100, 101, 102),
    (*EXAMPLES[1], 103),
    (*EXAMPLES[0], 100, 104),
    (*EXAMPLES[1], 105, 106, 107, 108),
    EXAMPLES[0],
]


def alone(model, ids):
    with torch.inference_mode():
        return model.model(torch.tensor([ids])).logits[0]


def test_prompts_of_a_kind_share_their_beginning_and_keep_a_token():
    first, second = EXAMPLES[0][:-1], EXAMPLES[1]
    assert common_beginnings(PROMPTS) == [first, second, first, second, first]
    assert common_beginnings([(1, 2, 3)]) == [(1, 2)]
    assert common_beginnings([(1,), (2, 3)]) == [(), ()]


def test_logits_are_those_of_each_prompt_alone(tiny):
    asked = [PROMPTS[i] for i in (0, 1, 1, 2, 3, 4, 0)]
    with torch.inference_mode():
        logits, context = read_prompts(tiny.model, asked)
        for ids, row in zip(asked, logits, strict=True):
            torch.testing.assert_close(row, alone(tiny, ids)[-1], rtol=1e-4, atol=1e-5)
        # Rows leave; those that stay go on, padded or not.
        context.select(torch.tensor([6, 1, 4]))
        more = [(50, 51), (52,), (53, 54, 55)]
        logits = context.read(tiny.model, more, keep=2)
    for i, ids, row in zip((6, 1, 4), more, logits, strict=True):
        expected = alone(tiny, asked[i] + ids)
        torch.testing.assert_close(row[-1], expected[-1], rtol=1e-4, atol=1e-5)
        if len(ids) > 1:
            torch.testing.assert_close(row[0], expected[-2], rtol=1e-4, atol=1e-5)


def test_what_is_shared_is_read_once(tiny, monkeypatch):
    read = []
    forward = tiny.model.forward

    def counted(*args, **kwargs):
        read.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    monkeypatch.setattr(tiny.model, "forward", counted)
    # The real signature decides what the cache is called.
    with torch.inference_mode():
        read_prompts(tiny.model, PROMPTS * 8)
    assert read == [(2, 17), (5, 4)]


def test_without_padding_there_is_no_mask(tiny):
    with torch.inference_mode():
        context, lengths = read_beginnings(tiny.model, [(1, 2, 3, 4), (1, 2, 3, 5)])
        assert (context.mask, lengths) == (None, [3, 3])
        context.read(tiny.model, [(4,), (5,)])
        assert context.mask is None
        context.read(tiny.model, [(4,), (5, 6)])
    assert context.mask.tolist() == [[1, 1, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]]
