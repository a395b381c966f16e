"""Which lamp "it" is, and what is green in "if green": the one that was just mentioned.

Only lamps are referred to in this way: what is said of "it" must be something that a lamp shows,
so there is nothing to guess. If no lamp or more than one was mentioned, it stays open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.steps.lexicon import Noun
from verifier.steps.problems import MisreadError
from verifier.steps.tokens import Lexeme

_BEFORE_STATE = frozenset(["COND", "UNTIL", "WAIT_UNTIL"])
_NEAR = 4


def lamps_in(lexemes: Iterable[Lexeme]) -> frozenset[Noun]:
    """The lamps that are mentioned."""
    nouns = (lexeme.value for lexeme in lexemes if lexeme.type == "HEAD")
    return frozenset(noun for noun in nouns if isinstance(noun, Noun) and noun.shows)


def resolve(lexemes: Sequence[Lexeme], before: frozenset[Noun]) -> list[Lexeme]:
    """The lexemes with the references replaced by what they refer to.

    Args:
        lexemes: A step.
        before: The lamps mentioned in the step before it.

    Raises:
        MisreadError: "it" could be nothing or several things.
    """
    result: list[Lexeme] = []
    here: frozenset[Noun] = frozenset()
    for index, lexeme in enumerate(lexemes):
        ahead = lexemes[index + 1 : index + 1 + _NEAR]
        here |= lamps_in([lexeme])
        if lexeme.type == "IT":
            state = next((word for word in ahead if word.type == "SHOWS"), None)
            noun = _only(here or before, state)
            if noun is None:
                raise MisreadError("ambiguous", "it is not clear what this is", lexeme.span)
            result.append(Lexeme("HEAD", noun, lexeme.span))
            continue
        result.append(lexeme)
        if lexeme.type == "SHOWS" and _stands_alone(lexemes, index):
            noun = _only(here or before, lexeme)
            result += [Lexeme("HEAD", noun, lexeme.span)] if noun else []
    return result


def _stands_alone(lexemes: Sequence[Lexeme], index: int) -> bool:
    """Whether "green" is all that is said: "if green", "if not green"."""
    start = index - 1 if index and lexemes[index - 1].type == "NOT" else index
    follows = lexemes[index + 1].type if index + 1 < len(lexemes) else ""
    return start > 0 and lexemes[start - 1].type in _BEFORE_STATE and follows != "HEAD"


def _only(nouns: frozenset[Noun], state: Lexeme | None) -> Noun | None:
    fitting = [noun for noun in nouns if state is None or state.value in noun.shows]
    return fitting[0] if len(fitting) == 1 else None
