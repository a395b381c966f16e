"""More than a thousand random (model, formula) pairs, against model checkers that are not ours."""

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import pytest
import spot

from benchmarks.nusmv_peer import NusmvPeer, find_nusmv
from benchmarks.random_models import sparse_world, wild_controller
from benchmarks.storm_peer import StormPeer
from verifier.checker import Checker
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.rules import RuleBook, Specification
from verifier.semantics import Semantics
from verifier.transition_system import Assumption, TransitionSystem
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
PROPOSITIONS = ("green_traffic_light", "car_from_left", "pedestrian_in_front")
ACTIONS = ("stop", "turn_right", "go_straight")
PROFILES = tuple(
    Semantics(name="random", epsilon=epsilon, on_finish=on_finish, assumptions=assumptions)
    for epsilon, on_finish, assumptions in product(
        ("stop", "noop"), ("restart", "stutter"), ("world", "none")
    )
)
MODELS, FORMULAS = 110, 10
UNIONS = 20


@dataclass(frozen=True)
class Case:
    world: TransitionSystem
    controller: Controller
    formulas: tuple[str, ...]
    semantics: Semantics


@cache
def nusmv():
    return find_nusmv()


def storm_verdicts(case):
    return StormPeer(case.world, case.formulas, case.semantics).holds(case.controller)


def nusmv_verdicts(case):
    peer = NusmvPeer(case.world, case.formulas, case.semantics, VOCABULARY, nusmv())
    return peer.holds(case.controller)


@pytest.fixture(params=["storm", "nusmv"])
def peer_verdicts(request):
    if request.param == "storm":
        pytest.importorskip("stormpy", reason="stormpy is not installed (extra: bench)")
        return storm_verdicts
    if nusmv() is None:
        pytest.skip("no NuSMV that runs here (extra: bench, package pyboolnet)")
    return nusmv_verdicts


def checker_of(case):
    book = RuleBook(
        "random", tuple(Specification(f"f{i}", f, "safety") for i, f in enumerate(case.formulas))
    )
    return Checker(case.world, book, case.semantics, VOCABULARY)


def our_verdicts(case):
    values = checker_of(case).values(case.controller, vacuity=False)
    assert {value for value, _ in values} <= {"satisfied", "violated"}
    return tuple(value == "satisfied" for value, _ in values)


def random_formulas(seed, number=FORMULAS):
    """Sizes 3 to 15, as drawn (not simplified)."""
    names = [*PROPOSITIONS, *ACTIONS]
    drawn = spot.randltl(names, number, seed=seed, tree_size=(3, 15), simplify=0)
    return tuple(str(formula) for formula in drawn)


def random_world(rng):
    assumption = rng.choice([None, "G F {}", "F G {}", "G({} -> F !{})"])
    name = rng.choice(PROPOSITIONS)
    return sparse_world(
        rng.randint(1, 6),
        PROPOSITIONS,
        rng,
        degree=rng.randint(1, 3),
        initial=rng.randint(1, 2),
        assumptions=[assumption.format(name, name)] if assumption else [],
    )


def random_cases(number) -> Iterator[Case]:
    """Those whose world meets its own assumptions; the checker refuses the others."""
    rng = random.Random(20)
    produced = 0
    while produced < number:
        case = Case(
            random_world(rng),
            wild_controller(rng.randint(1, 5), PROPOSITIONS, ACTIONS, rng),
            random_formulas(rng.randrange(1 << 30)),
            PROFILES[produced % len(PROFILES)],
        )
        try:
            checker_of(case)
        except InputError:
            continue
        produced += 1
        yield case


def test_random_pairs(peer_verdicts):
    compared = []
    for case in random_cases(MODELS):
        ours = our_verdicts(case)
        theirs = peer_verdicts(case)
        answered = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
        assert all(a == b for a, b in answered), (case, ours, theirs)
        compared += answered
    held = sum(a for a, _ in compared)
    assert len(compared) >= 1_000
    assert 0.1 < held / len(compared) < 0.9  # neither answer is the rule


def test_every_violation_is_replayed():
    """``check`` validates its counterexamples against the definitions and raises if one fails."""
    violated = 0
    for case in random_cases(MODELS // 3):
        report = checker_of(case).check(case.controller)
        assert tuple(v.holds for v in report.verdicts) == our_verdicts(case)
        for verdict in report.verdicts:
            assert verdict.holds or verdict.counterexample is not None, (case, verdict)
            violated += not verdict.holds
    assert violated > 100


def test_each_scenario_of_a_union_keeps_its_own_assumptions(peer_verdicts):
    """A formula holds in a union if it holds in each part under that part's assumptions."""
    cases = list(random_cases(2 * UNIONS))
    for first, second in zip(cases[::2], cases[1::2], strict=True):
        together = dataclasses.replace(first, world=side_by_side(first.world, second.world))
        apart = dataclasses.replace(first, world=second.world)
        ours = our_verdicts(together)
        parts = zip(peer_verdicts(first), peer_verdicts(apart), strict=True)
        for verdict, both in zip(ours, parts, strict=True):
            assert None in both or verdict == all(both), (together, ours)


def side_by_side(first, second):
    shift = len(first.states)
    states = (frozenset(range(shift)), frozenset(range(shift, shift + len(second.states))))
    return TransitionSystem(
        name="union",
        text="",
        propositions=first.propositions,
        states=tuple(f"{i}" for i in range(shift + len(second.states))),
        labels=first.labels + second.labels,
        initial=first.initial + tuple(shift + s for s in second.initial),
        successors=first.successors
        + tuple(tuple(shift + s for s in row) for row in second.successors),
        assumptions=tuple(
            Assumption(a.formula, part)
            for world, part in zip((first, second), states, strict=True)
            for a in world.assumptions
        ),
    )
