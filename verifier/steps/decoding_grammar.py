"""A grammar for constrained decoding: numbered steps that the reader is sure to understand.

In the Lark-like syntax of llguidance, and only in its plain part: rules whose alternatives are
sequences of quoted texts and names of rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from verifier.errors import InputError
from verifier.steps.expressions import Literal
from verifier.steps.lexicon import lexicon_of
from verifier.steps.realise import article
from verifier.vocabulary import Vocabulary

_MOST_CLAUSES = 4
_MOST_LISTED = 3

_Rules = dict[str, list[list[str]]]


def decoding_grammar(
    vocabulary: Vocabulary, propositions: Sequence[str], actions: Sequence[str], max_steps: int
) -> str:
    """A grammar of one to ``max_steps`` steps over some propositions and actions.

    Steps observe, wait, act, or act under conditions with or without "otherwise". Jumps go to the
    step itself or an earlier one, so that they never miss.

    Raises:
        InputError: No actions or steps, or unknown names.
    """
    _check("action", actions, vocabulary.action_names)
    _check("proposition", propositions, vocabulary.proposition_names)
    if not actions or max_steps < 1:
        raise InputError("nothing to say", remedy="give at least one action and one step")
    rules: _Rules = {"start": [["step_1"]]}
    for number in range(1, max_steps + 1):
        rules |= _numbered(number, max_steps, bool(propositions))
    phrases = [vocabulary.action(name).phrase for name in actions]
    rules["act"] = [[_quote(phrase)] for phrase in phrases]
    rules["act_first"] = [[_quote(phrase[0].upper() + phrase[1:])] for phrase in phrases]
    if propositions:
        rules |= _conditions(vocabulary, propositions)
    return "".join(f"{name}: {_alternatives(body)}\n" for name, body in rules.items())


def _check(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}", remedy=f"known: {', '.join(known)}")


def _numbered(number: int, max_steps: int, conditions: bool) -> _Rules:
    """The rules of step ``number`` and of what may follow it."""
    head, body = _quote(f"{number}. "), f"body_{number}"
    branch = f"branch_{number}"
    step = [[head, body]]
    if number < max_steps:
        step.append([head, body, _quote("\n"), f"step_{number + 1}"])
    back = [f'" and go to step {k}"' for k in range(1, number + 1)]
    branches = [["act"], *(["act", text] for text in back)]
    branches += [[_quote(f"go to step {k}")] for k in range(1, number + 1)]
    bodies = [["act_first", _quote(".")]]
    if conditions:
        stop = _quote(".")
        bodies += [
            ['"Observe "', "things", stop],
            ['"Check "', "things", stop],
            ['"Wait until "', "condition", stop],
            ['"Wait until "', "condition", '", then "', "act", stop],
            ['"If "', "condition", '", "', branch, stop],
            ['"If "', "condition", '", "', branch, '"; otherwise, "', branch, stop],
        ]
    rules: _Rules = {f"step_{number}": step, body: bodies}
    return rules | ({branch: branches} if conditions else {})


def _conditions(vocabulary: Vocabulary, propositions: Sequence[str]) -> _Rules:
    phrases = {name: vocabulary.proposition(name).phrase for name in propositions}
    some = [f"{article(phrase)} {phrase}" for phrase in phrases.values()]
    rules: _Rules = {
        "thing": [[_quote(f"the {phrase}")] for phrase in phrases.values()],
        "some": [[_quote(phrase)] for phrase in some],
        "none": [[_quote(phrase)] for phrase in phrases.values()],
    }
    rules |= _list("things", "thing", " and ", _MOST_LISTED)
    rules |= _list("somes", "some", " or ", _MOST_LISTED)
    rules |= _list("nones", "none", " or ", _MOST_LISTED)
    rules |= _list("condition", "clause", " and ", _MOST_CLAUSES)
    rules["clause"] = [
        ['"there is "', "somes"],
        ['"there is no "', "nones"],
        ['"there is neither "', "some", '" nor "', "some"],
        *([_quote(text)] for text in _lamps(vocabulary, phrases)),
    ]
    return rules


def _lamps(vocabulary: Vocabulary, phrases: Mapping[str, str]) -> Iterator[str]:
    """ "the traffic light is (not) green" for the propositions that lamps show."""
    language = vocabulary.language.get("language", {})
    for name, noun in lexicon_of(vocabulary).nouns.items():
        for shown, expression in noun.shows.items():
            if isinstance(expression, Literal) and expression.name in phrases:
                lamp = language["nouns"][name]["words"][0]
                word = language["shows"][shown][0]
                yield f"the {lamp} is {word}"
                yield f"the {lamp} is not {word}"


def _list(name: str, item: str, separator: str, most: int) -> _Rules:
    """Rules for one to ``most`` items."""
    rules: _Rules = {}
    for left in range(most, 0, -1):
        own = name if left == most else f"{name}_{left}"
        more = [[item, _quote(separator), f"{name}_{left - 1}"]] if left > 1 else []
        rules[own] = [[item], *more]
    return rules


def _quote(text: str) -> str:
    return json.dumps(text)


def _alternatives(body: Sequence[Sequence[str]]) -> str:
    return " | ".join(" ".join(parts) for parts in body)
