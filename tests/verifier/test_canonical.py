import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.canonical import canonical, controller_hash, equivalent
from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.truth_tables import table_of

NAMES = ("a", "b")
ACTIONS = ("epsilon", "go", "stop")
GUARDS = ("true", "false", "a", "!a", "b", "a & b", "a & !b", "!a | b", "a xor b", "!a & !b")


@st.composite
def controllers(draw):
    states = draw(st.integers(1, 5))
    number = st.integers(0, states - 1)
    rows = st.tuples(number, st.sampled_from(GUARDS), st.sampled_from(ACTIONS), number)
    transitions = [Transition(*row) for row in draw(st.lists(rows, max_size=9))]
    transitions.append(Transition(states - 1, "false", "epsilon", 0))
    return Controller(draw(number), draw(number), tuple(transitions))


def moves(controller: Controller, state: int, label: int) -> list[tuple[str, int]]:
    """What the controller can do, by the definition: all enabled transitions, else wait."""
    if state == controller.final != controller.initial:
        return []
    enabled = [
        (t.action, t.target)
        for t in controller.transitions
        if t.source == state and table_of(t.guard, NAMES) >> label & 1
    ]
    return enabled or [("epsilon", state)]


def bisimilar(left: Controller, right: Controller) -> bool:
    """The greatest fixed point, by striking out pairs."""
    states = [range(c.num_states) for c in (left, right)]
    final = left.final, right.final
    related = {(p, q) for p, q in itertools.product(*states) if (p == final[0]) == (q == final[1])}
    while True:
        keep = {pair for pair in related if matches(left, right, pair, related)}
        if keep == related:
            return (left.initial, right.initial) in related
        related = keep


def matches(left, right, pair, related) -> bool:
    for label in range(4):
        ours, theirs = moves(left, pair[0], label), moves(right, pair[1], label)
        forth = all(any(a == b and (p, q) in related for b, q in theirs) for a, p in ours)
        back = all(any(a == b and (p, q) in related for a, p in ours) for b, q in theirs)
        if not (forth and back):
            return False
    return True


def words(controller: Controller, labels: list[int]) -> set[tuple[str, ...]]:
    """Every sequence of actions for a sequence of labels."""
    runs = {((), controller.initial)}
    for label in labels:
        runs = {
            ((*done, action), target)
            for done, state in runs
            for action, target in moves(controller, state, label) or [("finished", state)]
        }
    return {done for done, _ in runs}


@given(controllers(), st.lists(st.integers(0, 3), max_size=5))
def test_the_canonical_form_has_the_same_words(controller, labels):
    assert words(canonical(controller), labels) == words(controller, labels)


@given(controllers())
def test_canonical_is_idempotent_and_complete(controller):
    form = canonical(controller)
    assert canonical(form) == form
    for state in range(form.num_states):
        guards = [t.guard for t in form.transitions if t.source == state]
        everything = table_of(" | ".join(f"({g})" for g in guards) or "false", NAMES)
        assert everything == 0b1111 or state == form.final
        assert "false" not in guards


@settings(max_examples=300)
@given(controllers(), controllers())
def test_equal_forms_mean_bisimilar(left, right):
    same = (left.initial == left.final) == (right.initial == right.final)
    assert equivalent(left, right) == (same and bisimilar(left, right))


@given(controllers(), st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_presentation(controller, rng):
    assert controller_hash(disguise(controller, rng)) == controller_hash(controller)


def disguise(controller: Controller, rng: random.Random) -> Controller:
    """Renamed states, shuffled transitions, split guards, unreachable and false additions."""
    size = controller.num_states
    names = rng.sample(range(size + 3), size)
    rows = []
    for t in controller.transitions:
        parts = [t.guard] if rng.random() < 0.5 else [f"({t.guard}) & a", f"({t.guard}) & !a"]
        rows += [Transition(names[t.source], g, t.action, names[t.target], 1, "x") for g in parts]
    spare = next(n for n in range(size + 3) if n not in names)
    rows += [Transition(spare, "true", "go", names[0]), Transition(names[0], "false", "go", spare)]
    rng.shuffle(rows)
    return Controller(names[controller.initial], names[controller.final], tuple(rows), ("text",))


def test_waiting_is_made_explicit_and_equal_states_are_merged():
    controller = Controller(
        0,
        3,
        (
            Transition(0, "true", "epsilon", 1),
            Transition(0, "a", "epsilon", 2),
            Transition(1, "a & b", "go", 3),
            Transition(2, "b & a", "go", 3),
            Transition(3, "a", "stop", 0),
        ),
    )
    assert canonical(controller) == Controller(
        0,
        2,
        (
            Transition(0, "true", "epsilon", 1),
            Transition(1, "!a | !b", "epsilon", 1),
            Transition(1, "a & b", "go", 2),
        ),
    )


def test_a_choice_that_labels_do_not_decide_is_numbered_by_behaviour():
    def fork(first: int, second: int) -> Controller:
        return Controller(
            0,
            3,
            (
                Transition(0, "true", "epsilon", first),
                Transition(0, "true", "epsilon", second),
                Transition(1, "a", "go", 3),
                Transition(2, "b", "go", 3),
            ),
        )

    assert canonical(fork(1, 2)) == canonical(fork(2, 1))
    assert len(canonical(fork(1, 2)).transitions) == 6


def test_finishing_is_told_from_waiting_for_ever():
    done = Controller(0, 1, (Transition(0, "true", "go", 1),))
    stuck = Controller(0, 2, (Transition(0, "true", "go", 1), Transition(1, "true", "epsilon", 1)))
    assert not equivalent(done, stuck)
    assert canonical(stuck).final == 2


def test_long_chains_are_quick():
    chain = [Transition(i, "a & !b", "go", i + 1) for i in range(3000)]
    assert canonical(Controller(0, 3000, tuple(chain))).num_states == 3001


def test_the_hash_is_stable():
    controller = Controller(0, 1, (Transition(0, "!b | a", "go", 1),))
    digest = "sha256:71fabe58b5c32216646fa6da1d2d4699a5a2140bba6e1605ce2bb2120961f4a3"
    assert controller_hash(controller) == digest


def test_too_many_propositions_are_refused():
    guard = " & ".join(f"p{i}" for i in range(21))
    with pytest.raises(InputError, match="at most 20"):
        canonical(Controller(0, 1, (Transition(0, guard, "go", 1),)))
