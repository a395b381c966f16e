"""Colours, fonts and text of all drawings, and the little DOT they share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from verifier.causes import operands
from verifier.ltl_parser import Node, parse
from verifier.vocabulary import EPSILON, Vocabulary

INK, FAINT, LINE, PAPER = "#1f2933", "#7b8794", "#9aa5b1", "#ffffff"
CARD, SHADE, NEW, ALARM = "#f5f7fa", "#e4e7eb", "#fff3c4", "#c81e1e"

_GLUE = "\x01"
"""A space at which no line is broken."""

# After Okabe and Ito's palette for all kinds of colour vision, darkened for text on white.
_PALETTE = ("#c2410c", "#0065a3", "#97348a", "#00795a", "#8a6d00", "#3f4ab5", "#5c5c5c")


def action_colour(vocabulary: Vocabulary, action: str | None) -> str:
    """The colour of an action, the same in every drawing of its domain."""
    if action is None or action == EPSILON:
        return FAINT
    return _PALETTE[vocabulary.action_names.index(action) % len(_PALETTE)]


def action_phrase(vocabulary: Vocabulary, action: str) -> str:
    """ "turn right"; the empty action is "wait"."""
    return "wait" if action == EPSILON else vocabulary.action(action).phrase


def quote(text: str) -> str:
    """A DOT string, one line."""
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines_of(text: str, width: int, most: int = 6) -> list[str]:
    """At most ``most`` lines of ``width`` characters, the last one ending in … if need be."""
    lines = textwrap.wrap(" ".join(text.split()), width, break_long_words=_GLUE not in text)
    lines = [line.replace(_GLUE, " ") for line in lines] or [""]
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], lines[most - 1][: width - 2].rstrip() + " …"]


def label(lines: Sequence[str], align: str = "l") -> str:
    """A DOT string of several lines, aligned l(eft), r(ight) or n (centred)."""
    return '"' + _lines(lines, align, '"\\') + '"'


def record(fields: Sequence[Sequence[str]], align: str = "l", stacked: bool = False) -> str:
    """The label of a node of shape record: fields of lines, side by side or stacked."""
    inner = "|".join(_lines(lines, align, '"\\{}|<>') for lines in fields)
    return f'"{{{inner}}}"' if stacked else f'"{inner}"'


def _lines(lines: Sequence[str], align: str, special: str) -> str:
    escaped = ("".join(f"\\{c}" if c in special else c for c in line) for line in lines)
    if align == "n" or len(lines) == 1:
        return "\\n".join(escaped)
    return "".join(f"{line}\\{align}" for line in escaped)


def attributes(**values: object) -> str:
    """ "[a=b, c=d]"; values that are not quoted already must be plain numbers or words."""
    return "[" + ", ".join(f"{key}={value}" for key, value in values.items()) + "]"


def graph(name: str, body: Sequence[str], **settings: object) -> str:
    """A whole DOT file."""
    defaults = {"bgcolor": f'"{PAPER}"', "pad": 0.25, "fontname": "Helvetica", "fontsize": 12}
    defaults |= {"fontcolor": f'"{INK}"'} | settings
    head = [f"{key}={value};" for key, value in defaults.items()]
    head += [
        f'node [shape=box, style="rounded,filled", fillcolor="{CARD}", color="{LINE}", '
        f'fontname=Helvetica, fontsize=11, fontcolor="{INK}", margin="0.14,0.08", height=0.3];',
        f'edge [fontname=Helvetica, fontsize=10, fontcolor="{INK}", color="{INK}", arrowsize=0.7];',
    ]
    return "\n".join([f"digraph {quote(name)} {{", *(f"  {x}" for x in (*head, *body)), "}"]) + "\n"


def pill(name: str, action: str, vocabulary: Vocabulary) -> str:
    """A node that shows an action."""
    colour = f'"{action_colour(vocabulary, action)}"'
    shown = attributes(
        label=label([action_phrase(vocabulary, action)]),
        fillcolor=colour,
        color=colour,
        fontcolor='"#ffffff"',
        fontname='"Helvetica-Bold"',
        margin='"0.17,0.04"',
        height=0.25,
    )
    return f"{name} {shown};"


def guard_text(guard: str, vocabulary: Vocabulary) -> str:
    """A guard in the words of the domain: "no car from left ∧ no pedestrian at right".

    "always" and "never" stand for the constants. `lines_of` breaks it before ∧ and ∨ only.
    """
    program = parse(guard)
    return _text(program, len(program) - 1, False, vocabulary, "")


def _text(
    program: Sequence[Node], node: int, negated: bool, vocabulary: Vocabulary, around: str
) -> str:
    operator = program[node].operator
    if operator == "not":
        return _text(program, program[node].operands[0], not negated, vocabulary, around)
    if operator == "true":
        return "never" if negated else "always"
    if operator == "ap":
        phrase = vocabulary.proposition(program[node].name).phrase
        return f"no {phrase}".replace(" ", _GLUE) if negated else phrase.replace(" ", _GLUE)
    sign = "∧" if (operator == "and") != negated else "∨"
    parts = [_text(program, x, negated, vocabulary, sign) for x in operands(program, node)]
    text = f" {sign}{_GLUE}".join(parts)
    return f"({text})" if around and around != sign else text
