"""The parser of one step: the grammar of steps.lark with callbacks that build the syntax."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from lark import Lark
from lark.exceptions import UnexpectedInput
from lark.lexer import Lexer

from verifier.steps.conditions import anything, meaning
from verifier.steps.expressions import Expression, Not, names_in
from verifier.steps.lexicon import Lexicon
from verifier.steps.phrases import (
    Connective,
    Context,
    Mods,
    Predicate,
    Term,
    mods_of,
    refuse_bare_side,
    together,
)
from verifier.steps.problems import MisreadError
from verifier.steps.syntax import (
    Act,
    Do,
    Hold,
    If,
    Jump,
    Otherwise,
    Plain,
    Sentence,
    Statement,
    cover,
)
from verifier.steps.tokens import Lexeme, Span
from verifier.vocabulary import EPSILON

Terms = tuple[list[Term], list[Connective], Span]
Acts = tuple[Act, ...]


def parse(lexemes: Sequence[Lexeme], lexicon: Lexicon) -> tuple[Sentence, ...]:
    """The sentences of a step.

    Raises:
        MisreadError: They have no reading, or no single one.
    """
    try:
        return _parser(lexicon).parse(lexemes)  # type: ignore[arg-type]
    except UnexpectedInput as error:
        at = getattr(error, "token", None)
        if isinstance(at, Lexeme):
            raise MisreadError("unsupported", "cannot be read from here on", at.span) from None
        raise MisreadError("unsupported", "the step breaks off") from None


class _Pass(Lexer):
    """The lexemes as they are."""

    def __init__(self, _conf: object) -> None:
        pass

    def lex(self, data: Any) -> Iterator[Any]:  # type: ignore[override]
        return iter(data)


@cache
def _grammar_text() -> str:
    return Path(__file__).with_name("steps.lark").read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def _parser(lexicon: Lexicon) -> Lark:
    return Lark(
        _grammar_text(),
        parser="lalr",
        lexer=_Pass,
        start="line",
        transformer=_Callbacks(lexicon),
    )


class _Callbacks:
    """One method for each rule or alias of the grammar that builds something."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    # Noun phrases and conditions

    def mods(self, words: list[Lexeme]) -> tuple[Mods, Span]:
        return mods_of(words), cover(*(word.span for word in words))

    def mod(self, words: list[Lexeme]) -> Lexeme:
        return words[0]

    def np(self, parts: list[Any]) -> tuple[Any, Mods, Span]:
        noun, spans, mods = None, [], []
        for part in parts:
            if isinstance(part, Lexeme):
                noun = part.value
                spans.append(part.span)
            else:
                if noun is not None:
                    refuse_bare_side(*part)
                mods.append(part[0])
                spans.append(part[1])
        both = mods[0] if mods else Mods()
        for more in mods[1:]:
            both = together(both, more)
        return noun, both, cover(*spans)

    def lead(self, words: list[Lexeme]) -> tuple[str, bool, bool, Span]:
        there = words[0].type == "THERE"
        rest = words[1:] if there else words
        lead = "NO" if there and rest and rest[0].type == "NOT" else "".join(w.type for w in rest)
        return lead, there, words[0].value == "see", _span(words)

    def is_so(self, parts: list[Any]) -> tuple[Predicate, Span]:
        be, (mods, span) = parts
        return self._is(be, mods, span, negated=False), cover(be.span, span)

    def is_not(self, parts: list[Any]) -> tuple[Predicate, Span]:
        be, _, (mods, span) = parts
        return self._is(be, mods, span, negated=True), cover(be.span, span)

    def _is(self, be: Lexeme, mods: Mods, span: Span, negated: bool) -> Predicate:
        if be.value == "turn" and (mods.places or mods.present or mods.absent):
            raise MisreadError("ambiguous", "only lights turn to something", cover(be.span, span))
        refuse_bare_side(mods, span)
        return Predicate(mods, negated, be.value == "plural")

    def arrives(self, parts: list[Any]) -> tuple[Predicate, Span]:
        mods, span = parts[1] if len(parts) > 1 else (Mods(), parts[0].span)
        refuse_bare_side(mods, span)
        return Predicate(replace(mods, moving=True)), cover(parts[0].span, span)

    def leaves(self, parts: list[Lexeme]) -> tuple[Predicate, Span]:
        return Predicate(Mods(), verb=str(parts[0].value or "leaves")), parts[0].span

    def term(self, parts: list[Any]) -> Term:
        lead, there, seen, span = ("", False, False, None)
        if isinstance(parts[0][0], str):
            lead, there, seen, span = parts.pop(0)
        noun, mods, own = parts[0]
        predicate, said = parts[1] if len(parts) > 1 else (None, own)
        spans = [own, said] if span is None else [span, own, said]
        return Term(lead, there, noun, mods, predicate, cover(*spans), seen)

    def connective(self, words: list[Lexeme]) -> Connective:
        return Connective(words[0].type, bool(words[0].value))

    def terms(self, parts: list[Any]) -> Terms:
        if len(parts) == 1:
            return [parts[0]], [], parts[0].span
        (terms, joints, span), joint, term = parts
        terms.append(term)
        joints.append(joint)
        return terms, joints, cover(span, term.span)

    def _condition(self, terms: Terms, context: Context) -> Expression:
        condition = meaning(terms[0], terms[1], self.lexicon, context)
        told = any(not term.bare or term.predicate for term in terms[0])
        lasts = context in ("until", "for") and not told
        if lasts and not names_in(condition) <= self.lexicon.awaited:
            raise MisreadError("ambiguous", "until it comes, or until it goes", terms[2])
        return condition

    # Acts

    def do(self, parts: list[Lexeme]) -> Do:
        return Do(str(parts[0].value), _span(parts))

    def do_vaguely(self, parts: list[Lexeme]) -> Do:
        return Do(str(parts[0].value), _span(parts), vague=True)

    def give_way(self, parts: list[Any]) -> Hold:
        verb, terms = parts
        there = anything(terms[0], self.lexicon)
        return Hold(Not(there), str(verb.value), cover(verb.span, terms[2]))

    def observe(self, parts: list[Any]) -> Do:
        verb, *objects = parts
        for terms, _, _ in (part for part in objects if not isinstance(part, Lexeme)):
            for term in terms:
                if term.there or term.predicate or term.lead in ("NO", "NOT", "NEITHER"):
                    raise MisreadError("ambiguous", "an observation or a condition", term.span)
        spans = (part.span if isinstance(part, Lexeme) else part[2] for part in objects)
        return Do(EPSILON, cover(verb.span, *spans))

    def wait_until(self, parts: list[Any]) -> Hold:
        verb, terms = parts
        return Hold(self._condition(terms, "until"), EPSILON, cover(verb.span, terms[2]))

    def wait_for(self, parts: list[Any]) -> Hold:
        verb, terms = parts
        return Hold(self._condition(terms, "for"), EPSILON, cover(verb.span, terms[2]))

    def hold(self, parts: list[Any]) -> Hold:
        act, _, terms = parts
        if not isinstance(act, Do):
            raise MisreadError("unsupported", "cannot be done until something holds", act.span)
        return Hold(self._condition(terms, "until"), act.action, cover(act.span, terms[2]))

    def go_to(self, parts: list[Lexeme]) -> Jump:
        number = parts[1].value
        assert isinstance(number, int)
        return Jump(number, cover(parts[0].span, parts[1].span))

    def go_on(self, parts: list[Lexeme]) -> Jump:
        return Jump("next", parts[0].span)

    def go_nowhere(self, parts: list[Lexeme]) -> Jump:
        return Jump("here", parts[0].span)

    def restart(self, parts: list[Lexeme]) -> Jump:
        return Jump("start", parts[0].span)

    def finish(self, parts: list[Lexeme]) -> Jump:
        return Jump("end", parts[0].span)

    def acts(self, parts: list[Any]) -> Acts:
        if len(parts) == 1:
            return (parts[0],)
        before, act = parts
        if isinstance(before[-1], Jump):
            raise MisreadError("unsupported", "this comes after a jump", act.span)
        if self._stays_put(act) and self._stays_put(before[-1]):
            # "Stop and wait" is one stop.
            return (*before[:-1], Do(act.action, cover(before[-1].span, act.span)))
        motions = [a for a in (*before, act) if isinstance(a, Do) and self._moves(a)]
        if len(motions) > 1 and any(motion.vague for motion in motions):
            raise MisreadError("ambiguous", "one motion or two", act.span)
        return (*before, act)

    # Sentences

    def then(self, parts: list[Lexeme]) -> bool:
        return bool(parts)

    def plain(self, parts: list[Acts]) -> tuple[Statement, ...]:
        return (Plain(parts[0]),)

    def observe_whether(self, parts: list[Any]) -> tuple[Statement, ...]:
        *before, verb, terms = parts
        self._condition(terms, "if")
        looks = Do(EPSILON, cover(verb.span, terms[2]))
        return (Plain(self.acts([before[0], looks]) if before else (looks,)),)

    def conditional(self, parts: list[Any]) -> tuple[Statement, ...]:
        word, terms, apart, acts, *rest = parts
        if not apart and _could_act(terms[0][-1]):
            # "If you see the car turn right": who turns?
            raise MisreadError("ambiguous", "who does this", acts[0].span)
        otherwise = _one(rest[1]) if rest else None
        kind = str(word.value)
        context: Context = "once" if kind == "once" else "if"
        if kind == "when" and not self._stays_put(acts[0]):
            context = "when"
        condition, span = self._condition(terms, context), cover(word.span, terms[2])
        return (self._conditional(kind, condition, acts, otherwise, span),)

    def condition_last(self, parts: list[Any]) -> tuple[Statement, ...]:
        acts, word, terms, *rest = parts
        *before, last = acts
        if word.value == "in_case":
            raise MisreadError("ambiguous", "a condition or a reason", word.span)
        if before and not all(map(_observes, before)):
            raise MisreadError("ambiguous", "the condition may be about one or all", word.span)
        return self._after(tuple(before), [word, terms, True, (last,), *rest])

    def observe_first(self, parts: list[Any]) -> tuple[Statement, ...]:
        before, *rest = parts
        if not all(map(_observes, before)):
            word = rest[0]
            raise MisreadError("ambiguous", "the condition may be about either side", word.span)
        return self._after(before, rest)

    def _after(self, before: Acts, parts: list[Any]) -> tuple[Statement, ...]:
        conditional = self.conditional(parts)
        return (Plain(before), *conditional) if before else conditional

    def hold_first(self, parts: list[Any]) -> tuple[Statement, ...]:
        word, terms, _, acts = parts
        return (self._holding(acts, self._condition(terms, "until"), cover(word.span, terms[2])),)

    def located(self, parts: list[Any]) -> tuple[Statement, ...]:
        return parts[-1]

    def otherwise(self, parts: list[Any]) -> tuple[Sentence, ...]:
        first, *rest = parts[1]
        return (Otherwise(first), *rest)

    def line(self, sentences: list[tuple[Sentence, ...]]) -> tuple[Sentence, ...]:
        parts = tuple(part for sentence in sentences for part in sentence)
        for first, second in pairwise(parts):
            if isinstance(first, If) and first.otherwise is None and isinstance(second, If):
                message = "another case, or what comes next: write two steps, or 'otherwise'"
                raise MisreadError("ambiguous", message, second.span)
        return parts

    def _conditional(
        self,
        word: str,
        condition: Expression,
        acts: Acts,
        otherwise: Statement | None,
        span: Span,
    ) -> Statement:
        motion = acts[0] if isinstance(acts[0], Do) and self._moves(acts[0]) else None
        if word == "while" and motion:
            raise MisreadError("ambiguous", "once meanwhile, or all the while", motion.span)
        if word == "while" or (word == "as_long_as" and not motion):
            if otherwise is not None:
                raise MisreadError("unsupported", "'while' with 'otherwise'", span)
            return self._holding(acts, Not(condition), span)
        if word == "unless":
            return If(Not(condition), acts, otherwise, span)
        if word not in ("when", "once") or self._stays_put(acts[0]) or otherwise is not None:
            # "When a car comes, stop" does not mean to wait for a car.
            return If(condition, acts, otherwise, span)
        return Plain((Hold(condition, EPSILON, span), *acts))

    def _stays_put(self, act: Act) -> TypeGuard[Do]:
        return isinstance(act, Do) and act.action in self.lexicon.hold

    def _moves(self, act: Do) -> bool:
        return act.action not in (*self.lexicon.hold, EPSILON)

    def _holding(self, acts: Acts, until: Expression, span: Span) -> Plain:
        act = acts[0]
        if len(acts) > 1 or not isinstance(act, Do):
            raise MisreadError("unsupported", "only one action can go on meanwhile", span)
        return Plain((Hold(until, act.action, cover(span, act.span)),))


def _could_act(term: Term) -> bool:
    """Whether a verb right after it could be about it, not about the driver."""
    return term.predicate is None and (term.bare or term.seen)


def _span(words: Sequence[Lexeme]) -> Span:
    return cover(*(word.span for word in words))


def _observes(act: Act) -> bool:
    return isinstance(act, Do) and act.action == EPSILON


def _one(statements: Sequence[Statement]) -> Statement:
    if len(statements) != 1:
        raise MisreadError("unsupported", "too much after 'otherwise'")
    return statements[0]
