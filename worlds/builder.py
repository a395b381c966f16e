"""Worlds by rule: Algorithm 1 of the paper without enumerating 2^P.

The paper creates a state for each of the 2^P labels, keeps the transitions that the system
allows and deletes states with neither in- nor out-edges. Here invariants and step rules become
binary decision diagrams (Spot's), and only their solutions are ever enumerated: labels that the
invariants allow, and for each of them the successors that the steps allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from verifier.bindings import buddy, spot
from verifier.errors import InputError
from verifier.formulas import Formula, check_known, parse_boolean, parse_ltl
from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import Vocabulary
from worlds.scenario import ByRule

MAX_STATES = 100_000
MAX_ENTRIES = 20_000_000
"""Bound on the successors held in memory; equal rows count once."""

Bdd = Any
"""A ``buddy.bdd`` (Spot's bindings carry no types)."""

_CONNECTIVES = (spot.op_Not, spot.op_And, spot.op_Or, spot.op_Implies, spot.op_Equiv, spot.op_Xor)
_NEXT = "'"
"""Marks the copy of a variable that stands for its value in the next state."""


def build_by_rule(
    name: str, text: str, rules: ByRule, vocabulary: Vocabulary, file: object = None
) -> TransitionSystem:
    """The transition system that the rules describe.

    States are named ``s0``, ``s1``, ... in the order of their labels (read as binary numbers,
    the first proposition most significant); hidden variables that hold are appended
    (``s7+yellow_light``).

    Raises:
        InputError: Unknown proposition, syntax error, an operator that rules may not use, no
            label satisfies the invariants or too many do, no transition satisfies the steps.
    """
    _refuse_names(rules, vocabulary, file)
    variables = (*rules.propositions, *rules.hidden)
    space = _Space(variables)
    allowed, allowed_next = _allowed(rules, space, file)
    _refuse_size(space, allowed, file)
    relation = _relation(rules, space, file)
    valuations = list(_solutions(allowed, space.now))
    index = {valuation: i for i, valuation in enumerate(valuations)}
    rows = _successor_rows(space, relation, allowed_next, index, file)
    if not any(rows):
        raise InputError(
            "no transition satisfies the steps", file=file, place="steps", remedy="weaken them"
        )
    initial = _initial(rules, space, allowed, file)
    used = {target for row in set(rows) for target in row}
    kept = [i for i, row in enumerate(rows) if row or i in used]
    position = {old: new for new, old in enumerate(kept)}
    shared = {row: tuple(position[i] for i in row) for row in set(rows)}
    width = len(rules.propositions)
    return TransitionSystem(
        name=name,
        text=text,
        propositions=rules.propositions,
        states=tuple(_state_name(position[i], valuations[i], variables, width) for i in kept),
        labels=tuple(_names(valuations[i][:width], variables) for i in kept),
        initial=tuple(position[i] for i in kept if valuations[i] in initial),
        successors=tuple(shared[rows[i]] for i in kept),
        assumptions=tuple(Assumption(formula) for formula in rules.assumptions),
    )


class _Space:
    """A variable for each proposition now and one for it in the next state, interleaved."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._dict = spot.make_bdd_dict()
        self._owner = spot.make_twa_graph(self._dict)
        pairs = [
            (self._owner.register_ap(name), self._owner.register_ap(name + _NEXT)) for name in names
        ]
        self.now = tuple(now for now, _ in pairs)
        self.next = tuple(after for _, after in pairs)

    def bdd(self, formula: Formula) -> Bdd:
        """The diagram of a Boolean formula over the names."""
        return spot.formula_to_bdd(formula, self._dict, self._owner)


def _refuse_names(rules: ByRule, vocabulary: Vocabulary, file: object) -> None:
    for name in rules.propositions:
        known = vocabulary.proposition_names
        check_known(spot.formula.ap(name), known, file=file, place="propositions")
    taken = (*vocabulary.proposition_names, *vocabulary.action_names)
    for name in rules.hidden:
        if name in taken or not _is_name(name):
            raise InputError(
                f"{name!r} cannot be hidden",
                file=file,
                place="hidden",
                remedy="hidden variables have names of their own, such as yellow_light",
            )


def _is_name(text: str) -> bool:
    """Whether formulas read it as one proposition (``Foo`` is F oo, eventually oo)."""
    try:
        formula = spot.formula(text)
    except SyntaxError:
        return False
    return text.isidentifier() and formula._is(spot.op_ap) and formula.ap_name() == text


def _allowed(rules: ByRule, space: _Space, file: object) -> tuple[Bdd, Bdd]:
    """Labels that satisfy every invariant, and the same condition on the next state."""
    known = (*rules.propositions, *rules.hidden)
    result, after = buddy.bddtrue, buddy.bddtrue
    for number, text in enumerate(rules.invariants, start=1):
        place = f"invariant {number}"
        formula = parse_boolean(text, known, file=file, place=place)
        result &= space.bdd(formula)
        after &= space.bdd(_prime(formula))
        if result == buddy.bddfalse:
            raise InputError(
                "no label satisfies the invariants up to this one",
                file=file,
                place=place,
                remedy="weaken it",
            )
    return result, after


def _relation(rules: ByRule, space: _Space, file: object) -> Bdd:
    """Pairs of labels that satisfy every step rule."""
    known = (*rules.propositions, *rules.hidden)
    result = buddy.bddtrue
    for number, text in enumerate(rules.steps, start=1):
        place = f"step {number}"
        formula = parse_ltl(text, known, file=file, place=place)
        try:
            result &= space.bdd(_without_next(formula))
        except ValueError as error:
            raise InputError(
                f"{error} in a step rule: {text}",
                file=file,
                place=place,
                remedy="combine propositions p and next values X p with ! & | -> <-> xor only",
            ) from None
    return result


def _without_next(formula: Formula) -> Formula:
    """``formula`` with each X p replaced by the next-state copy of p."""
    if formula._is(spot.op_X):
        if not formula[0].is_boolean():
            raise ValueError(f"X cannot stand before {formula[0]}")
        return _prime(formula[0])
    if formula.is_boolean():
        return formula
    if any(formula._is(connective) for connective in _CONNECTIVES):
        return formula.map(_without_next)
    raise ValueError(f"{formula.kindstr()} cannot be used")


def _prime(formula: Formula) -> Formula:
    if formula._is(spot.op_ap):
        return spot.formula.ap(formula.ap_name() + _NEXT)
    return formula.map(_prime)


def _initial(
    rules: ByRule, space: _Space, allowed: Bdd, file: object
) -> frozenset[tuple[bool, ...]]:
    if rules.initial is not None:
        known = (*rules.propositions, *rules.hidden)
        allowed &= space.bdd(parse_boolean(rules.initial, known, file=file, place="initial"))
    return frozenset(_solutions(allowed, space.now))


def _refuse_size(space: _Space, allowed: Bdd, file: object) -> None:
    count = _count(allowed, space.now)
    if count > MAX_STATES:
        raise InputError(
            f"{count} labels satisfy the invariants, more than {MAX_STATES}",
            file=file,
            remedy="add invariants or leave propositions out",
        )


def _successor_rows(
    space: _Space,
    relation: Bdd,
    allowed_next: Bdd,
    index: dict[tuple[bool, ...], int],
    file: object,
) -> list[tuple[int, ...]]:
    """Successors of each state in ascending order; equal rows are the same object.

    The invariants of the next state come in last, state by state: as one diagram, those of both
    states may be as large as the square of either.
    """
    cache: dict[Bdd, tuple[int, ...]] = {}
    now = _conjunction(buddy.bdd_ithvar(variable) for variable in space.now)
    rows = []
    entries = 0
    for valuation in index:
        state = _conjunction(map(_literal, space.now, valuation))
        # Not bdd_restrict: below the top of the diagram it takes exponential time.
        after = buddy.bdd_exist(relation & state, now) & allowed_next
        if after not in cache:
            entries += _count(after, space.next)
            if entries > MAX_ENTRIES:
                raise InputError(
                    f"more than {MAX_ENTRIES} transitions",
                    file=file,
                    remedy="add invariants or step rules, or leave propositions out",
                )
            cache[after] = tuple(sorted(index[v] for v in _solutions(after, space.next)))
        rows.append(cache[after])
    return rows


def _conjunction(diagrams: Iterable[Bdd]) -> Bdd:
    result = buddy.bddtrue
    for diagram in diagrams:
        result &= diagram
    return result


def _literal(variable: int, value: bool) -> Bdd:
    return buddy.bdd_ithvar(variable) if value else buddy.bdd_nithvar(variable)


def _count(diagram: Bdd, variables: tuple[int, ...]) -> int:
    domain = _conjunction(buddy.bdd_ithvar(variable) for variable in variables)
    return int(buddy.bdd_satcountset(diagram, domain))


def _solutions(diagram: Bdd, variables: tuple[int, ...]) -> Iterator[tuple[bool, ...]]:
    """Satisfying valuations of the variables, in ascending order (False before True)."""
    if diagram == buddy.bddfalse:
        return
    if not variables:
        yield ()
        return
    for value in (False, True):
        rest = buddy.bdd_restrict(diagram, _literal(variables[0], value))
        for tail in _solutions(rest, variables[1:]):
            yield (value, *tail)


def _names(valuation: tuple[bool, ...], variables: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name, value in zip(variables, valuation, strict=False) if value)


def _state_name(
    number: int, valuation: tuple[bool, ...], variables: tuple[str, ...], width: int
) -> str:
    hidden = zip(variables[width:], valuation[width:], strict=True)
    return "+".join((f"s{number}", *(name for name, value in hidden if value)))
