"""The phrases of a vocabulary and of English, arranged for longest-match lookup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from verifier.errors import InputError
from verifier.formulas import parse_boolean
from verifier.steps.expressions import Expression, Literal, any_of, expression_of
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import load_mapping

Kind = tuple[str, object]
"""A terminal of steps.lark and its value."""

POSSESSIVE = "your"
"""Counts only in phrases that have it."""

_REMEMBERED = 16
_LEXICONS: dict[int, tuple[Vocabulary, Lexicon]] = {}


class Place(NamedTuple):
    """Where something is.

    Attributes:
        name: Its key in the vocabulary file.
        how: "at", "to" (which may be where something is going), or "side" with no preposition.
    """

    name: str
    how: str


@dataclass(frozen=True, eq=False)
class Noun:
    """What a head noun can mean; compared by identity.

    Attributes:
        name: Its key in the vocabulary file.
        at: Place -> condition that it is there.
        anywhere: Condition that it is at any of its places; None if it needs more words.
        room: It is space to drive in, which is clear or not but never "present".
        shows: What a lamp shows -> condition.
        ignores: Places that do not change its meaning.
    """

    name: str
    at: Mapping[str, Expression] = field(default_factory=dict)
    anywhere: Expression | None = None
    room: bool = False
    shows: Mapping[str, Expression] = field(default_factory=dict)
    ignores: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Everything that the reader knows about words; one for a vocabulary, compared by identity.

    Attributes:
        trie: Word -> subtree; the key "" holds the kinds of the phrase that ends there.
        fillers: Words that are dropped.
        possessives: Words that are read as `POSSESSIVE`.
        numbers: Number words.
        nouns: The nouns of the vocabulary file, by key.
        headless: The noun meant by a place alone ("the left is clear").
        hold: Actions that hold while their condition lasts, under the natural reading.
        awaited: Propositions that one waits for to become true.
        phrases: All phrases.
        suggested: Those to suggest in place of unknown words: not the many places of actions.
    """

    trie: dict[str, Any]
    fillers: frozenset[str]
    possessives: frozenset[str]
    numbers: Mapping[str, int]
    nouns: Mapping[str, Noun]
    headless: Noun | None
    hold: frozenset[str]
    awaited: frozenset[str]
    phrases: tuple[str, ...]
    suggested: tuple[str, ...]


def lexicon_of(vocabulary: Vocabulary) -> Lexicon:
    """The lexicon of a vocabulary, built once.

    Raises:
        InputError: The language sections of the vocabulary file are malformed.
    """
    known = _LEXICONS.get(id(vocabulary))
    if known is not None:
        return known[1]
    lexicon = _build(vocabulary)
    if len(_LEXICONS) >= _REMEMBERED:
        _LEXICONS.clear()
    # The vocabulary is kept alive so that its id is not given to another one.
    _LEXICONS[id(vocabulary)] = (vocabulary, lexicon)
    return lexicon


@cache
def _english() -> dict[str, Any]:
    return load_mapping(Path(__file__).with_name("english.yaml"))


def _build(vocabulary: Vocabulary) -> Lexicon:
    english = _english()
    language = vocabulary.language.get("language", {})
    if not isinstance(language, dict):
        raise InputError("language must be a mapping", file=vocabulary.name, remedy="see driving")
    fillers = frozenset([*english["fillers"], *language.get("fillers", [])])
    trie: dict[str, Any] = {}
    phrases: set[str] = set()
    places: set[str] = set()
    nouns = _nouns(vocabulary, language)
    for phrase, kinds in dict(_entries(vocabulary, language, english, nouns)).items():
        _plant(trie, _normal(phrase, fillers), kinds)
        (places if kinds and kinds[0][0] == "ADJUNCT" else phrases).add(phrase)
    for proposition in vocabulary.propositions:
        noun = Noun(proposition.name, anywhere=Literal(proposition.name))
        for phrase in (proposition.phrase, proposition.name):
            words = _normal(phrase, fillers)
            phrases.add(" ".join(words))
            # A phrase that the nouns and places already make up must not hide longer ones.
            if not _composed(trie, words):
                _plant(trie, words, (("HEAD", noun),))
    numbers = {word: n for n, word in enumerate(english["numbers"], start=1)}
    return Lexicon(
        trie,
        fillers,
        frozenset(english["possessives"]),
        numbers,
        nouns,
        nouns.get(language.get("headless", "")),
        frozenset(language.get("hold", [])),
        frozenset(language.get("awaited", [])),
        tuple(sorted(phrases | places)),
        tuple(sorted(phrases)),
    )


def _normal(phrase: str, fillers: frozenset[str]) -> list[str]:
    words = phrase.lower().replace("-", " ").replace("_", " ").split()
    return [word for word in words if word not in fillers]


def _plant(trie: dict[str, Any], words: Sequence[str], kinds: tuple[Kind, ...]) -> None:
    for word in words:
        trie = trie.setdefault(word, {})
    trie[""] = kinds


