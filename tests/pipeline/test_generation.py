"""Answers: reproducible, cached by content, and within the vocabulary when constrained."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.generation import Sampling, generate
from pipeline.models import load_model
from pipeline.prompts import Message, Prompt, load_template
from pipeline.sampling import sample_tasks
from pipeline.tasks import load_tasks
from verifier.errors import InputError
from verifier.steps import steps_to_controller
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
SHORT = Sampling(max_new_tokens=6, seed=3)


def prompt(content, task="t"):
    return Prompt(task, "plain", (Message("user", content),))


PROMPTS = [prompt("one"), prompt("a second one"), prompt("3")]


def texts(answers):
    return [answer.text for answer in answers]


def test_answers_come_in_order_with_what_they_follow_from(tiny, tmp_path):
    answers = generate(tiny, PROMPTS, 2, SHORT, cache=tmp_path)
    assert [(a.prompt, a.sample) for a in answers] == [(p.hash, i) for p in PROMPTS for i in (0, 1)]
    assert len(set(texts(answers))) == 6
    assert json.loads(json.dumps(answers[0].to_json())) == {
        "task": "t",
        "template": "plain",
        "prompt": PROMPTS[0].hash,
        "sample": 0,
        "text": answers[0].text,
        "finish": "length",
        "tokens": 6,
        "model": tiny.hash,
        "sampling": {
            "temperature": 1.0,
            "top_p": 1.0,
            "max_new_tokens": 6,
            "seed": 3,
            "grammar": None,
        },
    }


def test_same_seed_same_answers_whatever_the_batches(tiny, tmp_path):
    reference = generate(tiny, PROMPTS, 3, SHORT, cache=tmp_path / "a")
    for number, size in enumerate((1, 2, 100)):
        cache = tmp_path / str(number)
        assert reference == generate(tiny, PROMPTS, 3, SHORT, cache=cache, batch_size=size)
    backwards = generate(tiny, PROMPTS[::-1], 3, SHORT, cache=tmp_path / "b")
    assert {(a.prompt, a.sample, a.text) for a in backwards} == {
        (a.prompt, a.sample, a.text) for a in reference
    }


def test_other_seed_other_answers(tiny, tmp_path):
    first = generate(tiny, PROMPTS, 2, SHORT, cache=tmp_path)
    other = generate(tiny, PROMPTS, 2, replace(SHORT, seed=4), cache=tmp_path)
    assert not set(texts(first)) & set(texts(other))


def test_more_samples_keep_the_first(tiny, tmp_path):
    few = generate(tiny, PROMPTS[:1], 2, SHORT, cache=tmp_path)
    assert few == generate(tiny, PROMPTS[:1], 5, SHORT, cache=tmp_path)[:2]
    assert few == generate(tiny, PROMPTS[:1], 2, SHORT, cache=tmp_path)


def test_cached_answers_need_no_model(tiny, tmp_path):
    answers = generate(tiny, PROMPTS, 2, SHORT, cache=tmp_path)
    again = load_model(tiny.folder, device="cpu")
    seen = []
    assert generate(again, PROMPTS, 2, SHORT, cache=tmp_path, on_answers=seen.extend) == answers
    assert seen == answers
    assert not {"model", "tokenizer"} & set(vars(again))


def test_cache_is_read_as_it_was_written(tiny, tmp_path):
    (answer,) = generate(tiny, PROMPTS[:1], 1, SHORT, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    odd = "1. Stop.\n\u2028\x85\r\n  é\t"
    row = {"sample": 0, "text": odd, "tokens": 6, "finish": "stop"}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8", newline="")
    assert generate(tiny, PROMPTS[:1], 1, SHORT, cache=tmp_path)[0].text == odd
    assert generate(tiny, PROMPTS[:1], 2, SHORT, cache=tmp_path)[0].text == odd
    assert generate(tiny, PROMPTS[:1], 2, SHORT, cache=tmp_path)[0].text == odd
    for damaged in (b"", b"{", b"\xff\xfe", b"[1]\n", b'{"sample": 0}\n', b"null\n"):
        file.write_bytes(damaged)
        assert generate(tiny, PROMPTS[:1], 1, SHORT, cache=tmp_path) == [answer]


def test_everything_that_matters_is_in_the_key(tiny, tmp_path):
    settings = [
        SHORT,
        replace(SHORT, temperature=0.5),
        replace(SHORT, top_p=0.5),
        replace(SHORT, max_new_tokens=5),
        replace(SHORT, seed=0),
        replace(SHORT, grammar="start: /[a-z]+/"),
    ]
    for sampling in settings:
        generate(tiny, PROMPTS[:1], 1, sampling, cache=tmp_path)
    generate(replace(tiny, hash="sha256:0"), PROMPTS[:1], 1, SHORT, cache=tmp_path)
    generate(tiny, [prompt("other")], 1, SHORT, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == len(settings) + 2


def test_equal_prompts_are_sampled_once_and_each_reported(tiny, tmp_path):
    seen = []
    both = [prompt("same", "a"), prompt("same", "b")]
    a, b = generate(tiny, both, 1, SHORT, cache=tmp_path, on_answers=seen.extend)
    assert (a.task, b.task) == ("a", "b")
    assert replace(a, task="b") == b
    assert seen == [a, b]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_grammar_for_each_prompt(tiny, tmp_path):
    grammars = ["start: /[a-z]{4}/", None, "start: /[0-9]{4}/"]
    answers = generate(tiny, PROMPTS, 3, SHORT, grammars=grammars, cache=tmp_path)
    assert all(t.isalpha() and len(t) == 4 for t in texts(answers)[:3])
    assert answers[3:6] == generate(tiny, PROMPTS[1:2], 3, SHORT, cache=tmp_path)
    assert all(t.isdigit() and len(t) == 4 for t in texts(answers)[6:])
    assert len({str(a.sampling["grammar"]) for a in answers}) == 3
    one = generate(tiny, PROMPTS[2:], 3, replace(SHORT, grammar=grammars[2]), cache=tmp_path)
    assert one == answers[6:]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": 1e-6},
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"max_new_tokens": 0},
    ],
)
def test_settings_out_of_range(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=f"cannot sample with .*{name} {value}.*; use temperature"):
        Sampling(**wrong)


def test_a_cache_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: .*; choose another place"):
        generate(tiny, PROMPTS[:1], 1, SHORT, cache=tmp_path / "file")


def test_nothing_asked_nothing_done(tiny, tmp_path):
    assert generate(tiny, [], 3, SHORT, cache=tmp_path) == []
    assert generate(tiny, PROMPTS, 0, SHORT, cache=tmp_path) == []


IMPORTS = """
import sys
import pipeline, pipeline.tasks, pipeline.prompts, pipeline.generation, pipeline.sampling
import pipeline.alignment
{code}
print(sorted({{"torch", "transformers", "llguidance", "numpy"}} & set(sys.modules)))
"""


def loaded_after(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SPECDRIVE_CACHE": str(tmp_path)},
    )
    return done.stdout.splitlines()[-1]


def test_imports_are_light(tmp_path):
    assert loaded_after("", tmp_path) == "[]"


def test_cached_answers_import_nothing_heavy(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))
    (answer,) = generate(tiny, PROMPTS[:1], 1, SHORT)
    code = f"""
