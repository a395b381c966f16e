"""A transition system from recordings: what was seen, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import Vocabulary
from worlds.learned.recordings import Label, Recording, check_compatible
from worlds.learned.tally import State, Tally, tally

Initial = Literal["first", "all"]
"""The states that episodes began in, or every state (a driver may arrive at any time)."""


@dataclass(frozen=True)
class LearnedWorld:
    """A world and where it came from.

    Attributes:
        world: States are what was seen, transitions the steps seen. A state is labelled with the
            last of the labels it remembers.
        tally: How often.
        states: For each state of the world, the labels that it remembers.
        stays: Indices of states seen only at the end of episodes. What follows them is not known;
            they are taken to stay as they are, since a world without a way on is none.
    """

    world: TransitionSystem
    tally: Tally
    states: tuple[State, ...]
    stays: tuple[int, ...]

    def with_assumptions(self, formulas: Iterable[str]) -> LearnedWorld:
        """The same world under other assumptions."""
        assumptions = tuple(Assumption(formula) for formula in formulas)
        return replace(self, world=replace(self.world, assumptions=assumptions))


def learn_world(
    recordings: Sequence[Recording],
    vocabulary: Vocabulary,
    *,
    name: str,
    history: int = 1,
    initial: Initial = "first",
) -> LearnedWorld:
    """The transition system of what was recorded, without assumptions.

    States are named ``s0``, ``s1``, ... in the order of what they remember (shorter memories
    first, labels read as binary numbers, the first proposition most significant).

    Args:
        recordings: At least one; all of one place.
        vocabulary: Gives the order of the propositions.
        name: Of the world.
        history: Labels that a state remembers. With more, the world allows fewer runs that no
            episode had, and needs more recordings.
        initial: See `Initial`.

    Raises:
        InputError: The recordings cannot be put together.
    """
    check_compatible(recordings)
    counted = tally(recordings, history)
    observed = set(recordings[0].propositions)
    propositions = tuple(p for p in vocabulary.proposition_names if p in observed)
    states = sorted(counted.visits, key=lambda state: _order(state, propositions))
    index = {state: i for i, state in enumerate(states)}
    successors: list[set[int]] = [set() for _ in states]
    for source, target in counted.steps:
        successors[index[source]].add(index[target])
    stays = tuple(i for i, row in enumerate(successors) if not row)
    for i in stays:
        successors[i].add(i)
    begun = range(len(states)) if initial == "all" else sorted(index[s] for s in counted.first)
    world = TransitionSystem(
        name=name,
        text=describe(recordings, history),
        propositions=propositions,
        states=tuple(f"s{i}" for i in range(len(states))),
        labels=tuple(state[-1] for state in states),
        initial=tuple(begun),
        successors=tuple(tuple(sorted(row)) for row in successors),
    )
    return LearnedWorld(world, counted, tuple(states), stays)


def describe(recordings: Sequence[Recording], history: int) -> str:
    """One sentence about where a learned world comes from."""
    worlds = " and ".join(dict.fromkeys(r.world for r in recordings))
    drivers = " and ".join(dict.fromkeys(r.driver for r in recordings))
    steps = sum(r.steps for r in recordings)
    memory = "the label" if history == 1 else f"the last {history} labels"
    return (
        f"Learned from {worlds}: {len(recordings):,} recorded episodes with {steps:,} steps of "
        f"{recordings[0].period:g} s, driver {drivers}. A state is {memory}."
    )


def _order(state: State, propositions: tuple[str, ...]) -> tuple[int, tuple[int, ...]]:
    # The latest label first, so that states with equal labels lie together.
    return len(state), tuple(_number(label, propositions) for label in reversed(state))


def _number(label: Label, propositions: tuple[str, ...]) -> int:
    number = 0
    for name in propositions:
        number = 2 * number + (name in label)
    return number
