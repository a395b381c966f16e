"""Noun phrases with what is said of them, before anyone knows what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from verifier.steps.lexicon import Noun, Place
from verifier.steps.problems import MisreadError
from verifier.steps.tokens import Lexeme, Span

Context = Literal["if", "when", "once", "until", "for"]
"""What a condition decides: whether, when or how long something is done, or "wait for"."""

_GONE: dict[str, frozenset[str]] = {
    "crosses": frozenset(["until"]),
    "passes": frozenset(["until", "once"]),
    "to_leave": frozenset(["for"]),
}


@dataclass(frozen=True, slots=True)
class Mods:
    """What stands around a noun, or in its predicate.

    Attributes:
        places: Where it is.
        joints: The words between the places.
        shows: What a lamp shows.
        present: "approaching", "visible".
        absent: "clear", "gone".
        lit: "on", "off".
        moving: The words for its presence are about motion.
        whither: A place may be where it is going ("to the left").
        bare: The first place has no preposition ("left").
        clash: It is said to be at two places at once.
    """

    places: tuple[str, ...] = ()
    joints: tuple[str, ...] = ()
    shows: str | None = None
    present: bool = False
    absent: bool = False
    lit: bool | None = None
    moving: bool = False
    whither: bool = False
    bare: bool = False
    clash: bool = False


@dataclass(frozen=True, slots=True)
class Predicate:
    """ "is (not) ..."; ``verb``: in "it passes" or "it leaves", which of them."""

    mods: Mods
    negated: bool = False
    plural: bool = False
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """One noun phrase with what stands before it ("there is no") and its predicate.

    ``seen``: what stands before it is "you see".
    """

    lead: str
    there: bool
    noun: Noun | None
    mods: Mods
    predicate: Predicate | None
    span: Span
    seen: bool = False

    @property
    def bare(self) -> bool:
        """Nothing stands before the noun phrase."""
        return not self.lead and not self.there


@dataclass(frozen=True, slots=True)
class Connective:
    """ "and", "or", "nor", or a mere comma ("LIST"); ``comma``: one stands before it."""

    kind: str
    comma: bool


def mods_of(words: Sequence[Lexeme]) -> Mods:
    """The modifiers that some words in a row make.

    Raises:
        MisreadError: They contradict one another.
    """
    places = [word.value for word in words if isinstance(word.value, Place)]
    shown = [str(word.value) for word in words if word.type == "SHOWS"]
    lit = [bool(word.value) for word in words if word.type == "LIT"]
    if len(shown) > 1 or len(lit) > 1:
        raise MisreadError("unsupported", "says two things at once", words[0].span)
    types = {word.type for word in words}
    return Mods(
        tuple(place.name for place in places),
        tuple(str(word.value) for word in words if word.type == "JOINT"),
        shown[0] if shown else None,
        "PRESENT" in types,
        "ABSENT" in types,
        lit[0] if lit else None,
        moving=any(word.type == "PRESENT" and word.value == "moving" for word in words),
        whither=any(place.how == "to" for place in places),
        bare=bool(places) and places[0].how == "side",
    )


def together(left: Mods, right: Mods) -> Mods:
    """The modifiers on both sides of a noun, or of a noun and of its predicate."""
    clash = (left.places and right.places) or (left.shows and right.shows)
    return Mods(
        left.places or right.places,
        left.joints or right.joints,
        left.shows or right.shows,
        left.present or right.present,
        left.absent or right.absent,
        left.lit if right.lit is None else right.lit,
        left.moving or right.moving,
        left.whither or right.whither,
        clash=bool(clash) or left.clash or right.clash,
    )


def refuse_bare_side(mods: Mods, span: Span) -> None:
    """After a noun or a verb "left" may mean "remaining", and "right" may be meant of a motion.

    Raises:
        MisreadError: The first place is a side without a preposition.
    """
    if mods.bare:
        raise MisreadError("ambiguous", "say at which place, as in 'at the left'", span)


def in_context(terms: Sequence[Term], context: Context) -> list[Term]:
    """The terms with their verbs understood: who "passes" is there, or gone, or it is not clear.

    Raises:
        MisreadError: It is not clear.
    """
    return [_understood(term, context) for term in terms]


def _stated(term: Term) -> bool:
    return not term.there or term.seen


def _understood(term: Term, context: Context) -> Term:
    said = term.predicate
    if said is None or not said.verb:
        return term
    # "there is a car leaves" is no sentence
    gone = context in _GONE.get(said.verb, ()) or (said.verb == "leaves" and _stated(term))
    if gone:
        return replace(term, predicate=replace(said, mods=replace(said.mods, absent=True)))
    if said.verb == "crosses" and context == "if":
        return replace(term, predicate=replace(said, mods=replace(said.mods, present=True)))
    raise MisreadError("ambiguous", "while it is there, or when it is gone", term.span)
