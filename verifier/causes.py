"""Why a lasso violates a formula: the few facts about its letters that the violation rests on.

The facts follow the semantics of the operators downwards from the violated formula, as in Beer,
Ben-David, Chockler, Orni and Trefler, "Explaining counterexamples using causality" (2012); where
several would do, the fewest are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from verifier.lasso_evaluation import Letter, truth_table
from verifier.ltl_parser import Node, parse


@dataclass(frozen=True)
class Literal:
    """At ``position``, the proposition or action ``name`` holds (or not, if ``value`` is false).

    Positions go on counting through the rounds of the cycle.
    """

    position: int
    name: str
    value: bool


@dataclass(frozen=True)
class Forever:
    """From ``position`` on, node ``node`` of the program holds always (``value``) or never."""

    position: int
    node: int
    value: bool


Fact = Literal | Forever


@dataclass(frozen=True)
class _Lasso:
    program: tuple[Node, ...]
    table: list[int]
    prefix: int
    length: int

    def index(self, position: int) -> int:
        """Where the letter at ``position`` is stored."""
        if position < self.length:
            return position
        return self.prefix + (position - self.prefix) % (self.length - self.prefix)

    def true(self, node: int, position: int) -> bool:
        """Whether the node holds there."""
        return bool(self.table[node] >> self.index(position) & 1)

    def first(self, node: int, value: bool, start: int) -> int | None:
        """The first position from ``start`` on where the node has that value."""
        for position in range(start, start + self.length):
            if self.true(node, position) == value:
                return position
        return None


def causes(
    formula: str, prefix: Sequence[Letter], cycle: Sequence[Letter]
) -> tuple[tuple[Node, ...], frozenset[Fact]]:
    """The formula's program and facts that explain why it fails on ``prefix cycle cycle ...``.

    Raises:
        ValueError: Syntax error, empty cycle, or the formula holds.
    """
    program = parse(formula)
    table = truth_table(program, prefix, cycle)
    if table[-1] & 1:
        raise ValueError(f"the lasso satisfies {formula}")
    lasso = _Lasso(program, table, len(prefix), len(prefix) + len(cycle))
    return program, _why(lasso, len(program) - 1, False, 0)


def operands(program: Sequence[Node], node: int) -> list[int]:
    """The operands of a node; those of a chain of ``and`` or ``or`` all at once."""
    operator = program[node].operator
    if operator not in ("and", "or"):
        return list(program[node].operands)
    flat: list[int] = []
    pending = [node]
    while pending:
        current = pending.pop()
        if program[current].operator == operator:
            pending.extend(reversed(program[current].operands))
        else:
            flat.append(current)
    return flat


def _why(lasso: _Lasso, node: int, value: bool, position: int) -> frozenset[Fact]:
    """Facts that make ``node`` have ``value`` at ``position`` (it does)."""
    operator, parts = lasso.program[node].operator, operands(lasso.program, node)
    match operator:
        case "ap":
            return frozenset({Literal(position, lasso.program[node].name, value)})
        case "true":
            return frozenset()
        case "not":
            return _why(lasso, parts[0], not value, position)
        case "next" | "strong_next":
            return _why(lasso, parts[0], value, position + 1)
        case "and" | "or":
            if value == (operator == "and"):  # every operand matters
                return frozenset().union(*(_why(lasso, x, value, position) for x in parts))
            return _enough(lasso, parts, value, position)
        case "until":
            return _why_until(lasso, parts[0], parts[1], value, position)
        case _:  # a R b is !(!a U !b)
            return _why_until(lasso, parts[0], parts[1], not value, position, negate=True)


def _enough(lasso: _Lasso, parts: list[int], value: bool, position: int) -> frozenset[Fact]:
    """Facts for one operand of the right value, or for all that are about one proposition."""
    reasons = [_why(lasso, x, value, position) for x in parts if lasso.true(x, position) == value]
    single = [r for r in reasons if len(r) == 1 and isinstance(next(iter(r)), Literal)]
    if single:
        return frozenset().union(*single)
    return min(reasons, key=lambda r: (sum(isinstance(f, Forever) for f in r), len(r)))


def _why_until(
    lasso: _Lasso, hold: int, goal: int, value: bool, position: int, negate: bool = False
) -> frozenset[Fact]:
    """Facts for ``hold U goal`` (both negated first, if asked) being true or false.

    What holds on the way to the decisive position is left out: it would drown the explanation.
    """
    reached = lasso.first(goal, not negate, position)
    if value and reached is not None:
        return _why(lasso, goal, not negate, reached)
    broken = lasso.first(hold, negate, position)
    if broken is not None and (reached is None or broken < reached):
        return _why(lasso, hold, negate, broken) | _why(lasso, goal, negate, broken)
    return frozenset({Forever(position, goal, negate)})


def literals(facts: frozenset[Fact]) -> Iterator[Literal]:
    """The literals among the facts, by position and name."""
    found = (fact for fact in facts if isinstance(fact, Literal))
    yield from sorted(found, key=lambda f: (f.position, f.name))
