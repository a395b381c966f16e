"""Time and memory against the size of the product; every measurement in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.choices import choices_of
from benchmarks.paired import MismatchError, cpu_seconds
from benchmarks.random_models import controller_like_an_answer, sparse_world
from benchmarks.results import REPOSITORY, Row, at_most
from benchmarks.spot_peer import SpotPeer
from benchmarks.storm_peer import StormPeer
from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.rules import load_rules
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary, load_vocabulary

SIZES = (100, 1_000, 10_000, 100_000)
_STATES = 10
_TIME_LIMIT = 300.0
_CLEAR = "GF(green_traffic_light & !car_from_left & !opposite_car & !pedestrian_at_right)"


@dataclass(frozen=True)
class Measured:
    """One check of 15 specifications from nothing: world, rules and controller given."""

    states: int
    cpu: float
    megabytes: float
    holds: tuple[bool, ...]


def growth_rows(
    sizes: tuple[int, ...], storm: bool, spot_up_to: int, storm_up_to: int
) -> Iterator[Row]:
    """Ours at every size, the peers up to theirs.

    Raises:
        MismatchError: Verdicts differ.
    """
    for kind in ("cautious", "random"):
        for size in sizes:
            ours = measure("ours", kind, size)
            held = sum(ours.holds)
            what = f"{ours.states:,} product states, {kind} controller, {held} of 15 hold"
            alone = Row(what, ours.cpu, "s", note=_NOTE)
            largest = size == max(SIZES)
            if largest or spot_up_to < size:
                yield at_most(alone, 10) if largest else alone
            if spot_up_to >= size:
                yield _beside(alone, "Spot from Python", ours, measure("spot", kind, size))
            if storm and storm_up_to >= size:
                yield _beside(alone, "Storm", ours, measure("storm", kind, size))
            if largest:
                memory = Row(f"{what}: peak memory", ours.megabytes, "MiB", note=_MEMORY_NOTE)
                yield at_most(memory, 2048)


def _beside(row: Row, peer: str, ours: Measured, theirs: Measured) -> Row:
    if theirs.holds != ours.holds:
        raise MismatchError(f"ours {ours.holds}, {peer} {theirs.holds}: {row.what}")
    return dataclasses.replace(row, peer=peer, peer_value=theirs.cpu, ratio=theirs.cpu / ours.cpu)


def measure(tool: str, kind: str, size: int) -> Measured:
    """``ours``, ``spot`` or ``storm`` in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", tool, kind, str(size)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIME_LIMIT,
    )
    fields = json.loads(done.stdout.splitlines()[-1])
    return Measured(**fields | {"holds": tuple(fields["holds"])})


def product_of_size(
    kind: str, size: int, vocabulary: Vocabulary
) -> tuple[TransitionSystem, Controller, int]:
    """A random sparse world and a controller of 10 states with ``size`` reachable pairs or a few
    more.

    The cautious controller asks before it acts, so the specifications hold and the whole product
    has to be searched; about half of them fail for the random one.
    """
    names, actions = vocabulary.proposition_names, vocabulary.action_names
    rng = random.Random(size)
    controller = (
        _cautious() if kind == "cautious" else controller_like_an_answer(9, names, actions, rng)
    )
    states, pairs = size // _STATES, 0
    while True:
        world = sparse_world(states, names, random.Random(size), degree=3, assumptions=[_CLEAR])
        pairs = _reachable_pairs(world, controller)
        if pairs >= size:
            return world, controller, pairs
        states = 1 + states * size * 101 // (max(pairs, 1) * 100)


def _cautious() -> Controller:
    """Looks eight times, then turns right when it is free."""
    free = "green_traffic_light & !car_from_left & !pedestrian_at_right"
    looks = tuple(Transition(s, "true", "epsilon", s + 1) for s in range(_STATES - 1))
    last = _STATES - 1
    return Controller(
        0,
        _STATES,
        (
            *looks,
            Transition(last, free, "turn_right", _STATES),
            Transition(last, f"!({free})", "epsilon", last),
        ),
    )


def _reachable_pairs(world: TransitionSystem, controller: Controller) -> int:
    choices = choices_of(controller, Semantics())
    seen = {(s, controller.initial) for s in world.initial}
    pending = list(seen)
    while pending:
        world_state, state = pending.pop()
        targets = {choice.target for choice in choices(state, world.labels[world_state])}
        for pair in ((s, t) for s in world.successors[world_state] for t in targets):
            if pair not in seen:
                seen.add(pair)
                pending.append(pair)
    return len(seen)


_NOTE = (
    "CPU time of the check from nothing (automata of world and specifications included), in a "
    "process of its own; product states are reachable pairs (world state, controller state)."
)
_MEMORY_NOTE = "Largest resident set of the process plus that of its largest child."


def _main(tool: str, kind: str, size: int) -> None:
    vocabulary, semantics = load_vocabulary(), Semantics()
    rules = load_rules("paper", vocabulary)
    formulas = [s.formula for s in rules.specifications]
    world, controller, pairs = product_of_size(kind, size, vocabulary)
    began = cpu_seconds()
    if tool == "ours":
        checker = Checker(world, rules, semantics, vocabulary, time_limit=_TIME_LIMIT)
        values = checker.values(controller, vacuity=False)
        holds = [value in ("satisfied", "vacuous") for value, _ in values]
    elif tool == "spot":
        holds = list(SpotPeer(world, formulas, semantics, vocabulary).holds(controller))
    else:
        holds = list(StormPeer(world, formulas, semantics).holds(controller))
    spent = cpu_seconds() - began
    peak = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    measured = {"states": pairs, "cpu": spent, "megabytes": peak / 1024}
    print(json.dumps(measured | {"holds": holds}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
