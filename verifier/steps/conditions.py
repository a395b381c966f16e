"""What a condition means: from noun phrases, predicates and connectives to an expression.

A careful reader's rules. Noun phrases in a row share one "there is", "no" or predicate: "there is
no A or B" is neither. Between whole clauses not > and > or. Where two readings differ ("no A and
B", commas among mixed connectives, "both are not") the condition is ambiguous, not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from verifier.steps.expressions import Expression, Not, all_of, any_of, negation
from verifier.steps.lexicon import Lexicon
from verifier.steps.phrases import (
    Connective,
    Context,
    Mods,
    Predicate,
    Term,
    in_context,
    together,
)
from verifier.steps.problems import MisreadError
from verifier.steps.tokens import Span


@dataclass(frozen=True, slots=True)
class _Clause:
    """Noun phrases that share their lead and their predicate."""

    terms: tuple[Term, ...]
    joints: tuple[Connective, ...]

    @property
    def span(self) -> Span:
        return self.terms[0].span[0], self.terms[-1].span[1]

    @property
    def loose(self) -> bool:
        """A list that nothing holds together."""
        last = self.terms[-1].predicate
        return len(self.terms) > 1 and self.terms[0].bare and last is None


def meaning(
    terms: Sequence[Term], connectives: Sequence[Connective], lexicon: Lexicon, context: Context
) -> Expression:
    """The condition that the terms express.

    Raises:
        MisreadError: They express none, or more than one.
    """
    terms = _with_subjects(in_context(terms, context))
    clauses, joints = _clauses(terms, connectives, lexicon)
    parts = [_clause_meaning(clause, lexicon) for clause in clauses]
    kinds = _inherited(joints, _span(terms))
    if "NOR" in kinds:
        raise MisreadError("unsupported", "'nor' without 'neither' or 'no'", _span(terms))
    loose = [clause for clause in clauses if clause.loose and len(clauses) > 1]
    listed = {kind for clause in loose for kind in _inherited(clause.joints, clause.span)}
    if len({*kinds, *listed}) > 1 and (loose or any(joint.comma for joint in joints)):
        raise MisreadError("ambiguous", "'and' and 'or' can be grouped in two ways", _span(terms))
    for kind, left, right in zip(kinds, clauses, clauses[1:], strict=False):
        if kind == "OR" and _denies(left) and _denies(right) and not right.terms[0].there:
            raise MisreadError("ambiguous", "'no ... or no ...' has two readings", _span(terms))
    return _join(parts, kinds)


def anything(terms: Sequence[Term], lexicon: Lexicon) -> Expression:
    """Some of the things listed, whether by "and" or by "or", are there ("yield to A and B")."""
    parts: list[Expression] = []
    for term in terms:
        if not term.bare or term.predicate is not None:
            raise MisreadError("unsupported", "expected things to give way to", term.span)
        if term.noun is not None and not term.noun.at:
            raise MisreadError("ambiguous", "to do this at it, or while it is there", term.span)
        parts += _items(term, term.mods, lexicon, needs_absence=False)[0]
    return any_of(parts)


def _span(terms: Sequence[Term]) -> Span:
    return terms[0].span[0], terms[-1].span[1]


def _denies(clause: _Clause) -> bool:
    return clause.terms[0].lead in ("NO", "NOT")


def _join(parts: Sequence[Expression], kinds: Sequence[str]) -> Expression:
    groups: list[list[Expression]] = [[parts[0]]]
    for kind, part in zip(kinds, parts[1:], strict=True):
        if kind == "AND":
            groups[-1].append(part)
        else:
            groups.append([part])
    return any_of([all_of(group) for group in groups])


def _inherited(joints: Sequence[Connective], span: Span) -> list[str]:
    """The kinds, where a comma means what the next word among them says."""
    kinds: list[str] = []
    following: str | None = None
    for joint in reversed(joints):
        following = joint.kind if joint.kind != "LIST" else following
        if following is None:
            raise MisreadError("ambiguous", "a comma that could mean 'and' or 'or'", span)
        kinds.insert(0, following)
    return kinds


def _with_subjects(terms: Sequence[Term]) -> list[Term]:
    """ "the light is green or yellow": the second colour is said of the same light."""
    result: list[Term] = []
    for term in terms:
        headless = term.noun is None and not term.mods.places and term.mods.shows is not None
        if headless:
            before = result[-1] if result else None
            said = before.predicate if before else None
            if before is None or before.noun is None or (said and said.negated):
                raise MisreadError("ambiguous", "it is not said what this is about", term.span)
            term = replace(term, noun=before.noun)
        result.append(term)
    return result


def _clauses(
    terms: Sequence[Term], connectives: Sequence[Connective], lexicon: Lexicon
) -> tuple[list[_Clause], list[Connective]]:
    groups: list[list[Term]] = [[terms[0]]]
    inner: list[list[Connective]] = [[]]
    outer: list[Connective] = []
    for connective, term in zip(connectives, terms[1:], strict=True):
        group = groups[-1]
        open_ended = group[-1].predicate is None and term.bare
        joins = connective.kind == "NOR" or (
            open_ended
            and (
                term.predicate is None or _shares([*group, term], [*inner[-1], connective], lexicon)
            )
        )
        if joins:
            group.append(term)
            inner[-1].append(connective)
        else:
            groups.append([term])
            inner.append([])
            outer.append(connective)
    return [_Clause(tuple(g), tuple(i)) for g, i in zip(groups, inner, strict=True)], outer


def _shares(group: Sequence[Term], joints: Sequence[Connective], lexicon: Lexicon) -> bool:
    """Whether the predicate of the last term is said of the terms before it, too."""
    *before, last = group
    first, predicate = before[0], last.predicate
    if first.there or predicate is None or not _applies(before, predicate, lexicon):
        return False
    told = first.lead in ("NEITHER", "EITHER", "BOTH") or predicate.plural
    if told or (first.lead == "NO" and all(j.kind in ("OR", "LIST") for j in joints)):
        return True
    mods = predicate.mods
    if first.bare and not (predicate.negated or mods.absent or mods.shows or mods.lit is False):
        return not any(term.noun is None for term in before)
    span = (first.span[0], last.span[1])
    raise MisreadError("ambiguous", "the predicate may be about one or all of these", span)


def _applies(terms: Sequence[Term], predicate: Predicate, lexicon: Lexicon) -> bool:
    try:
        for term in terms:
            _items(term, together(term.mods, predicate.mods), lexicon, needs_absence=None)
    except MisreadError:
        return False
    return True


def _clause_meaning(clause: _Clause, lexicon: Lexicon) -> Expression:
    first, predicate, span = clause.terms[0], clause.terms[-1].predicate, clause.span
    said = predicate or Predicate(Mods())
    absent = said.mods.absent or said.mods.lit is False
    absent = absent or any(t.mods.absent or t.mods.lit is False for t in clause.terms)
    negative_lead = first.lead in ("NO", "NOT", "NEITHER")
    if negative_lead and (said.negated or absent):
        raise MisreadError("ambiguous", "a double negation", span)
    parts: list[Expression] = []
    joints = list(clause.joints)
    shared_place = False
    for index, term in enumerate(clause.terms):
        items, inner = _items(term, together(term.mods, said.mods), lexicon, needs_absence=absent)
        parts += items
        joints[index:index] = [] if index else [Connective(j, comma=False) for j in inner]
        if index and inner:
            raise MisreadError("ambiguous", "places listed inside a list", term.span)
        shared_place = shared_place or bool(inner)
    kinds = _inherited(joints, span)
    if len(parts) == 1:
        denied = negative_lead or (said.negated != absent)
        return negation(parts[0]) if denied else parts[0]
    return _list_meaning(parts, kinds, clause, said, absent, shared_place)


def _list_meaning(
    parts: Sequence[Expression],
    kinds: Sequence[str],
    clause: _Clause,
    said: Predicate,
    absent: bool,
    shared_place: bool,
) -> Expression:
    """The meaning of several things under one lead and predicate."""
    lead, span, kind = clause.terms[0].lead, clause.span, kinds[0]
    if len(set(kinds)) > 1:
        if clause.loose and not absent and not any(joint.comma for joint in clause.joints):
            return _join(parts, kinds)
        raise MisreadError("ambiguous", "'and' and 'or' can be grouped in two ways", span)
    if lead in ("NO", "NEITHER") and kind in ("OR", "NOR"):
        return Not(any_of(parts))
    if lead in ("NO", "NEITHER", "NOT"):
        raise MisreadError("ambiguous", "it is not clear how far the negation reaches", span)
    if (lead, kind) in (("EITHER", "AND"), ("BOTH", "OR")) or kind == "NOR":
        raise MisreadError("unsupported", "the connectives do not fit together", span)
    if said.negated and (absent or kind == "OR" or lead in ("BOTH", "EITHER")):
        raise MisreadError("ambiguous", "it is not clear how far the negation reaches", span)
    if said.negated or absent:
        denied = [negation(part) for part in parts]
        return all_of(denied) if kind == "AND" else any_of(denied)
    if shared_place and kind == "AND":
        raise MisreadError("ambiguous", "at both places, or at either", span)
    return all_of(parts) if kind == "AND" else any_of(parts)


def _items(
    term: Term, mods: Mods, lexicon: Lexicon, needs_absence: bool | None
) -> tuple[list[Expression], tuple[str, ...]]:
    """The conditions that the things are there, one for each place listed.

    Args:
        term: The noun phrase.
        mods: Its modifiers, those of its predicate included.
        lexicon: For places without a noun.
        needs_absence: Whether the clause says that they are absent; None if it does not matter.
    """
    noun = term.noun or (lexicon.headless if mods.places else None)
    if noun is None:
        raise MisreadError("no_condition", "it is not said what this is about", term.span)
    if mods.clash or (mods.present and mods.absent):
        raise MisreadError("unsupported", "says two things at once", term.span)
    if mods.moving and mods.whither:
        raise MisreadError("ambiguous", "where it is, or where it is going", term.span)
    if mods.absent and term.there and not (term.seen or noun.room or term.predicate):
        raise MisreadError("ambiguous", "whether it is there or not", term.span)
    if mods.absent and not noun.at:
        raise MisreadError("no_condition", "no proposition says this", term.span)
    if noun.room and needs_absence is False:
        raise MisreadError("no_condition", "say whether it is clear", term.span)
    places = [place for place in mods.places if place not in noun.ignores]
    if mods.shows is not None:
        if places or mods.shows not in noun.shows:
            raise MisreadError("no_condition", "no proposition says this", term.span)
        return [noun.shows[mods.shows]], ()
    if mods.lit is not None and noun.at:
        raise MisreadError("no_condition", "no proposition says this", term.span)
    if places:
        if any(place not in noun.at for place in places):
            raise MisreadError("no_condition", "no proposition says this", term.span)
        if len(mods.joints) != len(places) - 1:
            raise MisreadError("unsupported", "two places at once", term.span)
        return [noun.at[place] for place in places], mods.joints
    if noun.anywhere is None:
        raise MisreadError("no_condition", "no proposition says this", term.span)
    return [noun.anywhere], ()
