"""Learned worlds as files: the explicit form, readable, with counts as comments."""

from __future__ import annotations

import json
from collections.abc import Iterable

from worlds.learned.model import LearnedWorld


def world_to_yaml(
    learned: LearnedWorld, *, reasons: Iterable[str] = (), actions: Iterable[str] = ()
) -> str:
    """The world file: `worlds.load.load_world` reads it back as the same world.

    Args:
        learned: The world.
        reasons: Sentences for ``reasons``: where the assumptions come from, what is not known.
        actions: Manoeuvres that make sense there.
    """
    world, counts = learned.world, learned.tally
    lines = [f"name: {_text(world.name)}", f"text: {_text(world.text)}"]
    lines += _list("reasons", map(_text, reasons))
    if names := list(actions):
        lines.append(f"actions: [{', '.join(names)}]")
    lines.append(f"propositions: [{', '.join(world.propositions)}]")
    lines.append("states:  # times seen")
    for name, state in zip(world.states, learned.states, strict=True):
        held = [p for p in world.propositions if p in state[-1]]
        lines.append(f"  {name}: [{', '.join(held)}]  # {counts.visits[state]}{_memory(state)}")
    everywhere = len(world.initial) == len(world.states)
    begun = ", ".join(world.states[i] for i in world.initial)
    lines.append(f"initial: {'all' if everywhere else f'[{begun}]'}")
    lines.append("transitions:  # times seen, in the same order")
    for i, row in enumerate(world.successors):
        seen = [counts.steps[learned.states[i], learned.states[j]] for j in row]
        remark = "only seen last; taken to stay" if i in learned.stays else _join(seen)
        lines.append(f"  {world.states[i]}: [{_join(world.states[j] for j in row)}]  # {remark}")
    lines += _list("assumptions", (_text(a.formula) for a in world.assumptions))
    return "\n".join(lines) + "\n"


def _memory(state: tuple[frozenset[str], ...]) -> str:
    before = ["+".join(sorted(label)) or "nothing" for label in state[:-1]]
    return f", after {' then '.join(before)}" if before else ""


def _list(key: str, items: Iterable[str]) -> list[str]:
    rows = [f"  - {item}" for item in items]
    return [f"{key}:", *rows] if rows else [f"{key}: []"]


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # every JSON string is a YAML string


def _join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
