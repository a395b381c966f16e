"""Implications among specifications, on cases to see by eye and against a plain tableau."""

from itertools import product as cartesian

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Graph, has_path

from verifier.implications import Implication, Redundancy, find_implications
from verifier.realizability import Game
from verifier.semantics import Semantics
from verifier.transition_system import make_transition_system
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
GREEN, CAR = "green_traffic_light", "car_from_left"
LABELS = {"none": [], "green": [GREEN], "car": [CAR], "both": [GREEN, CAR]}
FREE = make_transition_system("free", LABELS)


def implications(world, **formulas):
    words = Game(world, Semantics(), VOCABULARY).letters()
    return find_implications(words, formulas)


def test_pairs_and_equivalence():
    found = implications(
        FREE,
        weak=f"G({CAR} -> !turn_left)",
        strong=f"G({CAR} -> !(turn_left | turn_right))",
        same=f"G(turn_right | turn_left -> !{CAR})",
    )
    assert found.pairs == (
        Implication("weak", "strong", False),
        Implication("weak", "same", False),
        Implication("strong", "same", True),
        Implication("same", "strong", True),
    )
    assert [r.id for r in found.redundant] == ["weak", "strong", "same"]


def test_members_that_always_or_never_hold_imply_nothing():
    found = implications(
        FREE,
        total="G(stop | turn_left | turn_right | go_straight)",
        two="F(stop & turn_left)",
        rule=f"G({CAR} -> stop)",
    )
    assert found.always == ("total",)
    assert found.never == ("two",)
    assert found.pairs == found.redundant == ()


def test_the_world_decides():
    rules = {"a": f"G({CAR} -> stop)", "b": f"G({CAR} | {GREEN} -> stop)"}
    only_cars = make_transition_system("cars", {"none": [], "car": [CAR]})
    assert implications(FREE, **rules).pairs == (Implication("a", "b", False),)
    assert [p.equivalent for p in implications(only_cars, **rules).pairs] == [True, True]
    # An assumption counts too, unless the profile says otherwise.
    fair = make_transition_system("fair", LABELS, assumptions=[f"GF {GREEN}"])
    live = {"a": f"G({GREEN} -> F !stop)", "b": "F !stop"}
    assert implications(fair, **live).pairs == (Implication("b", "a", False),)
    words = Game(fair, Semantics(assumptions="none"), VOCABULARY).letters()
    assert find_implications(words, live).pairs == ()


def test_redundancy_by_several_names_a_minimal_reason():
    found = implications(
        FREE,
        left="G !turn_left",
        red=f"G(!{GREEN} -> F stop)",
        right="G !turn_right",
        straight="G !go_straight",
        all="G stop",
        live=f"G({CAR} -> X stop)",
    )
    assert Redundancy("all", ("left", "right", "straight")) in found.redundant
    assert Redundancy("live", ("all",)) in found.redundant


rules = st.sampled_from(
    [
        f"G({CAR} -> stop)",
        f"G({CAR} -> F stop)",
        f"F({GREEN} & stop)",
        "GF stop",
        f"G(stop -> X {GREEN})",
        f"stop U {GREEN}",
        f"G(!{CAR})",
        "G(stop | turn_left)",
        f"F {GREEN} -> F !stop",
        "FG turn_left",
    ]
)
names = st.sampled_from(sorted(LABELS))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.sets(names, min_size=1).map(sorted)] * 4),
    st.lists(rules, min_size=2, max_size=3, unique=True),
)
def test_implications_are_those_of_a_tableau(rows, formulas):
    world = make_transition_system("random", LABELS, dict(zip(LABELS, rows, strict=True)))
    named = {f"r{i}": f for i, f in enumerate(formulas)}
    found = implications(world, **named)
    actions = VOCABULARY.action_names
    nodes = list(cartesian(range(4), actions))
    graph = Graph(
        letters=tuple(world.labels[w] | {a} for w, a in nodes),
        successors=tuple(
            tuple(n for n, (v, _) in enumerate(nodes) if v in world.successors[w]) for w, _ in nodes
        ),
        initial=tuple(range(len(nodes))),
        world_of=tuple(w for w, _ in nodes),
    )

    def some(formula):
        return has_path(graph, graph.initial, formula)

    assert found.always == tuple(i for i, f in named.items() if not some(f"!({f})"))
    assert found.never == tuple(i for i, f in named.items() if not some(f))
    rest = [i for i in named if i not in found.always + found.never]
    expected = {
        (b, a) for b in rest for a in rest if a != b and not some(f"({named[a]}) & !({named[b]})")
    }
    assert {(p.id, p.implied_by) for p in found.pairs} == expected
    redundant = {
        b
        for b in rest
        if not some(" & ".join([f"!({named[b]})", *(f"({named[a]})" for a in rest if a != b)]))
    }
    assert {r.id for r in found.redundant} == redundant
