"""Rewording and renaming: new to the bank, consistent, and the same problem underneath."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pipeline.evaluation import Judge
from pipeline.prompts import load_template
from pipeline.robustness import load_renamings, paraphrase, paraphrased, renamed
from pipeline.tasks import Task, load_tasks, scene_of
from verifier.canonical import canonical
from verifier.checker import Checker
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.steps import steps_to_controller
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

CORPUS = Path(__file__).parent.parent / "data" / "corpus" / "answers.jsonl"
WORDS = load_vocabulary()
BANK = load_tasks()
TEST = [task for task in BANK if task.split == "test"]
TEMPLATE = load_template("observed")
RENAMINGS = load_renamings(WORDS)
SEMANTICS = load_semantics("default")
MANOEUVRES = {"turn_left": "left", "turn_right": "right", "go_straight": "straight"}

each_renaming = pytest.mark.parametrize("renaming", RENAMINGS.values(), ids=list(RENAMINGS))


def same(one: Controller | None, other: Controller | None) -> bool:
    """Whether two controllers do the same, in whatever words they were given."""
    assert one is not None
    assert other is not None
    return canonical(one) == canonical(other)


def test_paraphrases_follow_no_wording_of_the_bank():
    known = {task.prompt for task in BANK}
    openings = {task.prompt.split()[0] for task in BANK}
    for task in BANK:
        new = paraphrase(task)
        assert new.prompt not in known
        assert new.prompt.split()[0] not in openings
        assert dataclasses.replace(new, prompt=task.prompt) == task
        assert paraphrase(task) == new


def test_paraphrases_keep_place_and_direction():
    new = {task.prompt: paraphrase(task).prompt for task in TEST}
    assert len({prompt.split()[0] for prompt in new.values()}) == 6
    for task in TEST:
        said = new[task.prompt]
        assert MANOEUVRES[task.action] in said
        others = {*MANOEUVRES.values()} - {MANOEUVRES[task.action]}
        assert not any(re.search(rf"\b{side}\b(?!-turn)", said) for side in others)
        assert not said.startswith("do what")
    assert sum("T-junction" in said for said in new.values()) == 4


def test_a_wording_without_a_place_is_kept_behind_an_introduction():
    task = Task("t", "turn left", "t_junction", "turn_left", "test")
    assert paraphrase(task).prompt == "do what you have been told, which is to turn left"


def test_other_domains_have_none():
    with pytest.raises(InputError, match=r"no paraphrases .* 'chess'.*: driving"):
        paraphrase(BANK[0], "chess")


@each_renaming
def test_nothing_of_the_old_words_is_left_in_a_prompt(renaming):
    for variation in renamed(TEST, TEMPLATE, WORDS):
        if variation.renaming.name != renaming.name:
            continue
        text = "\n".join(message.content for message in variation.prompt.messages).lower()
        for word in renaming.words:
            assert not re.search(rf"\b{word}\b(?! traffic)", text)
        for phrase in scene_of(variation.task, WORDS).propositions:
            assert (
                renaming.renamed.propositions[WORDS.proposition_names.index(phrase)].phrase in text
            )


@each_renaming
def test_the_new_words_mean_nothing_in_the_old_language(renaming):
    for new in renaming.renamed.propositions:
        text = f"1. If there is a {new.phrase}, stop."
        assert steps_to_controller(text, WORDS, "natural").controller is None
        assert renaming.align(text, "natural").controller is not None
    for old in WORDS.propositions:
        if old.name in renaming.names.values():
            continue
        text = f"1. If there is a {old.phrase}, stop."
        assert renaming.align(text, "natural").controller is None
        assert steps_to_controller(text, WORDS, "natural").controller is not None


@each_renaming
def test_capitals_survive(renaming):
    assert renaming.apply("Cars and a car. The scar.") == (
        renaming.words["cars"].capitalize() + f" and a {renaming.words['car']}. The scar."
    )


def controllers(renaming) -> dict[str, Controller]:
    """What renamed answers of several kinds say, over the original names."""
    car, walker, light = (
        next(p.phrase for p in renaming.renamed.propositions if p.name == renaming.names[name])
        for name in ("car_from_left", "pedestrian_at_right", "green_traffic_light")
    )
    lamp = light.removeprefix("green ")
    texts = {
        "waits": f"1. If the {lamp} is green and there is no {car} and no {walker}, turn right.",
        "hasty": "1. Turn right.",
        "half": f"1. If there is a {walker}, stop.\n2. Turn right.",
        "looks": f"1. Observe the {car}.\n2. Wait until there is no {car}.\n3. Turn right.",
        "red": f"1. If the {lamp} is red, stop.\n2. Turn right.",
    }
    found = {name: renaming.align(text, SEMANTICS.conditional) for name, text in texts.items()}
    assert all(alignment.controller for alignment in found.values()), found
    return {name: alignment.controller for name, alignment in found.items()}


@each_renaming
def test_verdicts_are_those_of_the_renamed_controller_in_the_renamed_world(renaming):
    """Isomorphism: world, rules and controller renamed by hand, checked as strangers."""
    task = next(t for t in BANK if t.world == "paper_traffic_light" and t.action == "turn_right")
    judge = Judge(WORDS, SEMANTICS)
    world = load_world(task.world, WORDS)
    strange_world = dataclasses.replace(
        world,
        propositions=tuple(map(renaming.names.get, world.propositions)),
        labels=tuple(frozenset(map(renaming.names.get, label)) for label in world.labels),
        assumptions=tuple(
            dataclasses.replace(one, formula=renaming.formula(one.formula))
            for one in world.assumptions
        ),
    )
    rules = judge.rules_of(task)
    strange_rules = dataclasses.replace(
        rules,
        specifications=tuple(
            dataclasses.replace(
                rule,
                formula=renaming.formula(rule.formula),
                applies_if=rule.applies_if and renaming.formula(rule.applies_if),
            )
            for rule in rules.specifications
        ),
    )
    there = Checker(strange_world, strange_rules, SEMANTICS, renaming.renamed)
    here = judge.checker(task.world, rules)
    verdicts = set()
    for controller in controllers(renaming).values():
        strange = dataclasses.replace(
            controller,
            transitions=tuple(
                dataclasses.replace(t, guard=renaming.formula(t.guard))
                for t in controller.transitions
            ),
        )
        assert renaming.controller_back(strange) == controller
        expected = [(v.id, v.value) for v in there.check(strange).verdicts]
        assert [(v.id, v.value) for v in here.check(controller).verdicts] == expected
        verdicts |= {value for _, value in expected}
    assert {"satisfied", "violated"} <= verdicts


def test_variations_take_turns_and_keep_the_task():
    variations = renamed(TEST, TEMPLATE, WORDS)
    names = [variation.renaming.name for variation in variations]
    assert names == [[*RENAMINGS][i % 2] for i in range(len(TEST))]
    for task, variation in zip(TEST, variations, strict=True):
        assert dataclasses.replace(variation.task, prompt=task.prompt) == task
        assert variation.task.prompt in variation.prompt.messages[-1].content
    assert [v.task for v in paraphrased(TEST, TEMPLATE, WORDS)] == [paraphrase(t) for t in TEST]


def test_a_renamed_answer_in_the_old_words_is_not_understood():
    judge = Judge(WORDS, SEMANTICS)
    (variation,) = renamed(TEST[:1], TEMPLATE, WORDS)
    answer = "1. If there is no car from left, turn left."
    assert variation.judge(judge, answer).controller is None
    said = variation.judge(judge, variation.renaming.apply(answer))
    plain = judge.judge(TEST[0], answer)
    assert same(said.controller, plain.controller)
    assert said.to_json()["road"] == plain.to_json()["road"]


@each_renaming
def test_every_proposition_can_be_spoken_of(renaming):
    for old in WORDS.propositions:
        text = f"1. If there is no {old.phrase}, turn left.\n2. If there is a {old.phrase}, stop."
        plain = steps_to_controller(text, WORDS, "natural").controller
        assert same(renaming.align(renaming.apply(text), "natural").controller, plain)


@each_renaming
def test_sampled_answers_mean_the_same_in_new_words_or_nothing(renaming):
    """Synonyms are lost, but nothing is ever taken for something else."""
    lines = CORPUS.read_text("utf-8").splitlines()[::5]
    texts = [json.loads(line)["text"] for line in lines]
    kept = lost = 0
    for text in texts:
        plain = steps_to_controller(text, WORDS, "natural").controller
        said = renaming.align(renaming.apply(text), "natural").controller
        if plain is None:
            assert said is None
        elif said is None:
            lost += 1
        else:
            assert same(said, plain)
            kept += 1
    assert kept > 2 * lost
