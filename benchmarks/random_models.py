"""Random worlds and controllers: shaped like read answers for the benchmarks, wild for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

from verifier.canonical import controller_hash
from verifier.controller import Controller, Transition
from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import EPSILON, Vocabulary


def distinct_controllers(
    number: int, propositions: Sequence[str], actions: Sequence[str], rng: random.Random
) -> list[Controller]:
    """Pairwise different controllers of 5 to 15 states, shaped like read answers."""
    found: dict[str, Controller] = {}
    while len(found) < number:
        controller = controller_like_an_answer(rng.randint(4, 14), propositions, actions, rng)
        found.setdefault(controller_hash(controller), controller)
    return list(found.values())


def controller_like_an_answer(
    steps: int, propositions: Sequence[str], actions: Sequence[str], rng: random.Random
) -> Controller:
    """A controller of ``steps`` steps: observe, if C then A, wait until, bare action, go to."""
    moving = [a for a in actions if a != "stop"]
    transitions: list[Transition] = []
    for state in range(steps):
        following = state + 1
        guard = _condition(propositions, rng)
        opposite = f"!({guard})"
        match rng.choices(["observe", "act_if", "stop_if", "wait", "act", "go_to"], _WEIGHTS)[0]:
            case "observe":
                rows = [("true", EPSILON, following)]
            case "act_if":
                rows = [(guard, rng.choice(moving), following), (opposite, EPSILON, state)]
            case "stop_if":
                rows = [(guard, "stop", state), (opposite, EPSILON, following)]
            case "wait":
                rows = [(guard, EPSILON, following), (opposite, EPSILON, state)]
            case "act":
                rows = [("true", rng.choice(actions), following)]
            case _:
                rows = [(guard, EPSILON, rng.randrange(steps)), (opposite, EPSILON, following)]
        transitions += (Transition(state, g, a, t, state + 1) for g, a, t in rows)
    return Controller(0, steps, tuple(transitions))


_WEIGHTS = (30, 25, 15, 10, 10, 10)


def _condition(propositions: Sequence[str], rng: random.Random) -> str:
    """Nobody there, somebody there, or the light: what answers ask for."""
    chosen = rng.sample(list(propositions), min(len(propositions), rng.choice([1, 1, 2, 2, 3])))
    if rng.random() < 0.2:
        return " | ".join(chosen)
    return " & ".join(rng.choice(["", "!", "!"]) + name for name in chosen)


def wild_controller(
    states: int, propositions: Sequence[str], actions: Sequence[str], rng: random.Random
) -> Controller:
    """Any controller: partial, non-deterministic, states that cannot be left or reached."""
    choices = [*actions, EPSILON]
    transitions = tuple(
        Transition(
            rng.randrange(states),
            _wild_guard(propositions, rng),
            rng.choice(choices),
            rng.randrange(states),
        )
        for _ in range(rng.randint(1, 3 * states))
    )
    return Controller(rng.randrange(states), rng.randrange(states), transitions)


def _wild_guard(propositions: Sequence[str], rng: random.Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(["true", "true", "false"])
    literals = [
        rng.choice(["", "!"]) + rng.choice(list(propositions)) for _ in range(rng.randint(1, 3))
    ]
    return rng.choice([" & ", " | ", " -> ", " <-> ", " xor "]).join(literals)


def sparse_world(
    states: int,
    propositions: Sequence[str],
    rng: random.Random,
    *,
    degree: int = 3,
    initial: int = 1,
    assumptions: Sequence[str] = (),
) -> TransitionSystem:
    """Random labels, at most ``degree`` random successors; the successor is always among them,
    so that every state is reachable from state 0.
    """
    labels = tuple(frozenset(p for p in propositions if rng.random() < 0.4) for _ in range(states))
    rows = tuple(
        tuple(sorted({(s + 1) % states} | {rng.randrange(states) for _ in range(degree - 1)}))
        for s in range(states)
    )
    starts = tuple(sorted({0, *rng.sample(range(states), min(states, initial) - 1)}))
    return TransitionSystem(
        name=f"random_{states}",
        text="",
        propositions=tuple(propositions),
        states=tuple(f"w{s}" for s in range(states)),
        labels=labels,
        initial=starts,
        successors=rows,
        assumptions=tuple(Assumption(formula) for formula in assumptions),
    )


def observed(world: TransitionSystem, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The propositions a controller would ask about in this world: those that vary there."""
    return tuple(
        p
        for p in vocabulary.proposition_names
        if 0 < sum(p in label for label in world.labels) < len(world.labels)
    )
