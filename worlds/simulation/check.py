"""Checking simulators: anybody may run `check_simulator` on their own.

It drives the simulator in every way the interface promises something about, and reports what is
not kept. One simulator exists at a time, as some libraries allow no more in a process.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, zip_longest

import numpy as np

from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.semantics import Semantics
from verifier.vocabulary import Vocabulary
from worlds.check import Finding
from worlds.load import load_world
from worlds.simulation.crew import Crew, Driven, Job, MakeByName
from worlds.simulation.driver import Course
from worlds.simulation.interface import STOP, Simulator, Status
from worlds.simulation.probe import STEPS, Look, advance, play, repeat, script
from worlds.simulation.registry import make_simulator

Make = Callable[[], Simulator]
"""Makes the simulator that is checked; is called several times."""

STOPPING_SECONDS = 6.0
"""Simulated time in which ``stop`` has to bring the car to a standstill."""

MANOEUVRE_SECONDS = 90.0
"""Simulated time after which a manoeuvre that is asked for again and again counts as timed out."""

_STILL = 0.05
"""Metres per second below which a car stands."""
_UNKNOWN = "fly"
_MEMBERS = (
    *("name", "scenario", "propositions", "actions", "period", "ready", "done"),
    *("reset", "observe", "apply", "step", "status", "render", "close"),
)
_ORDER = ("error", "warning", "note")


def check_simulator(
    make: Make, vocabulary: Vocabulary, seeds: Sequence[int] = (0, 1, 2)
) -> tuple[Finding, ...]:
    """Everything that is wrong with a simulator, errors first; nothing if it keeps its contract.

    Errors: missing members, names that are not in the vocabulary or not those of the scenario,
    labels with strangers, something behind the place; episodes that differ under one seed (one
    after the other, after another episode, in a fresh simulator, whatever the global random
    numbers, or because somebody looked); pictures of changing size or of other than RGB bytes, or
    two pictures of one moment that differ; ``stop`` that does not hold the car; manoeuvres that
    end in others; actions, steps or a second closing that are taken or refused wrongly; status,
    ``ready`` and ``done`` that contradict each other; anything raised. Warnings: a manoeuvre that
    always times out, propositions that the scenario lacks or that differ from its, equal episodes
    under all seeds.

    Args:
        make: Makes the simulator.
        vocabulary: The domain.
        seeds: Of the episodes driven; two at least.

    Raises:
        ValueError: Fewer than two seeds.
    """
    if len(set(seeds)) < 2:
        raise ValueError("at least two seeds are needed")
    findings = list(_with(make, lambda simulator: _names(simulator, vocabulary)))
    if not findings:
        for check in (_refusals, _beginnings, _stopping, _manoeuvres, _pictures):
            findings += _with(make, lambda simulator, check=check: check(simulator, seeds))
        findings += _determinism(make, seeds)
        findings += _with(make, lambda simulator: _labels(simulator, vocabulary, seeds))
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda finding: _ORDER.index(finding.severity)))


def check_processes(
    name: str,
    vocabulary: Vocabulary,
    seeds: Sequence[int] = (0, 1, 2),
    make: MakeByName = make_simulator,
) -> tuple[Finding, ...]:
    """Whether episodes are the same in this process and in another one.

    Sets of texts are in another order in every process: what depends on their order is found here.

    Args:
        name: Of the simulator.
        vocabulary: The domain.
        seeds: Of the episodes.
        make: Makes it by name; importable.
    """
    wild = Controller(
        0, 1, tuple(Transition(0, "true", action, 0) for action in vocabulary.action_names)
    )
    jobs = [Job(name, wild, None, seed) for seed in seeds]
    course = Course(Semantics(), max_seconds=MANOEUVRE_SECONDS)
    rows: list[list[Driven]] = []
    for workers in (0, 1):
        with Crew(course, vocabulary, workers=workers, attempts=1, make=make) as crew:
            rows.append(crew.drive(jobs))
    return tuple(
        Finding(
            "error",
            "another episode in another process",
            f"seed {seed}",
            "let nothing depend on the order of a set, or on what the process did before",
        )
        for seed, here, there in zip(seeds, *rows, strict=True)
        if here.result != there.result
    )


def _with(make: Make, check: Callable[[Simulator], Iterator[Finding]]) -> list[Finding]:
    """What a check finds in a fresh simulator, which is closed twice afterwards."""
    found: list[Finding] = []
    try:
        simulator = make()
    except InputError:
        raise
    except Exception as error:
        return [_raised("making it", error)]
    place = "checking it"
    try:
        found.extend(check(simulator))
        if "close" in dir(simulator):
            place = "closing it"
            simulator.close()
            place = "closing it a second time"
            simulator.close()
    except Exception as error:
        found.append(_raised(place, error))
    return found


def _raised(place: str, error: Exception) -> Finding:
    problem = f"raised {type(error).__name__}: {error}"
    return Finding("error", problem, place, "raise nothing but what the interface says")


def _names(simulator: Simulator, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Members and what they are called."""
    lacking = [member for member in _MEMBERS if member not in dir(simulator)]
    if lacking:
        problem = f"there is no {', '.join(lacking)}"
        yield Finding("error", problem, None, "see worlds/simulation/interface.py")
        return
    for place, names, known in (
        ("propositions", simulator.propositions, vocabulary.proposition_names),
        ("actions", simulator.actions, vocabulary.action_names),
    ):
        for name in names:
            if name not in known:
                yield Finding("error", f"{name!r} is not in the vocabulary", place, "rename it")
        if list(names) != [name for name in known if name in names]:
            yield Finding("error", "not in the vocabulary's order", place, "sort them by it")
    if STOP in simulator.actions:
        yield Finding("error", "stop is listed", "actions", "leave it out: it is always there")
    if not simulator.period > 0:
        yield Finding("error", f"{simulator.period} s", "period", "make it positive")
    try:
        world = load_world(simulator.scenario, vocabulary)
    except InputError as error:
        yield Finding("error", str(error), "scenario", "name a shipped world or a world file")
        return
    if set(world.propositions) != set(simulator.propositions):
        odd = min(set(world.propositions) ^ set(simulator.propositions))
        problem = f"{odd!r} is in only one of the simulator and its scenario {world.name}"
        yield Finding("error", problem, "propositions", "observe what the scenario speaks about")


