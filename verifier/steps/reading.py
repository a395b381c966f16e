"""From a text to the steps it says, or to why it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, takewhile

from verifier.steps.grammar import parse
from verifier.steps.lexicon import Lexicon, Noun, lexicon_of
from verifier.steps.lines import split_steps
from verifier.steps.problems import MisreadError, Problem
from verifier.steps.references import lamps_in, resolve
from verifier.steps.syntax import If, Jump, Otherwise, Sentence, Statement
from verifier.steps.tokens import CONDITIONS, VERBS, Lexeme, tokenize
from verifier.vocabulary import Vocabulary

MAX_STEPS = 1000
"""Most steps of a text."""
MAX_PHRASES = 300
"""Longest step, in phrases."""
MAX_CASES = 50
"""Most steps in a row that begin with "otherwise"."""

_TELLING = VERBS | CONDITIONS | {"HEAD", "PLACE", "SHOWS", "NO", "NOT", "NEITHER", "NUMBER"}


@dataclass(frozen=True)
class Step:
    """A step that could be read: its text and what it says."""

    text: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Reading:
    """What a text says.

    Attributes:
        vocabulary: The words it was read with.
        lines: The texts of the steps, without their numbers.
        steps: Their syntax; complete only if there are no problems.
        problems: What could not be read; a controller is built only if there is nothing here.
    """

    vocabulary: Vocabulary
    lines: tuple[str, ...]
    steps: tuple[Step, ...]
    problems: tuple[Problem, ...]


def read_steps(text: str, vocabulary: Vocabulary) -> Reading:
    """Read numbered steps (or one step a line)."""
    lexicon = lexicon_of(vocabulary)
    lines, problems = split_steps(text, _Judge(lexicon))
    if len(lines) > MAX_STEPS:
        message = f"{len(lines)} steps; at most {MAX_STEPS} are read"
        return Reading(vocabulary, (), (), (Problem(0, "", "unsupported", message),))
    steps: list[Step] = []
    mentioned: frozenset[Noun] = frozenset()
    for number, line in enumerate(lines, start=1):
        read = _read_line(line, lexicon, frozenset())
        if read.problems and mentioned:
            read = _read_line(line, lexicon, mentioned)
        mentioned = read.lamps
        problems += [replace(problem, line=number) for problem in read.problems]
        steps.append(Step(line, read.sentences))
    problems += _misplaced(steps)
    problems.sort(key=lambda problem: problem.line)
    return Reading(vocabulary, tuple(lines), tuple(steps), tuple(problems))


@dataclass(frozen=True, slots=True)
class _LineRead:
    sentences: tuple[Sentence, ...]
    problems: tuple[Problem, ...]
    lamps: frozenset[Noun] = frozenset()


@lru_cache(maxsize=65536)
def _read_line(line: str, lexicon: Lexicon, before: frozenset[Noun]) -> _LineRead:
    """A single line, after one that mentions the lamps ``before``."""
    lexemes = tokenize(line, lexicon)
    lamps = lamps_in(lexemes)
    unknown = tuple(_unknown(line, lexemes, lexicon))
    if unknown:
        return _LineRead((), unknown, lamps)
    if not lexemes:
        found = (Problem(0, line, "empty", "the step says nothing"),) if line else ()
        return _LineRead((), found)
    if len(lexemes) > MAX_PHRASES:
        return _LineRead((), (Problem(0, "", "unsupported", "the step is too long"),))
    try:
        return _LineRead(parse(resolve(lexemes, before), lexicon), (), lamps)
    except MisreadError as error:
        start, end = error.span or (0, len(line))
        words = line[start:] if error.category == "unsupported" else line[start:end]
        return _LineRead((), (Problem(0, words, error.category, error.message),), lamps)


def _unknown(line: str, lexemes: list[Lexeme], lexicon: Lexicon) -> Iterator[Problem]:
    """One problem for each run of unknown words."""
    for unknown, run in groupby(lexemes, lambda lexeme: lexeme.type == "UNKNOWN"):
        if unknown:
            first, *rest = run
            words = line[first.span[0] : (rest or [first])[-1].span[1]]
            yield Problem(0, words, "unknown_words", "unknown words", lexicon.suggested)


@dataclass(frozen=True)
class _Judge:
    lexicon: Lexicon

    def says_nothing(self, line: str) -> bool:
        return not any(lexeme.type in _TELLING for lexeme in tokenize(line, self.lexicon))

    def introduces(self, line: str) -> bool:
        lexemes = tokenize(line, self.lexicon)
        if line.endswith(":"):
            # "If the light is green:" is about the steps that follow.
            return not any(_is_told(lexemes[at + 1 :]) for at in _conditions(lexemes))
        return not _conditions(lexemes) and bool(
            _read_line(line, self.lexicon, frozenset()).problems
        )


def _conditions(lexemes: list[Lexeme]) -> list[int]:
    return [at for at, lexeme in enumerate(lexemes) if lexeme.type in CONDITIONS]


def _is_told(after: list[Lexeme]) -> bool:
    """Whether the words after "if" get to say something about the propositions."""
    said = takewhile(lambda lexeme: lexeme.type not in VERBS | {"UNKNOWN", "_STOP"}, after)
    return any(lexeme.type in ("HEAD", "SHOWS", "PLACE") for lexeme in said)


def _misplaced(steps: list[Step]) -> Iterator[Problem]:
    """Jumps to steps that do not exist, and "otherwise" where there is no "if"."""
    attached = {
        number
        for number, step in enumerate(steps, start=1)
        if step.sentences and isinstance(step.sentences[0], Otherwise)
    }
    cases = 0
    for number, step in enumerate(steps, start=1):
        cases = cases + 1 if number in attached else 0
        if cases > MAX_CASES:
            yield Problem(number, step.text, "unsupported", "too many cases of one step")
        before = steps[number - 2].sentences[-1:] if number > 1 else ()
        for sentence in step.sentences:
            is_other = isinstance(sentence, Otherwise)
            if is_other and not _open(before[0] if before else None):
                message = "'otherwise' that does not follow an 'if'"
                yield Problem(number, step.text, "unsupported", message)
            if number in attached and not is_other:
                message = "more than the other case of the step before"
                yield Problem(number, step.text, "ambiguous", message)
            before = (sentence,)
            for jump in _jumps(sentence):
                words = step.text[jump.span[0] : jump.span[1]]
                if isinstance(jump.to, int) and not 1 <= jump.to <= len(steps):
                    message = f"there is no step {jump.to}"
                    yield Problem(number, words, "bad_reference", message)
                elif jump.to in attached:
                    message = f"step {jump.to} is the other case of the step before it"
                    yield Problem(number, words, "bad_reference", message)


def _open(sentence: Sentence | None) -> bool:
    """Whether "otherwise" can follow: the last "if" of the sentence does not have one yet."""
    inner = sentence.statement if isinstance(sentence, Otherwise) else sentence
    while isinstance(inner, If) and inner.otherwise is not None:
        inner = inner.otherwise
    return isinstance(inner, If)


def _jumps(sentence: Sentence | Statement) -> Iterator[Jump]:
    if isinstance(sentence, Otherwise):
        yield from _jumps(sentence.statement)
        return
    yield from (act for act in sentence.acts if isinstance(act, Jump))
    if isinstance(sentence, If) and sentence.otherwise is not None:
        yield from _jumps(sentence.otherwise)
