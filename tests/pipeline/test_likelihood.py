"""Divergence between models: exact per token, whatever the batch, zero from itself."""

import pytest

from pipeline.likelihood import Said, divergence
from pipeline.models import load_model
from pipeline.prompts import Message, Prompt, chat_text

torch = pytest.importorskip("torch")

COMMON = "Write numbered steps to turn "
PROMPTS = [COMMON + "left.", COMMON + "right at the next corner.", "Something else.", COMMON + "l"]
TEXTS = ["1. Stop.", "", "1. Go on.\n2. Turn left.", "2.", "x" * 30]


def said(count):
    return [
        Said(
            Prompt("t", "plain", (Message("user", PROMPTS[i % len(PROMPTS)]),)),
            TEXTS[i % len(TEXTS)],
            ended=i % 3 == 0,
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def tuned(tiny, tiny_adapter):
    model = load_model(tiny.folder, "cpu", adapter=tiny_adapter)
    with torch.no_grad():  # random weights say nearly the same of everything
        model.model.lm_head.weight.mul_(20)
    return model


def expected(model, base, one):
    """Every token by a pass of its own over all that stands before it."""
    ids = model.tokenizer(chat_text(model.tokenizer, one.prompt)).input_ids
    answer = [*model.tokenizer(one.text).input_ids, *([1] if one.ended else [])]
    total = 0.0
    for i in range(len(answer)):
        row = torch.tensor([ids + answer[:i]])
        with torch.inference_mode():
            p, q = (m.model(row).logits[0, -1].double().log_softmax(-1) for m in (model, base))
        total += float((p.exp() * (p - q)).sum())
    return total, len(answer)


@pytest.mark.parametrize("count", [1, 2, 5, 11, 17])
def test_is_the_divergence_of_the_next_token_summed_over_answers(tiny, tuned, count):
    found = divergence(tuned, tiny, said(count))
    single = [expected(tuned, tiny, one) for one in said(count)]
    total, tokens = (sum(column) for column in zip(*single, strict=True))
    assert found.per_answer == pytest.approx(total / count, rel=1e-4)
    assert found.per_token == pytest.approx(total / tokens, rel=1e-4)
    assert found.answers == count
    assert found.per_token > 0.01


def test_nothing_lies_between_a_model_and_itself(tiny):
    found = divergence(tiny, tiny, said(9))
    assert found.to_json() == {"per_answer": 0.0, "per_token": 0.0, "answers": 9}


def test_silence_does_not_diverge(tiny, tuned):
    (one,) = said(1)
    found = divergence(tuned, tiny, [Said(one.prompt, "", ended=False)])
    assert found.to_json() == {"per_answer": 0.0, "per_token": 0.0, "answers": 1}


def test_order_matters(tiny, tuned):
    forth, back = divergence(tuned, tiny, said(5)), divergence(tiny, tuned, said(5))
    assert forth.per_token != pytest.approx(back.per_token, rel=0.1)
