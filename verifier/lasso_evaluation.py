"""LTL on given words: does this lasso, or this finite trace, satisfy the formula?

Counterexamples are validated here by a second route: nothing in this file uses Spot or the model
checker, not even to parse. Semantics: Pnueli (1977) on infinite words; De Giacomo and Vardi (2013)
on finite ones; first bad position: informative prefixes of Kupferman and Vardi (2001), §2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from verifier.ltl_parser import Node, parse

Letter = frozenset[str]
"""The propositions and actions that hold at one position; all others do not."""


def holds(formula: str, prefix: Sequence[Letter], cycle: Sequence[Letter]) -> bool:
    """Whether the infinite word ``prefix cycle cycle ...`` satisfies ``formula``.

    Args:
        formula: LTL in Spot's syntax.
        prefix: Letters before the cycle, possibly none.
        cycle: Letters repeated for ever, at least one.

    Raises:
        ValueError: Syntax error, or an empty cycle.
    """
    return bool(truth_table(parse(formula), prefix, cycle)[-1] & 1)


def truth_table(
    program: Sequence[Node], prefix: Sequence[Letter], cycle: Sequence[Letter]
) -> list[int]:
    """For each node the positions of the lasso at which it holds (bit i: position i).

    Raises:
        ValueError: An empty cycle.
    """
    if not cycle:
        raise ValueError("a lasso needs a cycle of at least one letter")
    letters = (*prefix, *cycle)
    last, loop = 1 << (len(letters) - 1), 1 << len(prefix)

    def after(x: int) -> int:
        """Positions whose successor is in ``x``; the last one's is the first of the cycle."""
        return x >> 1 | (last if x & loop else 0)

    return _evaluate(program, letters, after, after)


def holds_finite(formula: str, trace: Sequence[Letter]) -> bool:
    """Whether the finite ``trace`` satisfies ``formula`` in LTLf.

    As in Spot, ``X`` is weak (true at the last position) and ``X[!]`` strong.

    Raises:
        ValueError: Syntax error, or an empty trace.
    """
    if not trace:
        raise ValueError("a trace needs at least one letter")
    last = 1 << (len(trace) - 1)
    table = _evaluate(parse(formula), trace, lambda x: x >> 1 | last, lambda x: x >> 1)
    return bool(table[-1] & 1)


def first_violation(formula: str, prefix: Sequence[Letter], cycle: Sequence[Letter]) -> int | None:
    """The earliest position up to which the lasso is already bad, however it went on.

    Precisely: the end of the shortest informative bad prefix. For ``G`` of a Boolean formula it is
    the first position where that is false; for a liveness violation, or none, it is None.

    Raises:
        ValueError: As `holds`.
    """
    program = parse(formula)
    # Every operator can put the evidence off by one round of the cycle, hardly more.
    unrolled = [*prefix, *list(cycle) * (1 + len(program))]
    if not _informative(program, unrolled):
        return None
    low, high = 0, len(unrolled) - 1
    while low < high:
        middle = (low + high) // 2
        if _informative(program, unrolled[: middle + 1]):
            high = middle
        else:
            low = middle + 1
    return low


def _evaluate(
    program: Sequence[Node],
    letters: Sequence[Letter],
    weak_next: Callable[[int], int],
    strong_next: Callable[[int], int],
) -> list[int]:
    """For each node the positions at which it holds, given what ``next`` means at the end."""
    everywhere = (1 << len(letters)) - 1
    truth: list[int] = []
    for node in program:
        x = [truth[i] for i in node.operands]
        match node.operator:
            case "ap":
                value = _positions(node.name, letters)
            case "true":
                value = everywhere
            case "not":
                value = everywhere & ~x[0]
            case "and":
                value = x[0] & x[1]
            case "or":
                value = x[0] | x[1]
            case "next":
                value = weak_next(x[0])
            case "strong_next":
                value = strong_next(x[0])
            case "until":
                value = _fixpoint(lambda z, x=x: x[1] | (x[0] & strong_next(z)), 0)
            case _:  # release
                value = _fixpoint(lambda z, x=x: x[1] & (x[0] | weak_next(z)), everywhere)
        truth.append(value)
    return truth


def _informative(program: tuple[Node, ...], letters: Sequence[Letter]) -> bool:
    """Whether ``letters`` alone tell why every continuation violates the formula.

    Each node is evaluated optimistically (what lies beyond the end is true) and pessimistically
    (false); a prefix is bad if even the optimistic value is false.
    """
    everywhere, last = (1 << len(letters)) - 1, 1 << (len(letters) - 1)
    best: list[int] = []
    worst: list[int] = []
    for node in program:
        b, w = [best[i] for i in node.operands], [worst[i] for i in node.operands]
        match node.operator:
            case "ap":
                pair = (_positions(node.name, letters),) * 2
            case "true":
                pair = everywhere, everywhere
            case "not":
                pair = everywhere & ~w[0], everywhere & ~b[0]
            case "and":
                pair = b[0] & b[1], w[0] & w[1]
            case "or":
                pair = b[0] | b[1], w[0] | w[1]
            case "next" | "strong_next":
                pair = b[0] >> 1 | last, w[0] >> 1
            case "until":
                pair = (
                    _fixpoint(lambda z, b=b: b[1] | (b[0] & (z >> 1 | last)), 0),
                    _fixpoint(lambda z, w=w: w[1] | (w[0] & z >> 1), 0),
                )
            case _:  # release
                pair = (
                    _fixpoint(lambda z, b=b: b[1] & (b[0] | z >> 1 | last), everywhere),
                    _fixpoint(lambda z, w=w: w[1] & (w[0] | z >> 1), everywhere),
                )
        best.append(pair[0])
        worst.append(pair[1])
    return not best[-1] & 1


def _positions(name: str, letters: Sequence[Letter]) -> int:
    return sum(1 << i for i, letter in enumerate(letters) if name in letter)


def _fixpoint(step: Callable[[int], int], start: int) -> int:
    """Iterate the monotone ``step`` from bottom or top until nothing changes."""
    while (following := step(start)) != start:
        start = following
    return start
