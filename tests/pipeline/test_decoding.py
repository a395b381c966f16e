"""Decoding: draws that depend on nothing else, choices by probability, batches, grammars."""

import hashlib
from collections import Counter

import pytest

from pipeline.decoding import Request, choose, list_end, sample_batch, uniform
from pipeline.grammar import GrammarConstraint
from verifier.errors import InputError

torch = pytest.importorskip("torch")
PROMPTS = ((10, 20, 30), (40,), (50, 60, 70, 80, 90, 100, 110))


def requests(count, prompts=PROMPTS, seed=0):
    return [Request(prompts[i % len(prompts)], f"{seed}:{i}") for i in range(count)]


def constrained(model, grammar, count=40, limit=8, **how):
    constraint = GrammarConstraint(model, [grammar] * count)
    return sample_batch(model, requests(count), max_new_tokens=limit, constraint=constraint, **how)


def test_draws_are_even_and_follow_from_key_and_position():
    draws = [uniform("key", i) for i in range(4000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert all(350 < count < 450 for count in Counter(int(d * 10) for d in draws).values())
    digest = int(hashlib.sha256(b"key:7").hexdigest(), 16)
    assert uniform("key", 7) == pytest.approx(digest / 2.0**256, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1. Stop.\n2. Go.", None),
        ("Sure:\n\n1. Stop.\n2. Go.\n\nI hope this helps!", "Sure:\n\n1. Stop.\n2. Go."),
        ("1. Stop.\n\n2. Go.\n\nDone.", "1. Stop.\n\n2. Go."),
        ("1. Stop.\n\n   - Look.\n\n2. Go.", None),
        ("Look left.\n\nThen go.", None),
        ("1. Stop.\n\n", None),
        ("", None),
    ],
)
def test_a_numbered_list_ends_where_other_text_begins(text, kept):
    end = list_end(text)
    assert (None if end is None else text[:end]) == kept


def test_choices_have_the_models_probabilities():
    logits = torch.tensor([0.3, -1.0, 2.0, float("-inf"), 0.0])
    count = 10_000
    draws = [(i + 0.5) / count for i in range(count)]
    for temperature in (0.5, 1.0, 3.0):
        chosen = Counter(choose(logits.expand(count, -1), draws, temperature, 1.0))
        expected = torch.softmax(logits / temperature, dim=-1)
        for token in range(5):
            assert chosen[token] / count == pytest.approx(float(expected[token]), abs=1.1 / count)


def test_top_p_keeps_the_fewest_most_probable_tokens():
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])
    count = 1000
    draws = [(i + 0.5) / count for i in range(count)]
    rows = probabilities.log().expand(count, -1)
    for top_p, kept in (
        (1e-9, {1}),
        (0.39, {1}),
        (0.5, {1, 3}),
        (0.66, {1, 3, 4}),
        (1.0, set(range(5))),
    ):
        chosen = Counter(choose(rows, draws, 1.0, top_p))
        assert set(chosen) == kept
        mass = sum(float(probabilities[token]) for token in kept)
        assert chosen[1] / count == pytest.approx(0.4 / mass, abs=0.003)


def test_top_p_with_more_tokens_than_are_looked_at_first():
    count = 3000
    chosen = choose(torch.zeros(count, 2000), [(i + 0.5) / count for i in range(count)], 1.0, 0.9)
    assert len(set(chosen)) == pytest.approx(1800, abs=2)


@pytest.mark.parametrize("top_p", [0.3, 1.0])
@pytest.mark.parametrize("temperature", [0, 0.001, 1.0, 1e9])
def test_forbidden_tokens_are_never_chosen(temperature, top_p):
    logits = torch.tensor([float("-inf"), 5.0, float("-inf"), -80.0, float("-inf")])
    edges = [0.0, 0.5, 1 - 2.0**-53]
    assert set(choose(logits.expand(3, -1), edges, temperature, top_p)) <= {1, 3}


def test_coldest_choice_is_the_most_probable():
    logits = torch.randn(20, 300, generator=torch.Generator().manual_seed(0)) * 10
    draws = [uniform("cold", i) for i in range(20)]
    best = logits.argmax(dim=-1).tolist()
    assert choose(logits, draws, 0, 1.0) == choose(logits, draws, 0.001, 1.0) == best


