"""Prompt templates: shipped ones, filling in, and complaints about files that are wrong."""

import pytest

from pipeline.evaluation import Judge
from pipeline.prompts import (
    Message,
    Prompt,
    Scene,
    chat_text,
    load_template,
    render,
    shipped_templates,
)
from pipeline.tasks import load_tasks
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.steps import steps_to_controller
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
SCENE = Scene(
    prompt="turn left at the stop sign",
    action="turn_left",
    propositions=("car_from_right", "stop_sign", "car_from_left"),
    actions=("turn_left", "stop"),
    steps="1. Look.\n",
)


def filled(name, scene=SCENE):
    return render(load_template(name), task="t", scene=scene, vocabulary=VOCABULARY)


def test_shipped():
    assert shipped_templates() == ("align", "observed", "plain")
    assert all(load_template(name).name == name for name in shipped_templates())


def test_plain_is_the_papers():
    (message,) = filled("plain").messages
    assert message == Message("user", 'Steps for "turn left at the stop sign":')


def test_observed_lists_phrases_in_the_vocabularys_order():
    last = filled("observed").messages[-1]
    assert last.role == "user"
    assert last.content.splitlines() == [
        "Write numbered steps to turn left at the stop sign. "
        "Use only these observations: car from left, car from right, stop sign. "
        "Use only these actions: stop, turn left."
    ]


@pytest.mark.parametrize("action", ["turn_left", "turn_right", "go_straight"])
def test_example_is_of_another_manoeuvre(action):
    scene = Scene(prompt="x", action=action, propositions=("stop_sign",), actions=("stop", action))
    question, answer, _ = filled("observed", scene).messages
    phrase = VOCABULARY.action(action).phrase
    assert phrase not in question.content + answer.content


def test_examples_can_be_read():
    for example in load_template("observed").examples:
        assert steps_to_controller(example.steps, VOCABULARY, "natural").controller


def test_alignment_prompt_has_the_steps():
    (message,) = filled("align").messages
    assert message.content.startswith("Align the following steps to ")
    assert message.content.endswith("\n1. Look.")
    assert "{car from left, car from right, stop sign}" in message.content


def test_hash_is_of_the_conversation_only():
    messages = filled("plain").messages
    assert Prompt("a", "b", messages).hash == Prompt("c", "d", messages).hash
    assert filled("plain").hash != filled("observed").hash


def test_names_outside_the_vocabulary():
    with pytest.raises(InputError, match="'moon' is not in the vocabulary 'driving'"):
        filled("plain", Scene("x", None, ("moon",), ("stop",)))


def test_tokenizer_without_chat_format():
    prompt = Prompt("t", "x", (Message("system", "Be brief."), Message("user", "Go?")))
    assert chat_text(object(), prompt) == "Be brief.\n\nGo?\n"


USER = "{role: user, content: hello}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("messages: []", "no messages"),
        ("messages: hello", "messages must be a list"),
        (f"messages: [{USER}]\nsystem: x", "unknown field 'system'"),
        ("messages: [{role: user}]", "message 1: must have role and content"),
        ("messages: [{role: robot, content: x}]", "roles: system, user, assistant"),
        (f"messages: [{USER}, {{role: assistant, content: x}}]", "must be the user's"),
        ("messages: [{role: user, content: 'do {this}'}]", "unknown field {this}"),
        ("messages: [{role: user, content: 'a { b'}]", "write {{ and }} for braces"),
        ("messages: [{role: user, content: '{example_task}'}]", "none for every task"),
        (f"messages: [{USER}]\nexamples: [{{prompt: x}}]", "example 1: is not an example"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, complaint):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_template(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_template():
    with pytest.raises(InputError, match="use one of align, observed, plain"):
        load_template("none")


@pytest.mark.parametrize("profile", ["default", "paper"])
def test_no_example_solves_any_task(profile):
    judge = Judge(VOCABULARY, load_semantics(profile))
    examples = load_template("observed").examples
    for task in {(t.world, t.action): t for t in load_tasks()}.values():
        example = next(e for e in examples if e.action != task.action)
        phrases = [VOCABULARY.action(name).phrase for name in (example.action, task.action)]
        exchanged = example.steps.replace(*phrases)
        assert exchanged != example.steps
        for steps in (example.steps, exchanged):
            assert not judge.judge(task, steps).strict_success, task.id