from pipeline.models import load_model
from pipeline.prompts import Message, Prompt
model = load_model({str(tiny.folder)!r}, device="cpu")
sampling = pipeline.generation.Sampling(max_new_tokens=6, seed=3)
prompt = Prompt("t", "plain", (Message("user", "one"),))
(answer,) = pipeline.generation.generate(model, [prompt], 1, sampling)
assert answer.text == {answer.text!r}
"""
    assert loaded_after(code, tmp_path) == "[]"


@pytest.fixture(scope="module")
def few_tasks():
    """Three tasks in as many worlds."""
    return list({task.world: task for task in load_tasks()}.values())[:3]


@pytest.mark.model
def test_constrained_answers_are_controllers(smollm2, few_tasks, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path))
    template, sampling = load_template("observed"), Sampling(1.0, 1.0, 40, 0)
    answers = sample_tasks(smollm2, few_tasks, template, VOCABULARY, 2, sampling, constrained=True)
    assert [a.task for a in answers[::2]] == [task.id for task in few_tasks]
    for answer in answers:
        # Forty tokens are room for a step at least, and what is cut off ends with a whole one.
        alignment = steps_to_controller(answer.text, VOCABULARY, "natural")
        assert alignment.controller, (answer.text, alignment.problems)


@pytest.mark.model
def test_the_real_model_is_reproducible(smollm2, few_tasks, tmp_path, monkeypatch):
    def sample(folder, tasks, seed):
        monkeypatch.setenv("SPECDRIVE_CACHE", str(tmp_path / folder))
        template, sampling = load_template("observed"), Sampling(0.8, 0.95, 10, seed)
        return sample_tasks(smollm2, tasks, template, VOCABULARY, 2, sampling)

    together = sample("a", few_tasks, 0)
    assert together[2:4] == sample("b", few_tasks[1:2], 0)
    assert together[2:4] != sample("c", few_tasks[1:2], 1)
    assert all(text.startswith("1. ") for text in texts(together))