def _refusals(simulator: Simulator, seeds: Sequence[int]) -> Iterator[Finding]:
    """What has to be refused."""
    yield from _refused(simulator.step, "step before reset", "raise InputError")
    simulator.reset(seeds[0])
    yield from _refused(
        lambda: simulator.apply(_UNKNOWN), f"the action {_UNKNOWN!r}", "raise InputError in apply"
    )
    manoeuvre = simulator.actions[0] if simulator.actions else STOP
    repeat(simulator, manoeuvre, MANOEUVRE_SECONDS)
    if simulator.done:
        yield from _refused(simulator.step, "step after the end", "raise InputError")


def _refused(call: Callable[[], None], what: str, remedy: str) -> Iterator[Finding]:
    try:
        call()
    except InputError:
        return
    except Exception as error:
        yield Finding("error", f"raised {type(error).__name__}: {error}", what, remedy)
        return
    yield Finding("error", "is not refused", what, remedy)


def _beginnings(simulator: Simulator, seeds: Sequence[int]) -> Iterator[Finding]:
    """A reset really resets, also after an episode that has come to its end."""
    for seed in (seeds[0], seeds[1], seeds[0]):
        simulator.reset(seed)
        status, place = simulator.status(), f"after reset({seed})"
        wrong = {
            "it is done": simulator.done,
            "no decision is due": not simulator.ready,
            f"{status.seconds} s have passed": status.seconds != 0,
            f"the manoeuvre {status.manoeuvre} has been made": status.manoeuvre is not None,
            f"a {status.collision} has been hit": status.collision is not None,
            f"the car has braked with {status.hardest_braking} m/s²": status.hardest_braking > 0,
        }
        for problem, holds in wrong.items():
            if holds:
                yield Finding("error", problem, place, "forget the episode before")
        for action in simulator.actions[:1]:
            repeat(simulator, action, MANOEUVRE_SECONDS)


def _stopping(simulator: Simulator, seeds: Sequence[int]) -> Iterator[Finding]:
    """``stop`` holds for a period, brings the car to a standstill before the line and keeps it."""
    remedy = "bring the car to a standstill before the line and hold it"
    for seed in seeds:
        place = f"stop, seed {seed}"
        simulator.reset(seed)
        held: list[Status] = []
        while simulator.status().seconds < 3 * STOPPING_SECONDS and not simulator.done:
            simulator.apply(STOP)
            simulator.step()
            if not (simulator.ready or simulator.done):
                yield Finding("error", "no decision is due a period later", place, remedy)
                return
            if simulator.status().seconds >= STOPPING_SECONDS:
                held.append(simulator.status())
        if simulator.done:
            status = simulator.status()
            what = status.manoeuvre or f"the car hit a {status.collision}"
            yield Finding("error", f"it ends: {what}", place, remedy)
        elif max(status.speed for status in held) > _STILL:
            speed = max(status.speed for status in held)
            problem = f"after {STOPPING_SECONDS:g} s the car still moves with {speed:.2f} m/s"
            yield Finding("error", problem, place, remedy)
        elif len({status.progress for status in held}) > 1:
            yield Finding("error", "the car stands and yet makes progress", place, remedy)


def _manoeuvres(simulator: Simulator, seeds: Sequence[int]) -> Iterator[Finding]:
    """Every manoeuvre ends in itself, or a collision, or times out; everything fits together."""
    for action in simulator.actions:
        ends = []
        for seed in seeds:
            place = f"{action}, seed {seed}"
            simulator.reset(seed)
            looks = repeat(simulator, action, MANOEUVRE_SECONDS)
            yield from _coherence(looks, simulator.period, place)
            last = looks[-1].status
            ends.append(last.manoeuvre or last.collision)
            if last.manoeuvre not in (None, action):
                problem = f"it ends in {last.manoeuvre}"
                yield Finding("error", problem, place, "carry out what was asked for")
        if not any(ends):
            problem = f"never made or prevented within {MANOEUVRE_SECONDS:g} s"
            yield Finding("warning", problem, action, "let the car get through, or leave it out")


