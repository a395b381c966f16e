"""From a line of text to the terminals of steps.lark.

Two passes: the longest known phrases become terminals, and then separators ("," "and" "then") are
named after what they separate, which one look ahead in the grammar could not tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.steps.lexicon import POSSESSIVE, Kind, Lexicon, longest

Span = tuple[int, int]
"""Start and end of some characters of the line."""


@dataclass(slots=True)
class Lexeme:
    """A terminal with its value and the characters it stands for."""

    type: str
    value: object
    span: Span

    # The parser copies these to the token that marks the end.
    line = column = end_line = end_column = start_pos = end_pos = None


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEEP = frozenset(_LETTERS + "0123456789'")
_FOLD = str.maketrans(
    {
        **dict(zip(_LETTERS.upper(), _LETTERS, strict=True)),
        **dict.fromkeys("‘’ʼ`", "'"),
        **dict.fromkeys('-‐‑_*#<>"“”[]\t\u00a0', " "),
        **dict.fromkeys(":–—", ","),
        **dict.fromkeys("!;…", "."),
    }
)
_ACTIONS = frozenset(["DO", "DO_VAGUELY", "YIELD_TO"])
_OBSERVATIONS = frozenset(["CHECK", "CHECK_IF", "WAIT_UNTIL", "WAIT_FOR"])
_JUMPS = frozenset(["GOTO", "NEXT", "HERE", "RESTART", "FINISH"])
VERBS = _ACTIONS | _OBSERVATIONS | _JUMPS
"""Terminals that begin an act."""
CONDITIONS = frozenset(["COND", "UNTIL", "ELSE"])
"""Terminals that say under which condition."""
_SEPARATORS = frozenset(["COMMA", "AND", "OR", "NOR", "THEN"])
_CONDITIONAL = frozenset(["COND", "UNTIL"])
_LONGEST_NUMBER = 9


def tokenize(line: str, lexicon: Lexicon) -> list[Lexeme]:
    """The terminals of a line; words outside the lexicon are ``UNKNOWN``."""
    return _name_separators(list(_settle(_phrases(_words(line), lexicon))))


def _words(line: str) -> list[_Word]:
    """Runs of letters, digits and apostrophes, and every other character by itself."""
    # " - " sets words apart as a comma does; other hyphens join the parts of a word.
    text = (
        line.translate(_FOLD) if " - " not in line else line.replace(" - ", " , ").translate(_FOLD)
    )
    words: list[_Word] = []
    start = -1
    for position, character in enumerate(text):
        if character in _KEEP or (character > "\x7f" and not character.isspace()):
            start = position if start < 0 else start
            continue
        if start >= 0:
            words.append(_Word(text[start:position].strip("'"), start, position))
            start = -1
        if not character.isspace():
            words.append(_Word(character, position, position + 1))
    if start >= 0:
        words.append(_Word(text[start:].strip("'"), start, len(text)))
    return [word for word in words if word.text]


def _phrases(words: Sequence[_Word], lexicon: Lexicon) -> Iterator[Lexeme]:
    """The longest phrase at each place, fillers left out."""
    kept = [word for word in words if word.text not in lexicon.fillers]
    texts = [POSSESSIVE if word.text in lexicon.possessives else word.text for word in kept]
    position = 0
    while position < len(kept):
        word = kept[position]
        end, kinds = longest(texts, position, lexicon.trie)
        if end == position:
            end = position + 1
            kinds = () if texts[position] == POSSESSIVE else (_single(word.text, lexicon),)
        span = (word.start, kept[end - 1].end)
        for kind, value in kinds:
            yield Lexeme(kind, value, span)
        position = end


def _single(text: str, lexicon: Lexicon) -> Kind:
    if text == ",":
        return "COMMA", None
    if text == ".":
        return "_STOP", None
    if text in lexicon.numbers:
        return "NUMBER", lexicon.numbers[text]
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER:
        return "NUMBER", int(text)
    return "UNKNOWN", None


def _settle(lexemes: Iterator[Lexeme]) -> Iterator[Lexeme]:
    """Decide the phrases whose terminal depends on their neighbour."""
    before: Lexeme | None = None
    for lexeme in lexemes:
        if lexeme.type == "SEE":
            in_condition = before is not None and before.type in ("COND", "UNTIL", "WAIT_UNTIL")
            lexeme.type, lexeme.value = ("THERE", "see") if in_condition else ("CHECK", None)
        yield lexeme
        before = lexeme


def _name_separators(lexemes: list[Lexeme]) -> list[Lexeme]:
    """Rename each run of separators after the terminals around it."""
    named: list[Lexeme] = []
    position = 0
    while position < len(lexemes):
        run_end = position
        while run_end < len(lexemes) and lexemes[run_end].type in _SEPARATORS:
            run_end += 1
        run = lexemes[position:run_end]
        following = lexemes[run_end] if run_end < len(lexemes) else None
        if run:
            joint = _joint(run, named[-1] if named else None, lexemes[run_end : run_end + 2])
            named += [joint] if joint else []
        if following is not None and not _is_denied_if(following, lexemes, run_end):
            if following.type != "_STOP" or (named and named[-1].type != "_STOP"):
                named.append(following)
        elif following is not None:
            # "if not, ..." is "otherwise, ..."
            named.append(Lexeme("ELSE", None, (following.span[0], lexemes[run_end + 1].span[1])))
            run_end += 1
        position = run_end + 1
    while named and named[-1].type == "_STOP":
        named.pop()
    return named


def _is_denied_if(lexeme: Lexeme, lexemes: list[Lexeme], position: int) -> bool:
    if lexeme.type != "COND" or lexeme.value != "if" or position + 1 >= len(lexemes):
        return False
    if lexemes[position + 1].type != "NOT":
        return False
    after = lexemes[position + 2].type if position + 2 < len(lexemes) else "_STOP"
    return after in VERBS or after in ("COMMA", "THEN")


def _joint(run: list[Lexeme], before: Lexeme | None, ahead: list[Lexeme]) -> Lexeme | None:
    """The one terminal that stands for a run of separators; None where it adds nothing."""
    kinds = [lexeme.type for lexeme in run]
    after = ahead[0].type if ahead else "_STOP"
    span = (run[0].span[0], run[-1].span[1])
    starts = before is None or before.type in ("_STOP", "ELSE")
    logical = [kind for kind in kinds if kind in ("AND", "OR", "NOR")]
    if len(logical) > 1:
        return Lexeme("UNREADABLE", None, span)
    connective = logical[0] if logical else None
    comma = "COMMA" in kinds
    if connective in ("OR", "NOR") and (starts or after in VERBS or after in _CONDITIONAL):
        return Lexeme("UNREADABLE", None, span)
    if starts or after in ("_STOP", "ELSE"):
        return None if not (connective and after == "_STOP") else Lexeme("UNREADABLE", None, span)
    if after in VERBS:
        return Lexeme("_AND_DO" if connective else "_THEN_DO", None, span)
    if after in _CONDITIONAL:
        return Lexeme("_ALSO", None, span) if connective or "THEN" in kinds else None
    if "THEN" in kinds:
        return Lexeme("UNREADABLE", None, span)
    if after == "PLACE" and before is not None and before.type == "PLACE":
        heads_noun = len(ahead) > 1 and ahead[1].type == "HEAD"
        if not heads_noun:
            return Lexeme("JOINT", connective or "LIST", span)
    return Lexeme(connective or "LIST", comma, span)