def longest(words: Sequence[str], start: int, trie: dict[str, Any]) -> tuple[int, Sequence[Kind]]:
    """The end and the kinds of the longest phrase from ``start``; ``start`` if there is none."""
    end, kinds = start, ()
    for position in range(start, len(words)):
        below = trie.get(words[position])
        if below is None:
            if words[position] == POSSESSIVE and position > start:
                continue
            break
        trie = below
        if "" in trie:
            end, kinds = position + 1, trie[""]
    return end, kinds


def _composed(trie: dict[str, Any], words: Sequence[str]) -> bool:
    position = 0
    while position < len(words):
        end, kinds = longest(words, position, trie)
        if end == position or any(kind not in ("HEAD", "PLACE", "SHOWS") for kind, _ in kinds):
            return False
        position = end
    return True


def _entries(
    vocabulary: Vocabulary,
    language: Mapping[str, Any],
    english: Mapping[str, Any],
    nouns: Mapping[str, Noun],
) -> Iterator[tuple[str, tuple[Kind, ...]]]:
    """Phrase -> kinds. Of two entries for a phrase the later one counts."""
    for spec, phrases in english["phrases"].items():
        kinds = tuple(_kind(part) for part in spec.split())
        yield from _each(phrases, *kinds)
    for action in vocabulary.actions:
        own = [action.phrase, action.name, *language.get("actions", {}).get(action.name, [])]
        yield from _each(own, ("DO", action.name))
    for action, phrases in language.get("vague", {}).items():
        yield from _each(phrases, ("DO_VAGUELY", action))
    yield from _places(language, english)
    for terminal in ("present", "absent", "arrives", "leaves"):
        yield from _each(language.get(terminal, []), (terminal.upper(), None))
    yield from _each(language.get("moving", []), ("PRESENT", "moving"))
    for verb in ("crosses", "passes", "to_leave"):
        yield from _each(language.get(verb, []), ("PASSES", verb))
    yield from _each(language.get("lit", []), ("LIT", True))
    yield from _each(language.get("unlit", []), ("LIT", False))
    for shown, phrases in language.get("shows", {}).items():
        yield from _each(phrases, ("SHOWS", shown))
    yield from _each(language.get("scenery", []), ("HEAD", Noun("scenery")))
    for group in language.get("adjuncts", []):
        at = (f"{word} {place}" for word in group["prepositions"] for place in group["places"])
        yield from _each(at, ("ADJUNCT", None))
    for action, phrases in language.get("gives_way", {}).items():
        yield from _each(phrases, ("YIELD_TO", action))
    for name, noun in nouns.items():
        yield from _each(language["nouns"][name]["words"], ("HEAD", noun))
    for phrase, formula in language.get("phrases", {}).items():
        noun = Noun(phrase, anywhere=_expression(formula, vocabulary, phrase))
        yield phrase, (("HEAD", noun),)


def _each(phrases: Iterable[str], *kinds: Kind) -> Iterator[tuple[str, tuple[Kind, ...]]]:
    return ((phrase, kinds) for phrase in phrases)


def _kind(spec: str) -> Kind:
    terminal, _, value = spec.partition(":")
    return terminal, value or None


def _places(
    language: Mapping[str, Any], english: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Kind, ...]]]:
    postures = language.get("postures", [])
    for place, body in language.get("places", {}).items():
        sides, phrases = body.get("sides", []), body.get("phrases", [])
        yield from _each(sides, ("PLACE", Place(place, "side")))
        for how, words in english["prepositions"].items():
            where = [f"{word} {side}" for word in words for side in sides]
            where += phrases if how == "at" else []
            yield from _each(where, ("PLACE", Place(place, how)))
            standing = (f"{posture} {phrase}" for posture in postures for phrase in where)
            yield from _each(standing, ("PLACE", Place(place, "at")))


def _nouns(vocabulary: Vocabulary, language: Mapping[str, Any]) -> dict[str, Noun]:
    return {name: _noun(name, body, vocabulary) for name, body in language.get("nouns", {}).items()}


def _noun(name: str, body: Mapping[str, Any], vocabulary: Vocabulary) -> Noun:
    at = {
        place: any_of([_expression(p, vocabulary, name) for p in propositions])
        for place, propositions in body.get("at", {}).items()
    }
    anywhere = any_of(list(at.values())) if at else None
    if "is" in body:
        anywhere = _expression(body["is"], vocabulary, name)
    shows = {k: _expression(v, vocabulary, name) for k, v in body.get("shows", {}).items()}
    ignores = frozenset(body.get("ignores", []))
    return Noun(name, at, anywhere, bool(body.get("room", False)), shows, ignores)


def _expression(formula: str, vocabulary: Vocabulary, place: str) -> Expression:
    return expression_of(
        parse_boolean(formula, vocabulary.proposition_names, file=vocabulary.name, place=place)
    )
