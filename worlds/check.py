"""Checking worlds: anybody may run `check_world` on their own, written, built or learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from verifier.automata import make_alphabet, world_automaton
from verifier.bindings import buddy, spot
from verifier.errors import InputError
from verifier.formulas import atomic_propositions, check_known, parse_ltl
from verifier.semantics import Semantics
from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import Vocabulary

Severity = Literal["error", "warning", "note"]

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
_SHOWN = 3
_PLACE = "right if it is part of the place, as a sign is"


@dataclass(frozen=True)
class Finding:
    """Something about a world that its author should know.

    Attributes:
        severity: Verdicts are meaningless (``error``), may not be what was meant (``warning``),
            or are all right if this is what the place looks like (``note``).
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

    Errors: indices out of range, two states of one name, no initial state, deadlocks, labels with
    unknown propositions, assumptions that cannot be read, mention an action, speak about parts
    that overlap or can be left, or that no path satisfies. Warnings: unreachable states, parts in
    which the assumptions have become impossible, propositions that never hold, assumptions about
    propositions the world lacks. Notes: propositions that always hold.
    """
    malformed = tuple(_malformed(world))
    if malformed:
        return malformed
    findings = [
        *_initial(world),
        *_deadlocks(world),
        *_labels(world, vocabulary),
        *_assumptions(world, vocabulary),
        *_unreachable(world),
        *_constant(world),
    ]
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def _malformed(world: TransitionSystem) -> Iterator[Finding]:
    """What only a world made in code can get wrong."""
    count = len(world.states)
    if not count == len(world.labels) == len(world.successors):
        problem = (
            f"{count} states, {len(world.labels)} labels and {len(world.successors)} rows of "
            "successors"
        )
        yield Finding("error", problem, None, "give every state one of each")
        return
    if len(set(world.states)) < count:
        twice = next(name for i, name in enumerate(world.states) if name in world.states[:i])
        yield Finding("error", f"two states are named {twice!r}", "states", "rename one")
    known = range(count)
    rows: dict[int, tuple[str, Iterable[int]]] = {
        id(row): (f"successors of {name}", row)
        for name, row in zip(world.states, world.successors, strict=True)
    }
    scopes = (
        (f"assumption {number}", assumption.states or ())
        for number, assumption in enumerate(world.assumptions, start=1)
    )
    for place, indices in (("initial", world.initial), *rows.values(), *scopes):
        outside = [i for i in indices if i not in known]
        if outside:
            problem = f"there is no state with index {outside[0]}"
            yield Finding("error", problem, place, f"indices go from 0 to {count - 1}")


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
            "allow a transition (to itself, if the world can stay as it is)",
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
    try:
        check_known(spot.formula.ap(name), vocabulary.proposition_names)
    except InputError as error:
        return Finding("error", error.problem, place, error.remedy or "rename it")
    raise AssertionError(f"{name} is known")


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
    scopes = list(_scopes(world, readable))
    yield from scopes
    if scopes or not world.initial or not all(world.successors):
        return
    impossible = list(_unsatisfiable(world, readable, vocabulary))
    yield from impossible or _hopeless(world, readable, vocabulary)


def _scopes(world: TransitionSystem, assumptions: dict[str, Assumption]) -> Iterator[Finding]:
    """Parts that assumptions speak about, if they overlap or can be left."""
    parts: dict[frozenset[int], str] = {}
    for place, assumption in assumptions.items():
        part = assumption.states
        if part is None or part in parts:
            continue
        other = next((parts[known] for known in parts if known & part), None)
        if other:
            problem = f"the states it speaks about overlap with those of {other}"
            yield Finding("error", problem, place, "give each part of the world its own")
        rows = {id(world.successors[i]): world.successors[i] for i in part}.values()
        out = sorted(frozenset().union(*rows) - part)
        if out:
            problem = f"it speaks about a part that can be left to {_places(world, out)}"
            yield Finding("error", problem, place, "add what can be reached from the part")
        parts[part] = place


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


def _hopeless(
    world: TransitionSystem, assumptions: dict[str, Assumption], vocabulary: Vocabulary
) -> Iterator[Finding]:
    """Parts from which no path satisfies the assumptions any more, so that nothing is judged there.

    Exact for assumptions like GF p, whose truth does not depend on the past; others are left out.
    """
    for row in _final_parts(world):
        together = [
            assumption
            for assumption in assumptions.values()
            if _covers(assumption, row[0]) and _forgets_the_past(assumption)
        ]
        if together and not _has_path(world, row[:1], together, vocabulary):
            yield Finding(
                "warning",
                "from here on the assumptions cannot hold, so nothing is checked here",
                _places(world, row),
                "allow a way out, or weaken the assumptions",
            )


def _forgets_the_past(assumption: Assumption) -> bool:
    formula = spot.formula(" ".join(assumption.formula.split()))
    return bool(formula.is_eventual() and formula.is_universal())


def _final_parts(world: TransitionSystem) -> Iterator[tuple[int, ...]]:
    """Of each reachable part that cannot be left: the successors of one of its states."""
    graph = spot.make_twa_graph(spot.make_bdd_dict())
    node_of: dict[tuple[int, ...], int] = {}
    rows: list[tuple[int, ...]] = []

    def node(row: tuple[int, ...]) -> int:
        if row not in node_of:
            node_of[row] = graph.new_state()
            rows.append(row)
        return node_of[row]

    graph.set_init_state(node(world.initial))
    for source, row in enumerate(rows):  # grows meanwhile
        # States with the same successors are one node.
        distinct = {id(world.successors[i]): world.successors[i] for i in row}
        for successors in distinct.values():
            graph.new_edge(source, node(successors), buddy.bddtrue)
    info = spot.scc_info(graph)
    for part in range(info.scc_count()):
        if not info.succ(part):
            yield rows[info.one_state_of(part)]


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
            yield (
                Finding("note", f"{name!r} holds in every state", "propositions", _PLACE)
                if always
                else Finding("warning", f"{name!r} never holds", "propositions", "remove it")
            )


def _places(world: TransitionSystem, indices: Iterable[int]) -> str:
    """The states and what holds in them: names given by rule say nothing to their author."""
    states = list(indices)
    shown = ", ".join(
        f"{world.states[i]} {{{', '.join(sorted(world.labels[i]))}}}" for i in states[:_SHOWN]
    )
    more = f" and {len(states) - _SHOWN} more" if len(states) > _SHOWN else ""
    return f"{'state' if len(states) == 1 else 'states'} {shown}{more}"
