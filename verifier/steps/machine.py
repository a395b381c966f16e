"""From a reading to a controller: what each construction does under each conditional profile.

State i is step i + 1, the final state follows the last step, and states between the acts of one
step come after it. Let C be the condition of "if C, A":

======== =============================================== =========================================
profile  C                                               not C
======== =============================================== =========================================
natural  A, next step; a mere "stop" holds: same step    epsilon: same step if A moves, else next
wait     A, next step                                    epsilon, same step
skip     A, next step                                    epsilon, next step
======== =============================================== =========================================

A jump ("... and go to step k", also by itself) replaces the target of its branch, and then not C
goes on to the next step under every profile. A moves if some act of it does; a stop or a wait
before the motion ("if C, stop and turn right") leaves open whether not C waits or goes on, and is
refused under the natural profile (`undecided`). "Otherwise" says what not C does; where a chain of
"otherwise if" leaves a case open, it waits if some branch of the chain alone would. "When C, A",
"wait until C", "while C, A", "A until C" and "yield to X" read the same under every profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.semantics import Conditional
from verifier.steps.expressions import TRUE, AllOf, Expression, guard_of, negation
from verifier.steps.lexicon import lexicon_of
from verifier.steps.problems import Problem
from verifier.steps.reading import Reading
from verifier.steps.syntax import Act, Do, Hold, If, Jump, Otherwise, Sentence, Statement, cover
from verifier.steps.tokens import Span
from verifier.vocabulary import EPSILON


@dataclass(frozen=True, slots=True)
class _Case:
    """A statement and the number of the step that it stands in."""

    statement: Statement
    step: int


def build_controller(reading: Reading, conditional: Conditional) -> Controller:
    """The controller that a text without problems describes.

    Raises:
        InputError: The reading has problems, or a step has too many propositions.
    """
    problems = reading.problems or undecided(reading, conditional)
    if problems:
        raise InputError(problems[0].to_line(), remedy="mend the text")
    return _Machine(reading, conditional).build()


def undecided(reading: Reading, conditional: Conditional) -> tuple[Problem, ...]:
    """The conditions of a text without problems whose other case the profile does not settle."""
    if conditional != "natural":
        return ()
    hold = lexicon_of(reading.vocabulary).hold
    chains = (chain for group in _groups(_sentences(reading)) for chain in group)
    return tuple(
        Problem(case.step, _words(reading, case), "ambiguous", "say what to do otherwise")
        for chain in chains
        if isinstance(chain[-1].statement, If)
        for case in chain
        if _stops_then_moves(case.statement, hold)
    )


def _sentences(reading: Reading) -> list[tuple[Sentence, ...]]:
    return [step.sentences for step in reading.steps]


def _words(reading: Reading, case: _Case) -> str:
    first, last = case.statement.acts[0].span, case.statement.acts[-1].span
    return reading.lines[case.step - 1][first[0] : last[1]]


def _stops_then_moves(statement: Statement, hold: frozenset[str]) -> bool:
    acts = [act for act in statement.acts if not isinstance(act, Jump)]
    moves = [n for n, act in enumerate(acts) if _moves(act, hold)]
    waits = [n for n, act in enumerate(acts) if not _moves(act, hold) and not _looks(act)]
    return len(acts) == len(statement.acts) and bool(moves and waits) and waits[0] < moves[0]


def _moves(act: Act, hold: frozenset[str]) -> bool:
    return not isinstance(act, Jump) and act.action not in hold | {EPSILON}


def _looks(act: Act) -> bool:
    return isinstance(act, Do) and act.action == EPSILON


class _Machine:
    def __init__(self, reading: Reading, conditional: Conditional) -> None:
        self.reading = reading
        self.conditional = conditional
        self.order = reading.vocabulary.proposition_names
        self.hold = lexicon_of(reading.vocabulary).hold
        self.final = len(reading.steps)
        self.states = self.final + 1
        self.transitions: list[Transition] = []
        self.step_state = self.next_state = 0

    def build(self) -> Controller:
        groups = list(_groups(_sentences(self.reading)))
        starts = [chains[0][0].step - 1 for chains in groups]
        for start, after, chains in zip(starts, [*starts[1:], self.final], groups, strict=True):
            self.step_state, self.next_state = start, after
            state = start
            for chain, following in zip(chains, [*chains[1:], None], strict=True):
                target = after if following is None else self._fresh()
                self._chain(state, chain, target)
                state = target
        transitions = tuple(self.transitions)
        return Controller(0, self.final, transitions, self.reading.lines)

    def _fresh(self) -> int:
        self.states += 1
        return self.states - 1

    def _chain(self, state: int, chain: Sequence[_Case], target: int) -> None:
        """An "if", what is otherwise the case, and so on; or a plain statement."""
        rest: Expression = TRUE
        all_hold = all(self._holds(case.statement) for case in chain)
        said: tuple[Span, int] = (0, 0), chain[0].step
        for case in chain:
            statement = case.statement
            stays = self._holds(statement) and len(chain) > 1 and not all_hold
            if not isinstance(statement, If):
                end = state if stays else target
                self._acts(state, rest, statement.acts, end, case.step, None)
                return
            guard = _both(rest, statement.condition)
            end = state if self._holds(statement) else target
            self._acts(state, guard, statement.acts, end, case.step, statement.span)
            rest = _both(rest, negation(statement.condition))
            said = statement.span, case.step
        span, step = said
        waits = any(self._gates(case.statement) for case in chain)
        self._add(state, rest, EPSILON, state if waits else target, step, span)

    def _holds(self, statement: Statement) -> bool:
        """Whether the branch is a mere action that holds while its case lasts."""
        first = statement.acts[0]
        is_hold = isinstance(first, Do) and first.action in self.hold
        return self.conditional == "natural" and is_hold and len(statement.acts) == 1

    def _gates(self, statement: Statement) -> bool:
        """Whether the step is not passed before the condition holds."""
        if isinstance(statement.acts[-1], Jump) or self.conditional == "skip":
            return False
        if self.conditional == "wait":
            return True
        return any(_moves(act, self.hold) for act in statement.acts)

    def _acts(
        self,
        state: int,
        guard: Expression,
        acts: Sequence[Act],
        target: int,
        step: int,
        span: Span | None,
    ) -> None:
        """Transitions that do the acts from ``state``, the first of them under ``guard``."""
        if not acts:
            self._add(state, guard, EPSILON, target, step, span or (0, 0))
            return
        act, *rest = acts
        words = act.span if span is None else cover(span, act.span)
        if isinstance(act, Jump):
            self._add(state, guard, EPSILON, self._resolve(act), step, words)
        elif isinstance(act, Do):
            if not rest:
                after = target
            elif isinstance(rest[0], Jump):
                after = self._resolve(rest[0])
                words = cover(words, rest[0].span)
            else:
                after = self._fresh()
                self._acts(after, TRUE, rest, target, step, None)
            self._add(state, guard, act.action, after, step, words)
        else:
            self._hold(state, guard, act, rest, target, step, words)

    def _hold(
        self,
        state: int,
        guard: Expression,
        act: Hold,
        rest: Sequence[Act],
        target: int,
        step: int,
        words: Span,
    ) -> None:
        holding = state if guard == TRUE else self._fresh()
        until, not_yet = act.until, negation(act.until)
        self._add(state, _both(guard, not_yet), act.action, holding, step, words)
        self._acts(state, _both(guard, until), rest, target, step, words)
        if holding != state:
            self._add(holding, not_yet, act.action, holding, step, words)
            self._acts(holding, until, rest, target, step, words)

    def _resolve(self, jump: Jump) -> int:
        if isinstance(jump.to, int):
            return jump.to - 1
        places = {"end": self.final, "start": 0, "here": self.step_state, "next": self.next_state}
        return places[jump.to]

    def _add(
        self, state: int, guard: Expression, action: str, target: int, step: int, span: Span
    ) -> None:
        text = guard_of(guard, self.order)
        if text != "false":
            words = self.reading.lines[step - 1][span[0] : span[1]]
            self.transitions.append(Transition(state, text, action, target, step, words))


def _both(left: Expression, right: Expression) -> Expression:
    if left == TRUE:
        return right
    return AllOf((*left.parts, right) if isinstance(left, AllOf) else (left, right))


def _groups(steps: Sequence[Sequence[Sentence]]) -> Iterator[list[list[_Case]]]:
    """The steps as lists of chains; a step that begins with "otherwise" joins the one before."""
    group: list[list[_Case]] = []
    for number, sentences in enumerate(steps, start=1):
        if group and not isinstance(sentences[0], Otherwise):
            yield group
            group = []
        for sentence in sentences:
            if isinstance(sentence, Otherwise):
                group[-1] += _cases(sentence.statement, number)
            else:
                group.append(list(_cases(sentence, number)))
    yield group


def _cases(statement: Statement, step: int) -> Iterator[_Case]:
    """A statement and its nested "otherwise", one after the other."""
    yield _Case(statement, step)
    if isinstance(statement, If) and statement.otherwise is not None:
        yield from _cases(statement.otherwise, step)
