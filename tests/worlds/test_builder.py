"""Worlds by rule: the symbolic builder against Algorithm 1 spelled out."""

import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.bindings import spot
from verifier.errors import InputError
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Proposition, Vocabulary, load_vocabulary
from worlds.builder import build_by_rule
from worlds.scenario import ByRule

VOCABULARY = load_vocabulary()
NAMES = ("car_from_left", "car_from_right", "stop_sign")
HIDDEN = ("secret",)


def by_rule(**fields) -> ByRule:
    empty = {"hidden": (), "invariants": (), "steps": (), "initial": None, "assumptions": ()}
    return ByRule(**{"propositions": NAMES, **empty, **fields})


def build(**fields) -> TransitionSystem:
    return build_by_rule("test", "", by_rule(**fields), VOCABULARY)


def truth(text: str, now: frozenset[str], after: frozenset[str] = frozenset()) -> bool:
    """Evaluate a Boolean formula over p and X p by recursion on Spot's parse."""

    def value(node, letter) -> bool:
        if node._is(spot.op_ap):
            return node.ap_name() in letter
        if node._is(spot.op_X):
            return value(node[0], after)
        if node.is_tt() or node.is_ff():
            return node.is_tt()
        if node._is(spot.op_Not):
            return not value(node[0], letter)
        values = [value(child, letter) for child in node]
        if node._is(spot.op_And):
            return all(values)
        if node._is(spot.op_Or):
            return any(values)
        left, right = values
        if node._is(spot.op_Implies):
            return not left or right
        return (left == right) == bool(node._is(spot.op_Equiv))

    return value(spot.formula(text), now)


def algorithm_1(rules: ByRule):
    """Labels, edges and initial states, by enumerating 2^P as the paper does."""
    names = (*rules.propositions, *rules.hidden)
    everything = [
        frozenset(n for n, bit in zip(names, bits, strict=True) if bit)
        for bits in product((False, True), repeat=len(names))
    ]
    allowed = [s for s in everything if all(truth(f, s) for f in rules.invariants)]
    edges = {(s, t) for s in allowed for t in allowed if all(truth(f, s, t) for f in rules.steps)}
    kept = {s for edge in edges for s in edge}
    initial = {s for s in kept if rules.initial is None or truth(rules.initial, s)}
    return kept, edges, initial


def full_labels(world: TransitionSystem) -> list[frozenset[str]]:
    """Labels with the hidden variables that the names show."""
    hidden = (frozenset(name.split("+")[1:]) for name in world.states)
    return [label | more for label, more in zip(world.labels, hidden, strict=True)]


atoms = st.sampled_from((*NAMES, *HIDDEN))


def boolean(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner).map(lambda t: f"!({t[0]})"),
            st.tuples(inner, st.sampled_from(("&", "|", "->", "<->", "xor")), inner).map(
                lambda t: f"({t[0]}) {t[1]} ({t[2]})"
            ),
        ),
        max_leaves=4,
    )


rule_worlds = st.builds(
    lambda invariants, steps, initial: by_rule(
        hidden=HIDDEN, invariants=tuple(invariants), steps=tuple(steps), initial=initial
    ),
    st.lists(boolean(atoms), max_size=2),
    st.lists(boolean(st.one_of(atoms, boolean(atoms).map(lambda f: f"X({f})"))), max_size=3),
    st.one_of(st.none(), boolean(atoms)),
)


@settings(max_examples=200, deadline=None)
@given(rule_worlds)
def test_equals_algorithm_1(rules):
    kept, edges, initial = algorithm_1(rules)
    if not edges:
        with pytest.raises(InputError, match="satisf"):  # no label, or no transition
            build_by_rule("test", "", rules, VOCABULARY)
        return
    world = build_by_rule("test", "", rules, VOCABULARY)
    labels = full_labels(world)
    assert len(set(labels)) == len(labels)
    assert set(labels) == kept
    assert {(labels[i], labels[j]) for i, row in enumerate(world.successors) for j in row} == edges
    assert {labels[i] for i in world.initial} == initial
    assert all(list(row) == sorted(set(row)) for row in world.successors)


def test_the_papers_light_keeps_3_of_8_states():
    # red -> green -> yellow -> red, with the vocabulary's names standing in for the colours.
    red, green, yellow = NAMES
    world = build(
        invariants=tuple(f"{a} -> !{b}" for a in NAMES for b in NAMES if a != b),
        steps=(
            f"{red} -> X {green}",
            f"{green} -> X {yellow}",
            f"{yellow} -> X {red}",
            f"{red} | {green} | {yellow}",
        ),
    )
    assert [sorted(label) for label in world.labels] == [
        ["stop_sign"],
        ["car_from_right"],
        ["car_from_left"],
    ]
    assert world.successors == ((2,), (0,), (1,))


def test_states_are_numbered_in_the_order_of_their_labels():
    world = build(propositions=("car_from_left", "stop_sign"), hidden=("late",))
    assert world.states == ("s0", "s1+late", "s2", "s3+late", "s4", "s5+late", "s6", "s7+late")
    assert [sorted(label) for label in world.labels[::2]] == [
        [],
        ["stop_sign"],
        ["car_from_left"],
        ["car_from_left", "stop_sign"],
    ]


def test_states_without_edges_are_dropped_and_names_have_no_gaps():
    world = build(
        propositions=("car_from_left", "stop_sign"),
        steps=("!stop_sign & X !stop_sign", "X !car_from_left", "!car_from_left"),
    )
    assert world.states == ("s0",)
    assert world.successors == ((0,),)


def test_a_complete_graph_over_all_propositions_is_cheap():
    start = time.process_time()
    world = build(propositions=VOCABULARY.proposition_names)
    assert time.process_time() - start < 2
    assert len(world.states) == 1024
    assert len({id(row) for row in world.successors}) == 1


class TestSixtyPropositions:
    """2^60 labels exist; only those that the invariants allow are ever looked at."""

    names = tuple(f"p{i}" for i in range(60))
    vocabulary = Vocabulary("sixty", tuple(Proposition(n, n, n, n) for n in names), ())

    def build(self, **rules) -> TransitionSystem:
        start = time.process_time()
        fields = by_rule(propositions=self.names, **rules)
        world = build_by_rule("sixty", "", fields, self.vocabulary)
        assert time.process_time() - start < 5
        return world

    def test_at_most_one_holds(self):
        invariants = [f"{a} -> !{b}" for i, a in enumerate(self.names) for b in self.names[:i]]
        world = self.build(invariants=tuple(invariants))
        assert len(world.states) == 61
        assert world.num_transitions == 61**2

    def test_a_ring(self):
        exactly_one = [f"{a} -> !{b}" for i, a in enumerate(self.names) for b in self.names[:i]]
        exactly_one.append(" | ".join(self.names))
        following = (*self.names[1:], self.names[0])
        steps = [f"{a} -> X {b}" for a, b in zip(self.names, following, strict=True)]
        world = self.build(invariants=tuple(exactly_one), steps=tuple(steps), initial="p0")
        assert [len(row) for row in world.successors] == [1] * 60
        assert [sorted(world.labels[i]) for i in world.initial] == [["p0"]]

    def test_copies(self):
        # Ten free propositions, fifty that repeat them.
        invariants = [f"p{i} <-> p{i % 10}" for i in range(10, 60)]
        world = self.build(invariants=tuple(invariants))
        assert len(world.states) == 1024
        assert len({id(row) for row in world.successors}) == 1

    def test_without_invariants_it_is_refused_at_once(self):
        with pytest.raises(InputError, match=r"1152921504606846976 labels satisfy .* more than"):
            self.build()
