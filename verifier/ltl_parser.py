"""A parser of LTL in Spot's syntax that does not use Spot: formulas become small programs.

The syntax is in ``ltl.lark``. Abbreviations are expanded while reading, so that whoever evaluates a
formula handles nine operators only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from lark import Lark, Token
from lark.exceptions import UnexpectedInput, VisitError
from lark.visitors import Transformer_NonRecursive

Operator = Literal["ap", "true", "not", "and", "or", "next", "strong_next", "until", "release"]

_MAX_BOUND = 500


class Node(NamedTuple):
    """A subformula; its operands are indices of earlier nodes of the program.

    ``strong_next`` differs from ``next`` at the end of a finite word only.
    """

    operator: Operator
    operands: tuple[int, ...] = ()
    name: str = ""


@lru_cache(maxsize=4096)
def parse(formula: str) -> tuple[Node, ...]:
    """The formula as a program: each node after its operands, the whole formula last.

    Raises:
        ValueError: Syntax error, with the column at fault.
    """
    builder = _Builder()
    try:
        root = builder.transform(_grammar().parse(formula))
    except UnexpectedInput as error:
        column = getattr(error, "column", -1)
        place = f"at column {column}" if column > 0 else "at the end"
        raise ValueError(f"syntax error {place} of the formula {formula!r}") from None
    except VisitError as error:
        raise ValueError(f"{error.orig_exc} in the formula {formula!r}") from None
    return tuple(builder.nodes[: root + 1])


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    text = Path(__file__).with_name("ltl.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", maybe_placeholders=False)


class _Builder(Transformer_NonRecursive):
    """Turns a parse tree into nodes; equal subformulas become one node.

    The public methods are named after the grammar's rules; each takes its operands' indices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._index: dict[Node, int] = {}

    def _add(self, operator: Operator, *operands: int, name: str = "") -> int:
        node = Node(operator, operands, name)
        if node not in self._index:
            self._index[node] = len(self.nodes)
            self.nodes.append(node)
        return self._index[node]

    def _chain(self, operator: Operator, operands: Sequence[int]) -> int:
        result = operands[0]
        for operand in operands[1:]:
            result = self._add(operator, result, operand)
        return result

    def _not(self, x: int) -> int:
        return self._add("not", x)

    def _within(self, operator: Operator, bounds: tuple[int, int | None], x: int) -> int:
        """F[i:j] x is x at one of the positions i to j, G[i:j] x at all of them."""
        low, high = bounds
        if high is None:
            result = self.eventually([x]) if operator == "or" else self.always([x])
        else:
            result, (low, high) = x, sorted((low, high))
            for _ in range(high - low):
                result = self._add(operator, x, self._add("next", result))
        return self.next_n([low, result])

    def proposition(self, x: list[Token]) -> int:
        return self._add("ap", name=str(x[0]))

    def quoted(self, x: list[Token]) -> int:
        return self._add("ap", name=x[0][1:-1].replace('\\"', '"'))

    def barred(self, x: list[Token]) -> int:
        return self._not(self.proposition(x))

    def true(self, _x: list[Token]) -> int:
        return self._add("true")

    def false(self, _x: list[Token]) -> int:
        return self._not(self._add("true"))

    def negation(self, x: list[int]) -> int:
        return self._not(x[0])

    def conjunction(self, x: list[int]) -> int:
        return self._chain("and", x)

    def disjunction(self, x: list[int]) -> int:
        return self._chain("or", x)

    def implies(self, x: list[int]) -> int:
        return self._add("or", self._not(x[0]), x[1])

    def iff(self, x: list[int]) -> int:
        return self._not(self.xor(x))

    def xor(self, x: list[int]) -> int:
        one = self._add("and", x[0], self._not(x[1]))
        return self._add("or", one, self._add("and", self._not(x[0]), x[1]))

    def next(self, x: list[int]) -> int:
        return self._add("next", x[0])

    def strong_next(self, x: list[int]) -> int:
        return self._add("strong_next", x[0])

    def next_n(self, x: list[int]) -> int:
        result = x[1]
        for _ in range(_bound(x[0])):
            result = self._add("next", result)
        return result

    def eventually(self, x: list[int]) -> int:
        return self._add("until", self._add("true"), x[0])

    def always(self, x: list[int]) -> int:
        return self._add("release", self.false([]), x[0])

    def range(self, x: list[Token]) -> tuple[int, int | None]:
        return _bound(x[0]), _bound(x[1]) if len(x) > 1 else None

    def eventually_within(self, x: list) -> int:
        return self._within("or", x[0], x[1])

    def always_within(self, x: list) -> int:
        return self._within("and", x[0], x[1])

    def until(self, x: list[int]) -> int:
        return self._add("until", x[0], x[1])

    def release(self, x: list[int]) -> int:
        return self._add("release", x[0], x[1])

    def weak_until(self, x: list[int]) -> int:
        return self._add("release", x[1], self._add("or", x[0], x[1]))

    def strong_release(self, x: list[int]) -> int:
        return self._add("until", x[1], self._add("and", x[0], x[1]))


def _bound(number: int | str) -> int:
    value = int(number)
    if value > _MAX_BOUND:
        raise ValueError(f"bound {value} is above {_MAX_BOUND}")
    return value
