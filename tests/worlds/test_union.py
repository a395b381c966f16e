"""Disjoint union: each member is found unchanged inside it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.automata import make_alphabet, world_automaton
from verifier.bindings import spot
from verifier.errors import InputError
from verifier.semantics import Semantics
from verifier.transition_system import Assumption, TransitionSystem, make_transition_system
from verifier.vocabulary import load_vocabulary
from worlds.union import union

VOCABULARY = load_vocabulary()
LABELS = ("car_from_left", "car_from_right")


@st.composite
def worlds(draw, name):
    states = [f"q{i}" for i in range(draw(st.integers(1, 4)))]
    some = st.lists(st.sampled_from(states), unique=True)
    return make_transition_system(
        name,
        {s: draw(st.lists(st.sampled_from(LABELS), unique=True)) for s in states},
        {s: draw(some) for s in states},
        initial=draw(some),
        assumptions=draw(st.lists(st.sampled_from(("GF car_from_left", "F car_from_right")))),
    )


@settings(max_examples=100, deadline=None)
@given(worlds("a"), worlds("b"), worlds("c"))
def test_members_are_found_unchanged(a, b, c):
    members = (a, b, c)
    whole = union("abc", members)
    offset = 0
    for member in members:
        part = range(offset, offset + len(member.states))
        assert [whole.states[i] for i in part] == [f"{member.name}:{s}" for s in member.states]
        assert [whole.labels[i] for i in part] == list(member.labels)
        assert [whole.successors[i] for i in part] == [
            tuple(offset + j for j in row) for row in member.successors
        ]
        assert [i - offset for i in whole.initial if i in part] == list(member.initial)
        assert [a.formula for a in whole.assumptions if a.states == frozenset(part)] == [
            a.formula for a in member.assumptions
        ]
        assert set(member.propositions) <= set(whole.propositions)
        offset += len(member.states)
    assert len(whole.states) == offset
    assert len(whole.assumptions) == sum(len(m.assumptions) for m in members)


def test_scopes_of_nested_unions_are_shifted():
    def single(name):
        return make_transition_system(name, {"q": ["stop_sign"]}, assumptions=["G stop_sign"])

    inner = union("inner", [single("a"), single("b")])
    outer = union("outer", [single("c"), inner])
    assert outer.states == ("c:q", "inner:a:q", "inner:b:q")
    assert outer.assumptions == tuple(Assumption("G stop_sign", frozenset({i})) for i in range(3))


def test_rows_stay_shared():
    member = make_transition_system("a", {f"q{i}": [] for i in range(50)})
    rows = union("two", [member, make_transition_system("b", {"q": []})]).successors
    assert len({id(row) for row in rows}) == 2


def language(world: TransitionSystem):
    """The label sequences that count, or None if there are none."""
    try:
        return world_automaton(world, make_alphabet(VOCABULARY), Semantics())
    except InputError:
        return None


@settings(max_examples=100, deadline=None)
@given(worlds("a"), worlds("b"))
def test_the_language_is_the_union_of_the_languages(a, b):
    parts = [words for words in map(language, (a, b)) if words is not None]
    whole = language(union("ab", [a, b]))
    if not parts:
        assert whole is None
        return
    expected = parts[0] if len(parts) == 1 else spot.sum(*parts)
    assert whole is not None
    assert spot.are_equivalent(whole, expected)


def test_an_assumption_does_not_reach_into_other_members():
    fair = make_transition_system(
        "fair", {"a": ["car_from_left"], "b": []}, assumptions=["GF !car_from_left"]
    )
    stubborn = make_transition_system("stubborn", {"a": ["car_from_left"]})
    words = language(union("both", [fair, stubborn]))
    assert words is not None
    always = spot.translate(spot.formula("G car_from_left"))
    assert words.intersects(always)
    alone = language(union("one", [fair]))
    assert alone is not None
    assert not alone.intersects(always)
