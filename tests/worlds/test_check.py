"""check_world on worlds made in code: every kind of finding, word for word."""

import time
from dataclasses import replace

import pytest

from verifier.transition_system import Assumption, TransitionSystem, make_transition_system
from verifier.vocabulary import load_vocabulary
from worlds.check import check_world
from worlds.load import load_world
from worlds.union import union

VOCABULARY = load_vocabulary()
CARS = {"a": ["car_from_left"], "b": []}


def findings(world: TransitionSystem) -> list[str]:
    return [str(finding) for finding in check_world(world, VOCABULARY)]


def test_nothing_wrong():
    assert findings(make_transition_system("w", CARS, assumptions=["GF car_from_left"])) == []


CASES = {
    "no states": (
        make_transition_system("w", {}),
        ["error: no states; weaken the rules or add states"],
    ),
    "no initial state": (
        make_transition_system("w", CARS, initial=[]),
        ["error: initial: no initial state; write 'initial: all'"],
    ),
    "deadlock": (
        make_transition_system("w", CARS, {"a": ["b"]}),
        [
            "error: state b {}: deadlock: no transition leaves it; "
            "allow a transition (to itself, if the world can stay as it is)"
        ],
    ),
    "deadlocks": (
        make_transition_system("w", {**CARS, "c": [], "d": [], "e": []}, {"a": list("bcde")}),
        [
            "error: states b {}, c {}, d {} and 1 more: deadlocks: no way out; "
            "allow a transition (to itself, if the world can stay as it is)"
        ],
    ),
    "unknown proposition": (
        make_transition_system("w", {"a": ["car_from_lefft"], "b": []}, propositions=[]),
        [
            "error: state a {car_from_lefft}: unknown proposition 'car_from_lefft'; did you mean 'car_from_left'?"
        ],
    ),
    "unknown proposition declared": (
        make_transition_system("w", {"a": ["car_from_lefft"], "b": []}),
        [
            "error: propositions: unknown proposition 'car_from_lefft'; "
            "did you mean 'car_from_left'?",
        ],
    ),
    "undeclared proposition": (
        make_transition_system("w", CARS, propositions=[]),
        [
            "error: state a {car_from_left}: 'car_from_left' holds here but is not among the world's "
            "propositions; add it to 'propositions'"
        ],
    ),
    "syntax error": (
        make_transition_system("w", CARS, assumptions=["GF(car_from_left"]),
        [
            "error: assumption 1: syntax error, missing closing parenthesis at column 3: "
            "GF‹^›(car_from_left; mend the formula"
        ],
    ),
    "action": (
        make_transition_system("w", CARS, assumptions=["GF !car_from_left", "F stop"]),
        [
            "error: assumption 2: 'stop' is an action; assumptions speak about the world only; "
            "use propositions"
        ],
    ),
    "unknown in assumption": (
        make_transition_system("w", CARS, assumptions=["F stop_sing"]),
        ["error: assumption 1: unknown proposition 'stop_sing'; did you mean 'stop_sign'?"],
    ),
    "unsatisfiable": (
        make_transition_system(
            "w", CARS, {"a": ["a"], "b": ["b"]}, initial=["b"], assumptions=["F car_from_left"]
        ),
        [
            "error: assumption 1: no path satisfies it: F car_from_left; "
            "weaken it, or allow more labels or transitions",
            "warning: state a {car_from_left}: cannot be reached from any initial state; "
            "remove it or add transitions",
        ],
    ),
    "unsatisfiable together": (
        make_transition_system(
            "w", CARS, assumptions=["G car_from_left", "GF true", "F !car_from_left"]
        ),
        [
            "error: assumptions 1, 2, 3: no path satisfies all of them; weaken one of them",
        ],
    ),
    "absent in assumption": (
        make_transition_system("w", CARS, assumptions=["G !stop_sign"]),
        [
            "warning: assumption 1: 'stop_sign' is not among the world's propositions, so it "
            "never holds; leave it out or add it to 'propositions'"
        ],
    ),
    "hopeless": (
        make_transition_system(
            "w",
            {**CARS, "c": ["car_from_left"]},
            {"a": ["a", "b", "c"], "b": ["a"], "c": ["c"]},
            assumptions=["GF !car_from_left"],
        ),
        [
            "warning: state c {car_from_left}: from here on the assumptions cannot hold, so "
            "nothing is checked here; allow a way out, or weaken the assumptions"
        ],
    ),
    "hopeless only together": (
        make_transition_system(
            "w",
            CARS,
            {"a": ["a", "b"], "b": ["b"]},
            assumptions=["GF car_from_left", "GF true"],
        ),
        [
            "warning: state b {}: from here on the assumptions cannot hold, so nothing is "
            "checked here; allow a way out, or weaken the assumptions"
        ],
    ),
    "what depends on the past is left alone": (
        make_transition_system(
            "w", CARS, {"a": ["a", "b"], "b": ["b"]}, assumptions=["F car_from_left"]
        ),
        [],
    ),
    "parts overlap": (
        replace(
            make_transition_system("w", CARS, {"a": ["a"], "b": ["b"]}),
            assumptions=(
                Assumption("F car_from_left", frozenset({0})),
                Assumption("F car_from_left", frozenset({0, 1})),
            ),
        ),
        [
            "error: assumption 2: the states it speaks about overlap with those of assumption 1; "
            "give each part of the world its own"
        ],
    ),
    "part can be left": (
        replace(
            make_transition_system("w", CARS),
            assumptions=(Assumption("F car_from_left", frozenset({0})),),
        ),
        [
            "error: assumption 1: it speaks about a part that can be left to state b {}; "
            "add what can be reached from the part"
        ],
    ),
    "missing label": (
        replace(make_transition_system("w", CARS), labels=(frozenset(),)),
        ["error: 2 states, 1 labels and 2 rows of successors; give every state one of each"],
    ),
    "two states of one name": (
        replace(make_transition_system("w", CARS), states=("a", "a")),
        ["error: states: two states are named 'a'; rename one"],
    ),
    "successor that does not exist": (
        replace(make_transition_system("w", CARS), successors=((0, 1), (2,))),
        ["error: successors of b: there is no state with index 2; indices go from 0 to 1"],
    ),
    "initial state that does not exist": (
        replace(make_transition_system("w", CARS), initial=(-1,)),
        ["error: initial: there is no state with index -1; indices go from 0 to 1"],
    ),
    "never": (
        make_transition_system("w", CARS, propositions=["car_from_left", "stop_sign"]),
        ["warning: propositions: 'stop_sign' never holds; remove it"],
    ),
    "always": (
        make_transition_system("w", {"a": ["stop_sign"]}),
        [
            "note: propositions: 'stop_sign' holds in every state; "
            "right if it is part of the place, as a sign is"
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case):
    world, expected = CASES[case]
    assert findings(world) == expected


def test_errors_come_first():
    world = make_transition_system("w", CARS, {"a": ["a"]}, initial=["a"])
    assert [f.severity for f in check_world(world, VOCABULARY)] == ["error", "warning"]


def test_notes_come_last():
    names = ["stop_sign", "car_from_left"]
    world = make_transition_system(
        "w", {"a": ["stop_sign"], "b": ["stop_sign"]}, {"a": ["a"]}, propositions=names
    )
    severities = [f.severity for f in check_world(world, VOCABULARY)]
    assert severities == ["error", "warning", "note"]


def test_every_final_part_of_a_union_is_looked_at():
    trap = make_transition_system(
        "trap", CARS, {"a": ["a", "b"], "b": ["b"]}, assumptions=["GF car_from_left"]
    )
    fine = make_transition_system("fine", CARS, assumptions=["GF car_from_left"])
    assert findings(union("u", [trap, fine])) == [
        "warning: state trap:b {}: from here on the assumptions cannot hold, so nothing is "
        "checked here; allow a way out, or weaken the assumptions"
    ]


def test_assumptions_of_a_union_are_judged_in_their_own_part():
    left = make_transition_system("l", {"a": ["car_from_left"]}, assumptions=["G car_from_left"])
    right = make_transition_system("r", {"a": []}, assumptions=["G !car_from_left"])
    assert findings(union("u", [left, right])) == []
    wrong = replace(right, assumptions=(Assumption("F car_from_left"),))
    assert findings(union("u", [left, wrong])) == [
        "error: assumption 2: no path satisfies it: F car_from_left; "
        "weaken it, or allow more labels or transitions"
    ]


def test_large_complete_worlds_are_quick():
    start = time.process_time()
    assert findings(load_world("free", VOCABULARY)) == []
    assert time.process_time() - start < 5
