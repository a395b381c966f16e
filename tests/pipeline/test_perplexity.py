"""Perplexity: the definition, windows, and what the shipped model says of neutral text."""

import hashlib
import math

import pytest

from pipeline.perplexity import neutral_text, perplexity

torch = pytest.importorskip("torch")
TEXT = "All good things come in threes. " * 40


def expected(model, text, tokens, window=512):
    """Token by token, each from what stands before it in its window."""
    ids = model.tokenizer(text, add_special_tokens=False).input_ids[:tokens]
    losses = []
    for start in range(0, len(ids), window):
        part = ids[start : start + window]
        with torch.inference_mode():
            logs = model.model(torch.tensor([part])).logits[0].log_softmax(-1)
        losses += [-float(logs[i, part[i + 1]]) for i in range(len(part) - 1)]
    return math.exp(sum(losses) / len(losses)), len(losses)


@pytest.mark.parametrize("tokens", [2, 100, 512, 513, 514, 1024, 1100])
def test_is_the_mean_likelihood_per_predicted_token(tiny, tokens):
    found = perplexity(tiny, TEXT, tokens)
    value, count = expected(tiny, TEXT, tokens)
    assert found.value == pytest.approx(value, rel=1e-4)
    assert found.tokens == count
    assert found.text == "sha256:" + hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_model_that_knows_nothing_finds_everything_alike(tiny):
    head = tiny.model.lm_head.weight
    kept = head.detach().clone()
    with torch.no_grad():
        head.zero_()
    try:
        assert perplexity(tiny, TEXT, 300).value == pytest.approx(300, rel=1e-5)
    finally:
        with torch.no_grad():
            head.copy_(kept)


def test_neutral_text_is_long_enough_and_says_nothing_of_driving():
    text = neutral_text().lower()
    assert len(text.split()) > 5000
    assert not any(word in text for word in ("pedestrian", "traffic light", "turn left"))


def test_json(tiny):
    found = perplexity(tiny, TEXT, 50)
    assert found.to_json() == {"neutral": found.value, "tokens": 49, "text": found.text}


@pytest.mark.model
def test_english_is_likelier_than_the_same_words_in_disorder(smollm2):
    words = neutral_text().split()[:300]
    told = perplexity(smollm2, " ".join(words), 256).value
    assert 3 < told < 40
    assert perplexity(smollm2, " ".join(sorted(words)), 256).value > 5 * told
