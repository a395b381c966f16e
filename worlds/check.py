"""Checking worlds: anybody may run `check_world` on their own, written, built or learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from verifier.automata import make_alphabet, world_automaton
from verifier.errors import InputError
from verifier.formulas import atomic_propositions, parse_ltl
from verifier.semantics import Semantics
from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import Vocabulary

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a world.

    Attributes:
        severity: Verdicts are meaningless (``error``) or possibly not what was meant.
        problem: What is wrong.
        place: Where, or None for the world as a whole.
        remedy: What to do about it.
    """

    severity: Severity
    problem: str
    place: str | None
    remedy: str

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{self.severity}: {place}{self.problem}; {self.remedy}"

    def as_error(self, file: object = None) -> InputError:
        """The finding as the exception that a command reports."""
        return InputError(self.problem, file=file, place=self.place, remedy=self.remedy)


def check_world(world: TransitionSystem, vocabulary: Vocabulary) -> tuple[Finding, ...]:
    """Everything that is wrong with ``world``, errors first.

    Errors: no initial state, deadlocks, labels with unknown propositions, assumptions that cannot
    be read, mention an action or that no path satisfies. Warnings: unreachable states,
    propositions that never or always hold, assumptions about propositions the world lacks.
    """
    findings = [
        *_initial(world),
        *_deadlocks(world),
        *_labels(world, vocabulary),
        *_assumptions(world, vocabulary),
        *_unreachable(world),
        *_constant(world),
    ]
    return tuple(sorted(findings, key=lambda finding: finding.severity))


def _initial(world: TransitionSystem) -> Iterator[Finding]:
    if not world.states:
        yield Finding("error", "no states", None, "weaken the rules or add states")
    elif not world.initial:
        yield Finding("error", "no initial state", "initial", "write 'initial: all'")


def _deadlocks(world: TransitionSystem) -> Iterator[Finding]:
    stuck = [i for i, row in enumerate(world.successors) if not row]
    if stuck:
        yield Finding(
            "error",
            "deadlock: no transition leaves it" if len(stuck) == 1 else "deadlocks: no way out",
            _places(world, stuck),
            "give it a successor (itself, if the world can stay as it is)",
        )


def _labels(world: TransitionSystem, vocabulary: Vocabulary) -> Iterator[Finding]:
    for name in world.propositions:
        if name not in vocabulary.proposition_names:
            yield _unknown(name, "propositions", vocabulary)
    strangers = frozenset().union(*set(world.labels)) - set(world.propositions)
    for name in sorted(strangers):
        where = _places(world, [i for i, label in enumerate(world.labels) if name in label])
        if name in vocabulary.proposition_names:
            problem = f"{name!r} holds here but is not among the world's propositions"
            yield Finding("error", problem, where, "add it to 'propositions'")
        else:
            yield _unknown(name, where, vocabulary)


def _unknown(name: str, place: str, vocabulary: Vocabulary) -> Finding:
    known = vocabulary.proposition_names
    try:
        parse_ltl(f'"{name}"', known, place=place)
    except InputError as error:
        return Finding("error", error.problem, place, error.remedy or "rename it")
    return Finding("error", f"unknown proposition {name!r}", place, f"known: {', '.join(known)}")


def _assumptions(world: TransitionSystem, vocabulary: Vocabulary) -> Iterator[Finding]:
    readable: dict[str, Assumption] = {}
    for number, assumption in enumerate(world.assumptions, start=1):
        place = f"assumption {number}"
        try:
            names = _names(assumption, vocabulary)
        except InputError as error:
            yield Finding("error", error.problem, place, error.remedy or "mend the formula")
            continue
        readable[place] = assumption
        for name in names:
            if name not in world.propositions:
                problem = f"{name!r} is not among the world's propositions, so it never holds"
                yield Finding("warning", problem, place, "leave it out or add it to 'propositions'")
    yield from _unsatisfiable(world, readable, vocabulary)


def _names(assumption: Assumption, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The propositions an assumption mentions.

    Raises:
        InputError: It cannot be read, or mentions an action.
    """
    try:
        formula = parse_ltl(assumption.formula, vocabulary.proposition_names)
    except InputError as error:
        for action in vocabulary.action_names:
            if error.problem == f"unknown proposition {action!r}":
                problem = f"{action!r} is an action; assumptions speak about the world only"
                raise InputError(problem, remedy="use propositions") from None
        raise
    return atomic_propositions(formula)


def _unsatisfiable(
    world: TransitionSystem, assumptions: dict[str, Assumption], vocabulary: Vocabulary
) -> Iterator[Finding]:
    """Assumptions that no path satisfies, alone or together with the others of their part."""
    if not world.initial or not all(world.successors):
        return
    impossible = False
    for place, assumption in assumptions.items():
        starts = tuple(i for i in world.initial if _covers(assumption, i))
        if starts and not _has_path(world, starts, [assumption], vocabulary):
            impossible = True
            problem = f"no path satisfies it: {assumption.formula}"
            yield Finding("error", problem, place, "weaken it, or allow more labels or transitions")
    if impossible:
        return
    parts: dict[tuple[str, ...], list[int]] = {}
    for i in world.initial:
        applying = tuple(place for place, a in assumptions.items() if _covers(a, i))
        parts.setdefault(applying, []).append(i)
    for applying, starts in parts.items():
        together = [assumptions[place] for place in applying]
        if len(together) > 1 and not _has_path(world, tuple(starts), together, vocabulary):
            numbers = ", ".join(place.removeprefix("assumption ") for place in applying)
            problem = "no path satisfies all of them"
            yield Finding("error", problem, f"assumptions {numbers}", "weaken one of them")


def _has_path(
    world: TransitionSystem,
    starts: tuple[int, ...],
    assumptions: Sequence[Assumption],
    vocabulary: Vocabulary,
) -> bool:
    """Whether some infinite path from ``starts`` satisfies all ``assumptions``."""
    everywhere = tuple(Assumption(a.formula) for a in assumptions)
    part = replace(world, initial=starts, assumptions=everywhere)
    try:
        world_automaton(part, make_alphabet(vocabulary), Semantics())
    except InputError:
        return False
    return True


def _covers(assumption: Assumption, state: int) -> bool:
    return assumption.states is None or state in assumption.states


def _unreachable(world: TransitionSystem) -> Iterator[Finding]:
    reached = set(world.initial)
    expanded: set[int] = set()
    frontier = list(reached)
    while frontier:
        row = world.successors[frontier.pop()]
        # Rows are shared objects: a complete graph is then explored once, not once per state.
        if id(row) not in expanded:
            expanded.add(id(row))
            new = [i for i in row if i not in reached]
            reached.update(new)
            frontier += new
    lost = [i for i in range(len(world.states)) if i not in reached]
    if lost and world.initial:
        problem = "cannot be reached from any initial state"
        yield Finding("warning", problem, _places(world, lost), "remove it or add transitions")


def _constant(world: TransitionSystem) -> Iterator[Finding]:
    labels = set(world.labels)
    for name in world.propositions:
        holds = {name in label for label in labels}
        if len(holds) == 1:
            always = holds.pop()
            problem = f"{name!r} {'holds in every state' if always else 'never holds'}"
            remedy = "right if it is part of the place" if always else "remove it"
            yield Finding("warning", problem, "propositions", remedy)


def _places(world: TransitionSystem, indices: Iterable[int]) -> str:
    names = [world.states[i] for i in indices]
    if len(names) == 1:
        return f"state {names[0]}"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"states {', '.join(names[:3])}{more}"
