"""Changes of a prompt under which a good answer should stay good: rewording and renaming.

Rewording asks for the same in patterns that no task of the shipped bank follows. Renaming replaces
the things that can be observed by others, consistently in prompt, world and rules: a model that
has learned to drive by what it is told can, one that has learned phrases by heart cannot.

A renamed answer is read in the renamed words, and its controller is carried back to the original
names: checking it in the original world under the original rules is the same as checking it in the
renamed world under the renamed rules, because verdicts do not depend on names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.evaluation import Judge, Judged
from pipeline.prompts import Message, Prompt, Template
from pipeline.tasks import Task, task_prompt
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.semantics import Conditional
from verifier.steps import Alignment, steps_to_controller
from verifier.vocabulary import Action, Proposition, Vocabulary
from verifier.yaml_files import load_mapping

_DATA = Path(__file__).parent / "data" / "robustness"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def paraphrase(task: Task, domain: str = "driving") -> Task:
    """The task in other words; which ones follows from its id alone.

    A wording in which no place is found is kept and put behind an introduction.

    Raises:
        InputError: There are no paraphrases for this domain.
    """
    data = _data(domain)
    words = data["manoeuvres"].get(task.action)
    found = (re.search(pattern, task.prompt) for pattern in data["places"])
    place = next((match["place"] for match in found if match), None)
    if words is None or place is None:
        return dataclasses.replace(task, prompt=data["otherwise"].format(task=task.prompt))
    patterns = data["paraphrases"]
    digest = hashlib.sha256(task.id.encode()).digest()
    pattern = patterns[int.from_bytes(digest[:8], "big") % len(patterns)]
    return dataclasses.replace(task, prompt=pattern.format(place=place, **words))


@dataclass(frozen=True)
class Renaming:
    """A bijection between the words for things in a vocabulary and other words.

    Attributes:
        name: What it is called.
        words: Phrase -> new phrase, in small letters. Longer phrases go first.
        vocabulary: The words it renames.
    """

    name: str
    words: Mapping[str, str]
    vocabulary: Vocabulary

    def apply(self, text: str) -> str:
        """The text with every renamed phrase replaced; a capital letter in front stays one."""
        return _replace(text, self.words)

    def prompt(self, prompt: Prompt) -> Prompt:
        """The conversation, renamed throughout."""
        messages = tuple(Message(m.role, self.apply(m.content)) for m in prompt.messages)
        return dataclasses.replace(prompt, messages=messages)

    @cached_property
    def names(self) -> dict[str, str]:
        """Proposition -> its new name, in the vocabulary's order."""
        return {name: self._name(name) for name in self.vocabulary.proposition_names}

    @cached_property
    def renamed(self) -> Vocabulary:
        """The vocabulary in which answers to renamed prompts are read.

        Of a thing that has been renamed only the new words are known.
        """
        propositions = tuple(
            Proposition(self.names[p.name], *map(self.apply, (p.phrase, p.appears, p.disappears)))
            for p in self.vocabulary.propositions
        )
        actions = tuple(
            Action(a.name, self.apply(a.phrase), self.apply(a.does))
            for a in self.vocabulary.actions
        )
        language = self._language(self.vocabulary.language.get("language", {}))
        data = {**self.vocabulary.language, "language": language}
        return Vocabulary(f"{self.vocabulary.name} ({self.name})", propositions, actions, data)

    def align(self, text: str, conditional: Conditional) -> Alignment:
        """What an answer to a renamed prompt says, as a controller over the original names."""
        alignment = steps_to_controller(text, self.renamed, conditional)
        if alignment.controller is None:
            return alignment
        return Alignment(self.controller_back(alignment.controller), ())

    def formula(self, formula: str) -> str:
        """A formula over the original names, over the new ones."""
        return _rename(formula, self.names)

    def controller_back(self, controller: Controller) -> Controller:
        """A controller over the new names, over the original ones."""
        old = {new: name for name, new in self.names.items()}
        transitions = tuple(
            dataclasses.replace(t, guard=_rename(t.guard, old)) for t in controller.transitions
        )
        return dataclasses.replace(controller, transitions=transitions)

    def _name(self, name: str) -> str:
        return re.sub(r"\W", "_", self.apply(name.replace("_", " ")))

    def _language(self, language: Mapping[str, Any]) -> dict[str, Any]:
        renamed = dict(language)
        changed: dict[str, Callable[[Any], Any]] = {
            "nouns": lambda nouns: {name: self._noun(body) for name, body in nouns.items()},
            "phrases": lambda phrases: {
                self.apply(phrase): self.formula(formula)
                for phrase, formula in phrases.items()
                if self.apply(phrase) != phrase
            },
            "awaited": lambda names: [self.names[name] for name in names],
            "scenery": lambda words: [self.apply(word) for word in words],
            "adjuncts": lambda groups: [
                {**group, "places": [self.apply(place) for place in group["places"]]}
                for group in groups
            ],
        }
        for key, change in changed.items():
            if key in renamed:
                renamed[key] = change(renamed[key])
        return renamed

    def _noun(self, body: Mapping[str, Any]) -> dict[str, Any]:
        new = dict(body)
        own = [self.apply(word) for word in body["words"] if self.apply(word) != word]
        new["words"] = list(dict.fromkeys(own)) or body["words"]
        if "at" in body:
            new["at"] = {k: [self.formula(f) for f in names] for k, names in body["at"].items()}
        if "shows" in body:
            new["shows"] = {k: self.formula(f) for k, f in body["shows"].items()}
        if "is" in body:
            new["is"] = self.formula(body["is"])
        return new