def test_a_batch_says_what_plain_forward_passes_say(tiny):
    """The oracle: one row, no cache, no padding, everything computed anew for every token."""
    for request, completion in zip(
        requests(6), sample_batch(tiny, requests(6), max_new_tokens=12), strict=True
    ):
        ids, tokens = list(request.ids), []
        while len(tokens) < 12:
            with torch.inference_mode():
                logits = tiny.model(torch.tensor([ids + tokens])).logits[:, -1]
            (token,) = choose(logits, [uniform(request.key, len(tokens))], 1.0, 1.0)
            if token in tiny.stop_ids:
                break
            tokens.append(token)
        assert completion.text == tiny.tokenizer.decode(tokens, skip_special_tokens=True)


def test_answers_do_not_depend_on_their_company(tiny):
    together = sample_batch(tiny, requests(6), max_new_tokens=12)
    assert together == [c for r in requests(6) for c in sample_batch(tiny, [r], max_new_tokens=12)]
    assert together == sample_batch(tiny, requests(6)[::-1], max_new_tokens=12)[::-1]


def test_keys_make_the_difference(tiny):
    assert (
        len({c.text for c in sample_batch(tiny, requests(9, PROMPTS[:1]), max_new_tokens=9)}) == 9
    )
    greedy = sample_batch(tiny, requests(9, PROMPTS[:1]), temperature=0, max_new_tokens=9)
    assert len(set(greedy)) == 1


def test_answers_end_at_the_stop_token_or_the_limit(tiny):
    left = []
    completions = sample_batch(tiny, requests(60), max_new_tokens=60, on_token=left.append)
    assert {c.finish for c in completions} == {"stop", "length"}
    assert all(c.tokens == 60 for c in completions if c.finish == "length")
    assert not any("<end>" in c.text for c in completions)
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert len(left) == 60


def test_only_sentences_of_the_grammar_are_said(tiny):
    completions = constrained(tiny, 'start: "a" | "a" "b" | "cde"')
    assert {(c.text, c.finish) for c in completions} == {
        ("a", "stop"),  # could have gone on
        ("ab", "grammar"),
        ("cde", "grammar"),
    }
    assert {(c.finish, c.tokens) for c in completions} == {
        ("stop", 2),
        ("grammar", 2),
        ("grammar", 3),
    }


def test_each_answer_has_its_own_grammar(tiny):
    grammars = ['start: "x"', None, 'start: ("y" | "z")+', None]
    free = sample_batch(tiny, requests(4), max_new_tokens=8)
    mixed = sample_batch(
        tiny, requests(4), max_new_tokens=8, constraint=GrammarConstraint(tiny, grammars)
    )
    assert mixed[0].text == "x"
    assert set(mixed[2].text) <= {"y", "z"}
    assert (mixed[1], mixed[3]) == (free[1], free[3])
    alone = sample_batch(
        tiny, requests(4)[2:3], max_new_tokens=8, constraint=GrammarConstraint(tiny, grammars[2:3])
    )
    assert alone == [mixed[2]]


def test_what_the_limit_cuts_off_is_shortened_to_a_sentence_and_says_so(tiny):
    (cut,) = constrained(tiny, 'start: "ab" "cdef"?', 1, limit=4, temperature=0.001)
    assert (cut.text, cut.finish, cut.tokens) in {("ab", "length", 4), ("ab", "stop", 3)}
    cut = constrained(tiny, 'start: "ab" | "abcdef"', 40, limit=4)
    assert {(c.text, c.finish) for c in cut} == {("ab", "stop"), ("ab", "length")}


def test_a_cut_off_text_without_a_whole_sentence_stays(tiny):
    (cut,) = constrained(tiny, 'start: "abcdef"', 1, limit=4)
    assert (cut.text, cut.finish) == ("abcd", "length")


def test_a_grammar_may_allow_silence_and_any_letters(tiny):
    assert constrained(tiny, 'start: ""', 1)[0].text == ""
    assert constrained(tiny, 'start: "é – 漢"', 1, limit=20)[0].text == "é – 漢"


def test_greedy_and_top_p_within_a_grammar(tiny):
    digits = "start: /[0-9]{5}/"
    for how in ({"temperature": 0}, {"top_p": 0.2}, {"top_p": 1e-9}, {"temperature": 50.0}):
        completions = constrained(tiny, digits, 12, **how)
        assert all(c.text.isdigit() and len(c.text) == 5 for c in completions)
    assert len({c.text for c in constrained(tiny, digits, 12, temperature=0)}) <= len(PROMPTS)


def test_a_grammar_that_is_none_is_one_line(tiny):
    with pytest.raises(InputError, match=r'^the grammar is not valid: .*"nothing"') as caught:
        GrammarConstraint(tiny, ["start: nothing"])
    assert "\n" not in str(caught.value)
