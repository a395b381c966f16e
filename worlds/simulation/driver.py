"""Driving: a controller makes the decisions in a simulator until the car is through."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verifier.controller import Controller, Transition, final_redirect
from verifier.errors import InputError
from verifier.semantics import Semantics
from verifier.truth_tables import Support, support_of, table_of
from verifier.vocabulary import EPSILON
from worlds.simulation.episode import Decision, Episode, Outcome
from worlds.simulation.interface import STOP, Simulator

MAX_SECONDS = 120.0
"""Simulated time after which an episode counts as unfinished."""

Perceive = Callable[[Simulator], frozenset[str]]
"""What the controller is told about a scene."""

Hesitate = Callable[["Machine"], bool]
"""Asked after `Perceive`: whether to stand still for a period and look again. The controller is
not told about it and stays in its state."""

Watch = Callable[[Simulator, Decision], None]
"""Called after every step of the simulator with the decision that is being carried out."""


class Machine:
    """A controller that runs: reads labels, gives actions.

    Args:
        controller: May be partial and non-deterministic.
        semantics: What finishing and the empty action mean.
        seed: Of the choice among enabled transitions; all of them are possible.
    """

    def __init__(self, controller: Controller, semantics: Semantics, seed: int) -> None:
        self.state = controller.initial
        self._epsilon = STOP if semantics.epsilon == "stop" else None
        self._random = random.Random(f"controller {seed}")
        self._support: Support = support_of({t.guard for t in controller.transitions})
        self._outgoing: dict[int, list[tuple[int, Transition]]] = defaultdict(list)
        for transition in final_redirect(controller, semantics.on_finish):
            table = table_of(transition.guard, self._support)
            self._outgoing[transition.source].append((table, transition))

    @property
    def outgoing(self) -> Sequence[Transition]:
        """The transitions that leave the state."""
        return [transition for _, transition in self._outgoing[self.state]]

    def enabled(self, label: frozenset[str]) -> Sequence[Transition]:
        """Transitions that the state and the label allow; waiting where there are none."""
        index = 0
        for name in self._support:
            index = 2 * index + (name in label)
        found = [t for table, t in self._outgoing[self.state] if table >> index & 1]
        return found or [Transition(self.state, "true", EPSILON, self.state)]

    def decide(self, label: frozenset[str]) -> tuple[str | None, int | None]:
        """Take a transition: the action (None for nothing) and the line it came from."""
        enabled = self.enabled(label)
        taken = enabled[0] if len(enabled) == 1 else self._random.choice(enabled)
        self.state = taken.target
        return (self._epsilon if taken.action == EPSILON else taken.action), taken.step


@dataclass(frozen=True)
class Course:
    """How an episode is driven.

    Attributes:
        semantics: Profile under which the controller runs.
        max_seconds: Simulated time after which it is given up as unfinished.
        perceive: A detector; by default the controller is told the truth.
        watch: Is called after every step, for recordings.
        hesitate: Who is unsure may stop and look again; by default nobody is.
    """

    semantics: Semantics
    max_seconds: float = MAX_SECONDS
    perceive: Perceive | None = None
    watch: Watch | None = None
    hesitate: Hesitate | None = None


def drive(
    simulator: Simulator, controller: Controller, task_action: str | None, seed: int, course: Course
) -> Episode:
    """Run a controller in a simulator once.

    Args:
        simulator: Is reset with ``seed``; stays open.
        controller: Makes the decisions.
        task_action: The manoeuvre asked for; None if any will do.
        seed: Fixes the episode.
        course: See there.

    Raises:
        InputError: The simulator observes what is not among its propositions.
    """
    machine = Machine(controller, course.semantics, seed)
    simulator.reset(seed)
    decisions: list[Decision] = []
    while not simulator.done and simulator.status().seconds < course.max_seconds:
        decision = _decide(simulator, machine, course)
        decisions.append(decision)
        # Nothing to be done is done by standing still; a manoeuvre without a road for it, too.
        possible = decision.action is not None and decision.action in simulator.actions
        simulator.apply(decision.action if possible and decision.action else STOP)
        _carry_out(simulator, decision, course)
    status = simulator.status()
    closing: list[Decision] = []
    if status.collision is None and status.manoeuvre is not None:
        closing = _close(simulator, machine, controller.num_states, course)
    outcome: Outcome = "unfinished"
    if status.collision is not None:
        outcome = "collision"
    elif status.manoeuvre is not None:
        outcome = "finished" if task_action in (None, status.manoeuvre) else "elsewhere"
    return Episode(simulator.name, seed, (*decisions, *closing), len(closing), outcome, status)


def _carry_out(simulator: Simulator, decision: Decision, course: Course) -> None:
    while True:
        simulator.step()
        if course.watch is not None:
            course.watch(simulator, decision)
        if simulator.ready or simulator.done:
            return
        if simulator.status().seconds >= course.max_seconds:
            return


def _decide(simulator: Simulator, machine: Machine, course: Course) -> Decision:
    label = simulator.observe()
    unknown = label.difference(simulator.propositions)
    if unknown:
        raise InputError(
            f"{simulator.name} observes {min(unknown)!r}, which is not among its propositions",
            remedy="mend the simulator; worlds.simulation.check tells more",
        )
    seen = label if course.perceive is None else course.perceive(simulator)
    state, seconds = machine.state, simulator.status().seconds
    if course.hesitate is not None and course.hesitate(machine):
        return Decision(seconds, label, seen, STOP, state, None)
    action, step = machine.decide(seen)
    return Decision(seconds, label, seen, action, state, step)


def _close(simulator: Simulator, machine: Machine, most: int, course: Course) -> list[Decision]:
    """Decisions behind the place, up to (and without) the first that would move the car again.

    They settle what is pending when the manoeuvre is made: whoever must stop some time after a
    stop sign does so when the controller begins again with a look around.
    """
    decisions: list[Decision] = []
    for _ in range(most):
        decision = _decide(simulator, machine, course)
        if decision.action not in (STOP, None):
            break
        decisions.append(decision)
    return decisions
