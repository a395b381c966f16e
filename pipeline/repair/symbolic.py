"""Symbolic repair: the smallest edits of an answer that the checker accepts.

A counterexample names the step at fault and the facts the violation rests on
(`verifier.causes`). Each fact suggests edits: the step's guard is strengthened by the opposite of
what was observed, a stop is put before it, or the step goes. A manoeuvre that is never made is
appended, or what holds it up is loosened. The edits are searched best first; steps that turn out
not to be needed are left out at the end. What comes out has been verified like any other answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from pipeline.evaluation import Judge
from pipeline.repair.lines import (
    Lines,
    conditional,
    deleted,
    inserted,
    numbered,
    replaced,
    sentence,
)
from pipeline.tasks import STOP, Task
from verifier.causes import Literal, causes, literals
from verifier.controller import EPSILON, Controller, Transition
from verifier.formulas import atomic_propositions, parse_ltl
from verifier.steps import steps_to_controller
from verifier.truth_tables import MAX_SUPPORT, cubes_of, support_of, table_of
from verifier.verdicts import Lasso, Moment, Report, Verdict
from verifier.vocabulary import Vocabulary

LONGEST = 10
"""Steps of a repaired answer at most."""


@dataclass(frozen=True)
class Repair:
    """A repaired answer.

    Attributes:
        text: Its numbered steps.
        edits: What was changed, in words, in order.
        controller_hash: Canonical hash of its controller.
    """

    text: str
    edits: tuple[str, ...]
    controller_hash: str


@dataclass(frozen=True)
class _Draft:
    lines: Lines
    edits: tuple[str, ...]
    controller: Controller
    report: Report

    @property
    def broken(self) -> int:
        """Rules violated; the manoeuvre counts most, since loosening a guard breaks others."""
        *rules, progress = self.report.verdicts
        return sum(v.value == "violated" for v in rules) + 3 * (not progress.holds)

    @property
    def done(self) -> bool:
        *rules, progress = self.report.verdicts
        return progress.value == "satisfied" and all(
            v.holds or v.value == "inapplicable" for v in rules
        )


def repair(
    judge: Judge,
    task: Task,
    text: str,
    *,
    max_edits: int = 6,
    most: int = 1,
    budget: int = 60,
) -> tuple[Repair, ...]:
    """Repaired forms of an answer with different controllers, fewest edits first.

    Args:
        judge: Reads and verifies.
        task: What the answer should do, and where.
        text: An answer that can be read; another one has no repairs.
        max_edits: Edits per repair at most; leaving out what is not needed is not counted.
        most: Repairs to look for.
        budget: Controllers to verify at most.
    """
    start = _draft(judge, task, tuple(_lines(judge, text)), ())
    if start is None or start.done:
        return ()
    found: dict[str, Repair] = {}
    order = count()
    queue = [(start.broken, 0, next(order), start)]
    seen = {start.lines}
    while queue and budget > 0 and len(found) < most:
        _, _, _, draft = heapq.heappop(queue)
        if len(draft.edits) == max_edits:
            continue
        for lines, edit in _edits(draft, task, judge.vocabulary):
            if lines in seen or not 0 < len(lines) <= LONGEST or budget <= 0:
                continue
            seen.add(lines)
            budget -= 1
            after = _draft(judge, task, lines, (*draft.edits, edit))
            if after is None:
                continue
            if after.done:
                after = _simplified(judge, task, after)
                key = str(after.report.controller_hash)
                found.setdefault(key, Repair(numbered(after.lines), after.edits, key))
                if len(found) == most:
                    break
            else:
                heapq.heappush(queue, (after.broken, len(after.edits), next(order), after))
    return tuple(sorted(found.values(), key=lambda r: len(r.edits)))


def _lines(judge: Judge, text: str) -> tuple[str, ...]:
    controller = steps_to_controller(text, judge.vocabulary, judge.semantics.conditional).controller
    return controller.steps if controller is not None else ()


def _draft(judge: Judge, task: Task, lines: Lines, edits: tuple[str, ...]) -> _Draft | None:
    if not lines:
        return None
    alignment = steps_to_controller(numbered(lines), judge.vocabulary, judge.semantics.conditional)
    if alignment.controller is None:
        return None
    checker = judge.checker(task.world, judge.rules_of(task))
    report = checker.check(alignment.controller)
    return _Draft(lines, edits, alignment.controller, report)


def _simplified(judge: Judge, task: Task, draft: _Draft) -> _Draft:
    """Without the steps that act and are not needed, last ones first; it still succeeds."""
    for step in range(len(draft.lines), 0, -1):
        if not any(t.step == step and t.action != EPSILON for t in draft.controller.transitions):
            continue
        lines = deleted(draft.lines, step)
        shorter = _draft(judge, task, lines, (*draft.edits, f"step {step} not needed"))
        if shorter is not None and shorter.done:
            draft = shorter
    return draft


def _edits(draft: _Draft, task: Task, vocabulary: Vocabulary) -> Iterator[tuple[Lines, str]]:
    *rules, progress = draft.report.verdicts
    broken = [v for v in rules if v.counterexample is not None]
    if broken:
        yield from _safety_edits(draft, broken[0], task.action, vocabulary)
    elif progress.counterexample is not None:
        yield from _progress_edits(draft, progress.counterexample, task.action, vocabulary)


def _safety_edits(
    draft: _Draft, verdict: Verdict, goal: str, vocabulary: Vocabulary
) -> Iterator[tuple[Lines, str]]:
    lasso = verdict.counterexample
    assert lasso is not None
    _, facts = causes(
        verdict.formula, [m.letter for m in lasso.prefix], [m.letter for m in lasso.cycle]
    )
    told = list(literals(facts))
    moves = [f for f in told if f.value and f.name in vocabulary.action_names and f.name != STOP]
    if not moves:
        return
    moment = _moment(lasso, moves[-1].position)
    step = moment.step
    if step is None:
        return
    acting = _acting(draft.controller, step, moment.action)
    if acting is not None and moment.action != goal:
        line = _rewritten(acting.guard, goal, vocabulary)
        if line is not None:
            yield replaced(draft.lines, step, line), f"step {step} makes the manoeuvre"
        yield deleted(draft.lines, step), f"step {step} taken out"
    if STOP in atomic_propositions(parse_ltl(verdict.formula, _letters(vocabulary))):
        yield inserted(draft.lines, step, "Stop."), f"a stop before step {step}"
    for fact in told:
        if fact.position != moves[-1].position or fact.name in vocabulary.action_names:
            continue
        if acting is not None:
            yield _strengthened(draft, step, acting, fact, vocabulary)


def _strengthened(
    draft: _Draft, step: int, acting: Transition, fact: Literal, vocabulary: Vocabulary
) -> tuple[Lines, str]:
    """The step acts only if it observes the opposite of the fact; if it never can, it goes."""
    literal = fact.name if not fact.value else f"!{fact.name}"
    line = _rewritten(f"({acting.guard}) & {literal}", acting.action, vocabulary)
    if line is None:
        return deleted(draft.lines, step), f"step {step} taken out"
    phrase = vocabulary.proposition(fact.name).phrase
    need = f"{'no ' if fact.value else ''}{phrase}"
    return replaced(draft.lines, step, line), f"step {step} asks for {need}"


def _progress_edits(
    draft: _Draft, lasso: Lasso, goal: str, vocabulary: Vocabulary
) -> Iterator[tuple[Lines, str]]:
    phrase = vocabulary.action(goal).phrase
    acting = [t for t in draft.controller.transitions if t.action == goal and t.step is not None]
    if not acting:
        line = sentence(phrase)
        yield (*draft.lines, line), f"step {len(draft.lines) + 1} makes the manoeuvre"
        return
    held = {m.step for m in lasso.cycle if m.step is not None}
    goals = {t.step for t in acting}
    for transition in acting:
        step = transition.step
        assert step is not None
        line = _rewritten(transition.guard, goal, vocabulary)
        if line is not None:
            yield replaced(draft.lines, step, line), f"step {step} only makes the manoeuvre"
        for weaker in _weakened(transition, vocabulary):
            yield replaced(draft.lines, step, weaker), f"step {step} asks for less"
    for step in sorted(held - goals):
        yield deleted(draft.lines, step), f"step {step} taken out"


def _weakened(transition: Transition, vocabulary: Vocabulary) -> Iterator[str]:
    """The transition as a step, under one literal less."""
    support = support_of([transition.guard], vocabulary.proposition_names)
    cubes = cubes_of(table_of(transition.guard, support), support)
    for cube in cubes:
        for literal in cube:
            rest = tuple(other for other in cube if other != literal)
            others = tuple(other for other in cubes if other != cube)
            yield conditional((rest, *others), transition.action, vocabulary)


def _rewritten(guard: str, action: str, vocabulary: Vocabulary) -> str | None:
    """ "If <guard>, <action>."; None if the guard is never true or has too many propositions."""
    support = support_of([guard], vocabulary.proposition_names)
    if len(support) > MAX_SUPPORT:
        return None
    cubes = cubes_of(table_of(guard, support), support)
    return conditional(cubes, action, vocabulary) if cubes else None


def _acting(controller: Controller, step: int, action: str | None) -> Transition | None:
    return next((t for t in controller.transitions if (t.step, t.action) == (step, action)), None)


def _moment(lasso: Lasso, position: int) -> Moment:
    moments = (*lasso.prefix, *lasso.cycle)
    if position < len(moments):
        return moments[position]
    start = len(lasso.prefix)
    return moments[start + (position - start) % len(lasso.cycle)]


def _letters(vocabulary: Vocabulary) -> tuple[str, ...]:
    return (*vocabulary.proposition_names, *vocabulary.action_names)