@dataclass(frozen=True)
class Variation:
    """A task asked for in another way.

    Attributes:
        task: The task; its wording is the one that is asked.
        prompt: The conversation.
        renaming: What the conversation's words have been replaced by, if they have.
    """

    task: Task
    prompt: Prompt
    renaming: Renaming | None = None

    def judge(self, judge: Judge, text: str) -> Judged:
        """The verdicts on an answer, read in the words of the conversation."""
        if self.renaming is None:
            return judge.judge(self.task, text)
        alignment = self.renaming.align(text, judge.semantics.conditional)
        return judge.judge_alignment(self.task, text, alignment)


def paraphrased(
    tasks: Sequence[Task], template: Template, vocabulary: Vocabulary
) -> list[Variation]:
    """Every task in other words.

    Raises:
        InputError: As `paraphrase`.
    """
    reworded = [paraphrase(task, vocabulary.name) for task in tasks]
    return [Variation(task, task_prompt(task, template, vocabulary)) for task in reworded]


def renamed(tasks: Sequence[Task], template: Template, vocabulary: Vocabulary) -> list[Variation]:
    """Every task in other names; the renamings take turns.

    Raises:
        InputError: As `load_renamings`.
    """
    renamings = list(load_renamings(vocabulary).values())
    return [
        Variation(
            dataclasses.replace(task, prompt=renaming.apply(task.prompt)),
            renaming.prompt(task_prompt(task, template, vocabulary)),
            renaming,
        )
        for i, task in enumerate(tasks)
        for renaming in [renamings[i % len(renamings)]]
    ]


def load_renamings(vocabulary: Vocabulary) -> dict[str, Renaming]:
    """The shipped renamings of a vocabulary by name, mildest first.

    Raises:
        InputError: There are none for this vocabulary, or one is no bijection.
    """
    renamings = {
        name: Renaming(name, words, vocabulary)
        for name, words in _data(vocabulary.name)["renamings"].items()
    }
    for name, renaming in renamings.items():
        new = [*renaming.words.values()]
        twice = {word for word in new if new.count(word) > 1} | {*new} & {*renaming.words}
        if twice or len({*renaming.names.values()}) < len(renaming.names):
            raise InputError(
                f"the renaming {name!r} gives two things one name",
                file=_DATA / f"{vocabulary.name}.yaml",
                remedy="use distinct words",
            )
    return renamings


def has_robustness(domain: str) -> bool:
    """Whether there are paraphrases and renamings for a domain (a vocabulary's name)."""
    return (_DATA / f"{domain}.yaml").exists()


@cache
def _data(domain: str) -> dict[str, Any]:
    if not has_robustness(domain):
        shipped = ", ".join(sorted(path.stem for path in _DATA.glob("*.yaml")))
        raise InputError(
            f"no paraphrases and renamings for the vocabulary {domain!r}",
            remedy=f"there are some for: {shipped}",
        )
    return load_mapping(_DATA / f"{domain}.yaml")


def _replace(text: str, words: Mapping[str, str]) -> str:
    def new(match: re.Match[str]) -> str:
        word = words[match[0].lower()]
        return word[0].upper() + word[1:] if match[0][0].isupper() else word

    longest_first = sorted(words, key=len, reverse=True)
    pattern = r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b"
    return re.sub(pattern, new, text, flags=re.IGNORECASE) if words else text


def _rename(formula: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: names.get(match[0], match[0]), formula)