def _coherence(looks: Sequence[Look], period: float, place: str) -> Iterator[Finding]:
    """Status, ``done`` and labels fit together."""
    for look in looks:
        status = look.status
        ended = status.manoeuvre is not None or status.collision is not None
        wrong = {
            "done, but nothing was made or hit": look.done and not ended,
            "not done, but the place is left or something hit": ended and not look.done,
            f"progress is {status.progress}": not 0 <= status.progress <= 1,
            f"the speed is {status.speed} m/s": status.speed < 0,
            "braking is negative": min(status.hardest_braking, status.others_hardest_braking) < 0,
            "something is seen behind the place": status.manoeuvre is not None and bool(look.label),
        }
        for problem, holds in wrong.items():
            if holds:
                yield Finding("error", problem, place, "see Status in the interface")
    for before, after in pairwise(looks):
        passed = after.status.seconds - before.status.seconds
        sooner = after.done and 0 < passed < period
        if not sooner and abs(passed - period) > 1e-6:
            problem = f"a step takes {passed:g} s and not the period of {period:g} s"
            yield Finding("error", problem, place, "let a step take a period")
        if after.status.hardest_braking < before.status.hardest_braking:
            yield Finding("error", "the hardest braking shrinks", place, "keep the maximum")


def _pictures(simulator: Simulator, seeds: Sequence[int]) -> Iterator[Finding]:
    """RGB bytes of one size; the same picture of the same moment."""
    sizes = set()
    for seed in seeds:
        simulator.reset(seed)
        for action in script(simulator, seed)[: STEPS // 3]:
            place = f"render, seed {seed}"
            first, second = simulator.render(), simulator.render()
            if first.ndim != 3 or first.shape[2] != 3 or first.dtype != np.uint8:
                problem = f"it is {first.dtype} of the shape {first.shape}"
                yield Finding("error", problem, place, "give (height, width, 3) of uint8")
                return
            sizes.add(first.shape)
            if not np.array_equal(first, second):
                problem = "two pictures of one moment differ"
                yield Finding("error", problem, place, "draw nothing but the state")
                return
            if simulator.done:
                break
            advance(simulator, action)
    if len(sizes) > 1:
        yield Finding("error", f"sizes change: {sorted(sizes)}", "render", "draw in one size")


def _determinism(make: Make, seeds: Sequence[int]) -> Iterator[Finding]:
    """Equal seeds and actions give equal episodes, whatever happened before or who looks."""
    known: dict[int, list[Look]] = {}

    def same(simulator: Simulator, seed: int, how: str, *, look: bool = False) -> Iterator[Finding]:
        random.seed(how)
        np.random.seed(len(how))
        pairs = zip_longest(known[seed], play(simulator, seed, look=look))
        step = next((number for number, (one, other) in enumerate(pairs) if one != other), None)
        if step is not None:
            problem = f"another episode {how} (they part after {step} steps)"
            yield Finding(
                "error", problem, f"seed {seed}", "draw every random number from the seed"
            )

    def first(simulator: Simulator) -> Iterator[Finding]:
        for seed in seeds:
            known[seed] = play(simulator, seed)
        yield from same(simulator, seeds[0], "after other episodes")
        yield from same(simulator, seeds[0], "when it is looked at", look=True)
        yield from same(simulator, seeds[0], "after being looked at")
        waiting = [known[seed][: STEPS // 2] for seed in seeds]  # the same actions
        if all(looks == waiting[0] for looks in waiting):
            problem = "all seeds give one and the same episode"
            yield Finding("warning", problem, "reset", "let the traffic depend on the seed")

    yield from _with(make, first)
    if len(known) == len(seeds):
        yield from _with(make, lambda fresh: same(fresh, seeds[-1], "in a fresh simulator"))


def _labels(
    simulator: Simulator, vocabulary: Vocabulary, seeds: Sequence[int]
) -> Iterator[Finding]:
    """Labels are sets of the simulator's propositions; which combinations has the scenario not?"""
    allowed = frozenset(load_world(simulator.scenario, vocabulary).labels)
    impossible: set[frozenset[str]] = set()
    for seed in seeds:
        simulator.reset(seed)
        for action in script(simulator, seed):
            label = simulator.observe()
            if not isinstance(label, frozenset):
                problem = f"it is a {type(label).__name__}"
                yield Finding("error", problem, "observe", "give a frozenset")
                return
            for name in sorted(label.difference(simulator.propositions)):
                problem = f"{name!r} is not among its propositions"
                yield Finding("error", problem, f"observe, seed {seed}", "list it, or leave it out")
            if simulator.done:
                break
            decided = simulator.ready and label <= set(simulator.propositions)
            if decided and label not in allowed:
                impossible.add(label)
            advance(simulator, action)
    for label in sorted(impossible, key=sorted):
        problem = f"{{{', '.join(sorted(label))}}} is excluded by {simulator.scenario}"
        yield Finding("warning", problem, "observe", "mend the labels or the scenario")
