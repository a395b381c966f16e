"""Counterexamples as a film: one frame per moment, from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from verifier.dot_style import (
    ALARM,
    FAINT,
    INK,
    LINE,
    NEW,
    attributes,
    graph,
    label,
    lines_of,
    pill,
)
from verifier.lasso_evaluation import first_violation
from verifier.rules import Specification
from verifier.verdicts import Lasso, Moment
from verifier.vocabulary import Vocabulary

_WIDTH = 24
_SHORT, _FIRST, _LAST = 9, 2, 6
"""A prefix longer than the first number is shown by so many moments at its two ends."""


def counterexample_dot(
    lasso: Lasso,
    specification: Specification,
    steps: Sequence[str],
    vocabulary: Vocabulary,
    *,
    caption: bool = True,
) -> str:
    """The run frame by frame: what is observed, the step that reacts, and what it does.

    What is new in a frame is marked +, what has gone −. Where the rule is broken at some moment,
    its frame is red and the last one; otherwise the last moment leads back to the first of those
    that repeat for ever. With ``caption`` the rule stands above it.
    """
    moments = (*lasso.prefix, *lasso.cycle)
    bad = first_violation(
        specification.formula, [m.letter for m in lasso.prefix], [m.letter for m in lasso.cycle]
    )
    if bad is not None and bad >= len(moments):
        bad = len(lasso.prefix) + (bad - len(lasso.prefix)) % len(lasso.cycle)
    shown = _shown(len(lasso.prefix), len(moments), bad)
    body: list[str] = []
    for number in shown:
        before = moments[number - 1] if number else None
        red = number == bad
        body += _frame(number, moments[number], before, red, steps, vocabulary)
    for number, following in pairwise(shown):
        body += _advance(number, following)
    body.append(_back(len(lasso.prefix), len(moments) - 1) if bad is None else _end(bad))
    text = specification.text or specification.formula
    above = [*lines_of(f"{specification.id}: {text}", 90), " "] if caption else [""]
    return graph(
        specification.id,
        body,
        rankdir="LR",
        label=label(above, "n"),
        labelloc="t",
        ranksep=0.35,
        nodesep=0.15,
    )


def _shown(prefix: int, length: int, bad: int | None) -> list[int]:
    """Which moments are drawn: none after the violation, of a long prefix only its ends."""
    end = length if bad is None else bad + 1
    start = min(prefix, end)
    return [n for n in range(end) if n < _FIRST or n >= start - _LAST or start <= _SHORT]


def _frame(
    number: int,
    moment: Moment,
    before: Moment | None,
    red: bool,
    steps: Sequence[str],
    vocabulary: Vocabulary,
) -> Iterator[str]:
    colour, width = (ALARM, 2.5) if red else (LINE, 1)
    yield f"subgraph cluster{number} {{"
    heading = "the rule is broken" if red else ""
    yield f'label="{heading}"; fontsize=11; fontcolor="{ALARM}"; style=rounded; margin=10; '
    yield f'color="{colour}"; penwidth={width};'
    yield "{rank=same;"
    lines, changed = _observed(moment, before, vocabulary)
    seen = (
        attributes(label=label(lines), fillcolor=f'"{NEW}"')
        if changed
        else attributes(label=label(lines))
    )
    yield f"w{number} {seen};"
    yield f"c{number} {attributes(label=label(_reaction(moment, steps)), fillcolor='white')};"
    if moment.action:
        yield pill(f"a{number}", moment.action, vocabulary)
    else:
        yield f'a{number} [label="no action", fontcolor="{FAINT}", fillcolor=white];'
    # Within a frame Graphviz puts tails below heads, and the world shall be on top.
    yield f'a{number} -> c{number} -> w{number} [color="{FAINT}", arrowsize=0.5, dir=back];'
    yield "}}"


def _observed(
    moment: Moment, before: Moment | None, vocabulary: Vocabulary
) -> tuple[list[str], bool]:
    """What is seen, with changes marked, and whether there are any."""
    lines, changed = [], False
    for proposition in vocabulary.propositions:
        now = proposition.name in moment.propositions
        earlier = now if before is None else proposition.name in before.propositions
        if now or earlier:
            mark = "" if now == earlier else "+ " if now else "− "
            lines.append(mark + proposition.phrase)
        changed = changed or now != earlier
    return lines or ["nothing in sight"], changed


def _reaction(moment: Moment, steps: Sequence[str]) -> list[str]:
    if moment.step is None:
        return [f"state {moment.state}"] if not steps else ["no condition holds"]
    words = steps[moment.step - 1] if moment.step <= len(steps) else ""
    return [f"step {moment.step}", *(lines_of(words, _WIDTH, 4) if words else [])]


def _advance(number: int, following: int) -> Iterator[str]:
    """Time passes; dotted where moments are left out."""
    gap = following - number - 1
    if not gap:
        yield f"c{number} -> c{following} [weight=9];"
        return
    yield f'gap{number} [shape=plain, style="", label="{gap} more moments"];'
    for edge in (f"c{number} -> gap{number} [", f"gap{number} -> c{following} ["):
        yield f"{edge}style=dotted, weight=9];"


def _back(start: int, end: int) -> str:
    """The edge from the last moment to the first of the cycle."""
    shown = attributes(
        label=label(["  for ever  "]), constraint="false", color=f'"{INK}"', penwidth=1.6
    )
    return f"a{end}:s -> a{start}:s {shown};"


def _end(bad: int) -> str:
    """After the violation it does not matter what comes."""
    return f'end [shape=plain, style="", label="…"]; c{bad} -> end [style=dotted];'
