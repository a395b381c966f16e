"""Drawings in Graphviz's DOT language: controllers, worlds and counterexamples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from verifier.controller import Controller
from verifier.dot_film import counterexample_dot
from verifier.dot_style import (
    FAINT,
    INK,
    action_colour,
    action_phrase,
    attributes,
    graph,
    guard_text,
    label,
    lines_of,
    pill,
    record,
)
from verifier.dot_world import world_dot
from verifier.vocabulary import EPSILON, Vocabulary

__all__ = ["controller_dot", "counterexample_dot", "world_dot"]

_STEP_WIDTH, _GUARD_WIDTH = 36, 28


def controller_dot(controller: Controller, vocabulary: Vocabulary) -> str:
    """The controller as a flow from its first to its final state.

    A state shows the step that it stands for, if its transitions name one. A transition leads from
    its guard to the action in its colour; one without action is a grey line. Transitions between
    the same two states with the same action are drawn as one.
    """
    body = [f'start [shape=circle, label="", width=0.13, height=0.13, fillcolor="{INK}"];']
    body += [_state(controller, state) for state in _states(controller)]
    body.append(f"start -> q{controller.initial} [weight=9];")
    merged: dict[tuple[int, int, str], list[str]] = {}
    for t in controller.transitions:
        merged.setdefault((t.source, t.target, t.action), []).append(t.guard)
    for number, ((source, target, action), guards) in enumerate(merged.items()):
        lines = _condition(guards, vocabulary)
        if action == EPSILON:
            body.append(_silent(source, target, lines))
        else:
            body += _acting(source, target, action, lines, f"a{number}", vocabulary)
    return graph("controller", body, rankdir="TB", nodesep=0.45, ranksep=0.35)


def _states(controller: Controller) -> list[int]:
    """All states that occur."""
    ends = {q for t in controller.transitions for q in (t.source, t.target)}
    return sorted(ends | {controller.initial})


def _state(controller: Controller, state: int) -> str:
    out = [t for t in controller.transitions if t.source == state]
    steps = {t.step for t in out}
    step = steps.pop() if len(steps) == 1 else None
    doubled = 2 if state == controller.final else 1
    if state == controller.final and not out:
        return f"q{state} [label=done, peripheries={doubled}];"
    if step is None:
        return f'q{state} [label="state {state}", peripheries={doubled}];'
    words = controller.steps[step - 1] if step <= len(controller.steps) else ""
    fields = [[str(step)], *([lines_of(words, _STEP_WIDTH)] if words else [])]
    shown = attributes(shape="record", label=record(fields), peripheries=doubled)
    return f"q{state} {shown};"


def _condition(guards: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """Any of the guards, in lines; none if one of them always holds."""
    texts = list(dict.fromkeys(guard_text(guard, vocabulary) for guard in guards))
    if "always" in texts:
        return []
    several = len(texts) > 1
    whole = " ∨ ".join(f"({t})" if several and "∧" in t else t for t in texts)
    return lines_of(whole, _GUARD_WIDTH, 5)


def _silent(source: int, target: int, lines: list[str]) -> str:
    """A transition without action."""
    shown = {"color": f'"{FAINT}"', "fontcolor": f'"{FAINT}"', "style": "dashed"}
    if source == target and lines != ["never"]:
        lines = [*(lines or ["always"]), "wait"]
    if lines:
        shown["label"] = _beside(lines)
    return f"q{source} -> q{target} {attributes(**shown, **_rank(source, target))};"


def _acting(
    source: int, target: int, action: str, lines: list[str], name: str, vocabulary: Vocabulary
) -> Iterator[str]:
    """A transition by way of its action; one back to its own state is a plain loop."""
    colour = f'"{action_colour(vocabulary, action)}"'
    shown = {"color": colour, "penwidth": 1.6}
    if source == target:
        lines = [*(lines or ["always"]), action_phrase(vocabulary, action)]
        shown |= {"label": _beside(lines), "fontcolor": colour}
        yield f"q{source} -> q{source} {attributes(**shown)};"
        return
    first = shown | ({"label": _beside(lines)} if lines else {}) | {"arrowhead": "none"}
    yield pill(name, action, vocabulary)
    yield f"q{source} -> {name} {attributes(**first, weight=5)};"
    yield f"{name} -> q{target} {attributes(**shown, **_rank(source, target))};"


def _beside(lines: list[str]) -> str:
    """An edge's label, kept clear of its line."""
    return label([f"\u2002{line}\u2002" for line in lines])


def _rank(source: int, target: int) -> dict[str, object]:
    """Let only edges that lead on pull their states into order."""
    if target == source + 1:
        return {"weight": 5}
    return {"constraint": "false"} if target <= source else {}
