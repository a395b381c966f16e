"""Drawings of worlds: states with what is observed in them; complete parts as frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from verifier.dot_style import CARD, FAINT, INK, LINE, PAPER, attributes, graph, quote, record
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary

_MOST_STATES, _MOST_TRANSITIONS, _COLUMNS = 60, 400, 4


def world_dot(world: TransitionSystem, vocabulary: Vocabulary) -> str:
    """The world's states and transitions; a summary where there are too many to read.

    A part in which every state can follow every state is framed and drawn without its transitions.
    """
    parts = _parts(world)
    drawn = sum(
        len(world.successors[s]) for part in parts if not _complete(world, part) for s in part
    )
    title = f"{_count(len(world.states), 'state')}, {_count(world.num_transitions, 'transition')}"
    if len(world.initial) == len(world.states):
        title += ", every state is initial"
    if len(world.states) > _MOST_STATES or drawn > _MOST_TRANSITIONS:
        body = _summary(world, parts, vocabulary)
    else:
        body = list(_detail(world, parts, vocabulary))
    caption = f'"{world.name}\\n{title}\\n "'
    return graph(
        world.name, body, label=caption, labelloc="t", rankdir="TB", nodesep=0.3, ranksep=0.35
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _complete(world: TransitionSystem, part: Sequence[int]) -> bool:
    """Whether within ``part`` every state follows every state, itself included."""
    everything = tuple(part)
    checked = {id(world.successors[state]): world.successors[state] for state in part}
    return all(row == everything for row in checked.values())


def _parts(world: TransitionSystem) -> list[list[int]]:
    """The states in connected parts, in order. Equal rows that are one object are read once."""
    parent = list(range(len(world.states)))

    def find(state: int) -> int:
        while parent[state] != state:
            parent[state] = parent[parent[state]]
            state = parent[state]
        return state

    read: dict[int, int] = {}
    for state, row in enumerate(world.successors):
        others = (read[id(row)],) if id(row) in read else row
        read.setdefault(id(row), row[0] if row else state)
        for other in others:
            low, high = sorted((find(state), find(other)))
            parent[high] = low
    parts: dict[int, list[int]] = {}
    for state in range(len(world.states)):
        parts.setdefault(find(state), []).append(state)
    return list(parts.values())


def _detail(
    world: TransitionSystem, parts: Sequence[list[int]], vocabulary: Vocabulary
) -> Iterator[str]:
    some_initial = len(world.initial) < len(world.states)
    for number, part in enumerate(parts):
        if not _complete(world, part):
            yield from (_state(world, state, vocabulary) for state in part)
            yield from (
                f"s{state} -> s{after}{_loop(state, after)};"
                for state in part
                for after in world.successors[state]
            )
            continue
        yield from _frame_open(number, "any of these can follow any of these")
        yield from (_state(world, state, vocabulary) for state in part)
        yield from _grid(part)
        yield "}"
    for state in world.initial if some_initial else ():
        yield f'i{state} [shape=circle, label="", width=0.1, height=0.1, fillcolor="{INK}"];'
        yield f"i{state} -> s{state};"


def _loop(state: int, after: int) -> str:
    return f' [color="{FAINT}"]' if state == after else ""


def _frame_open(number: int, text: str) -> Iterator[str]:
    yield f"subgraph cluster{number} {{"
    yield f'label={quote(text)}; labeljust=l; style=rounded; color="{LINE}"; bgcolor="{PAPER}"; '
    yield f'margin=14; fontsize=11; fontcolor="{FAINT}";'


def _grid(part: Sequence[int]) -> Iterator[str]:
    """Rows of a few states each, held in place by lines that are not drawn."""
    lines = [part[i : i + _COLUMNS] for i in range(0, len(part), _COLUMNS)]
    for above, below in pairwise(lines):
        yield from (f"s{a} -> s{b} [style=invis];" for a, b in zip(above, below, strict=False))


def _state(world: TransitionSystem, state: int, vocabulary: Vocabulary) -> str:
    fields = [[world.states[state]], _seen(world, state, vocabulary)]
    return f"s{state} {attributes(shape='record', label=record(fields))};"


def _seen(world: TransitionSystem, state: int, vocabulary: Vocabulary) -> list[str]:
    phrases = [p.phrase for p in vocabulary.propositions if p.name in world.labels[state]]
    return phrases or ["nothing in sight"]


def _summary(
    world: TransitionSystem, parts: Sequence[list[int]], vocabulary: Vocabulary
) -> list[str]:
    """Each part's size, and in how many states each proposition holds."""
    body = []
    for number, part in enumerate(parts[:12]):
        transitions = sum(len(world.successors[state]) for state in part)
        size = [_count(len(part), "state"), _count(transitions, "transition")]
        if _complete(world, part):
            size[1] = "any of them can follow any of them"
        names, counts = [], []
        for proposition in vocabulary.propositions:
            holding = sum(proposition.name in world.labels[state] for state in part)
            if holding:
                names.append(proposition.phrase)
                counts.append(f"in {holding:,}")
        fields = [names, counts] if names else [["nothing in sight"]]
        body += _frame_open(number, "; ".join(size))
        shown = attributes(shape="record", label=record(fields), fillcolor=f'"{CARD}"')
        body += [f"part{number} {shown};", "}"]
    if len(parts) > 12:
        body.append(f"more [shape=plain, label={quote(f'and {len(parts) - 12} more parts')}];")
    return body
