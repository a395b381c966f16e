"""Who wins, on games small enough to know; and witnesses for either side, judged without games."""

from itertools import product as cartesian

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Graph, brute_force, has_path

from verifier.automata import letter_actions
from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.realizability import Game, legal_actions
from verifier.rules import RuleBook, Specification
from verifier.semantics import Semantics
from verifier.strategies import Environment, chosen_actions
from verifier.transition_system import make_transition_system
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
GREEN, CAR = "green_traffic_light", "car_from_left"
LIGHT = {"red": [], "green": [GREEN]}
DEFAULT = Semantics()

FREE = make_transition_system("free_light", LIGHT)
FAIR = make_transition_system("fair_light", LIGHT, assumptions=[f"GF {GREEN}"])
ALTERNATING = make_transition_system("timer", LIGHT, {"red": ["green"], "green": ["red"]})
# After red a car or none, and which it will be is decided before it can be seen.
HIDDEN = make_transition_system(
    "hidden",
    {"calm": [], "busy": [], "green": [GREEN], "car": [CAR]},
    {"calm": ["green"], "busy": ["car"], "green": ["calm", "busy"], "car": ["calm", "busy"]},
    initial=["calm", "busy"],
)


def realizable(world, *formulas, semantics=DEFAULT):
    return Game(world, semantics, VOCABULARY).realizable(formulas)


@pytest.mark.parametrize(
    ("world", "formula", "expected"),
    [
        (FREE, f"G({GREEN} <-> go_straight)", True),  # same step
        (FREE, f"G({GREEN} <-> X go_straight)", True),  # needs memory
        (FREE, f"G(go_straight <-> X {GREEN})", False),  # needs foresight
        (ALTERNATING, f"G(go_straight <-> X {GREEN})", True),  # foresight is possible
        (HIDDEN, f"G(go_straight -> X {GREEN})", True),  # never go
        (HIDDEN, f"G({GREEN} -> X(go_straight <-> X {GREEN}))", False),
        (HIDDEN, f"G({GREEN} -> X X({GREEN} <-> go_straight))", True),
        (FREE, f"F {GREEN}", False),
        (FAIR, f"GF {GREEN}", True),
        (FREE, f"GF go_straight & G(go_straight -> {GREEN})", False),
        (FAIR, f"GF go_straight & G(go_straight -> {GREEN})", True),
        (FAIR, f"GF go_straight & G(go_straight -> X {GREEN})", False),
        (FREE, f"G({GREEN} -> F stop) & G({GREEN} -> F !stop)", True),
        (FREE, "G F(stop & turn_left)", False),
        (FREE, "F G stop & G F go_straight", False),
        (FREE, f"F G stop | G F {GREEN}", True),
        (FREE, "stop xor X stop", True),
        (FREE, "G(stop xor X stop)", True),
        (FREE, "false", False),
        (FREE, "true", True),
    ],
)
def test_small_games(world, formula, expected):
    assert realizable(world, formula) == expected


def test_assumptions_count_only_if_the_profile_says_so():
    move = f"GF go_straight & G(go_straight -> {GREEN})"
    assert realizable(FAIR, move)
    assert not realizable(FAIR, move, semantics=Semantics(assumptions="none"))


def test_doing_nothing_is_an_action_only_where_epsilon_is_noop():
    nothing = "G !(stop | turn_left | turn_right | go_straight)"
    assert not realizable(FREE, nothing)
    assert realizable(FREE, nothing, semantics=Semantics(epsilon="noop"))
    assert chosen_actions(VOCABULARY, Semantics(epsilon="noop"))[-1] == "epsilon"
    assert "stop & !turn_left" in legal_actions(VOCABULARY, DEFAULT)


def test_the_borders_of_joint_realizability():
    formulas = {
        "move": "GF go_straight",
        "green": f"G(go_straight -> {GREEN})",
        "stop": "GF stop",
        "left": "G !turn_left",
    }
    found = Game(FREE, DEFAULT, VOCABULARY).jointly_realizable(formulas)
    assert found.conflicts == (("move", "green"),)
    assert found.maximal == (("move", "stop", "left"), ("green", "stop", "left"))


def test_manoeuvres_and_what_prevents_them():
    rules = {"red": f"G(go_straight -> {GREEN})", "rest": "GF stop", "left": "G !turn_left"}
    game = Game(FREE, DEFAULT, VOCABULARY)

    def prevented(action):
        manoeuvre = game.manoeuvre(action, rules)
        return manoeuvre and manoeuvre.prevented_by

    assert prevented("turn_right") == ()
    assert prevented("turn_left") == ("left",)
    assert prevented("go_straight") == ("red",)
    assert game.manoeuvre("stop", {"no": f"F {GREEN}"}) is None
    several = {"a": f"G(go_straight -> X {GREEN})", "b": "G(go_straight -> X X stop)"}
    several |= {"c": "X X G !stop", "d": f"G {GREEN} | !go_straight"}
    blame = Game(FAIR, DEFAULT, VOCABULARY).manoeuvre("go_straight", several | {"e": "G !stop"})
    assert blame is not None
    assert blame.prevented_by == ("a",)
    blame = game.manoeuvre("go_straight", {k: several[k] for k in "bcd"})
    assert blame is not None
    assert blame.prevented_by == ("b", "c")


@pytest.mark.parametrize(
    ("world", "formula", "free"),
    [
        # There is no car: only the absence of cars ever matters.
        (FREE, f"G({CAR} -> !go_straight)", True),
        (FREE, f"G(!{GREEN} -> !go_straight)", False),
        # Always sooner or later green: GF !stop is all that is asked.
        (FAIR, f"G({GREEN} -> F !stop)", True),
        (FREE, f"G({GREEN} -> F !stop)", False),
        # Before it is seen whether it gets green, waiting for it is no option.
        (FREE, f"F(stop & X {GREEN}) | G turn_left", True),
        (FREE, f"F {GREEN}", False),  # unrealizable: never holds, not even vacuously
    ],
)
def test_only_vacuously(world, formula, free):
    found = Game(world, DEFAULT, VOCABULARY).only_vacuously(formula)
    assert (found is not None) == free


# --- witnesses ---------------------------------------------------------------------------------


def environment_graph(environment: Environment, semantics: Semantics) -> Graph:
    """One node per state of the environment and action of the controller."""
    actions = chosen_actions(VOCABULARY, semantics)
    nodes = list(cartesian(range(len(environment.labels)), actions))
    of = {node: i for i, node in enumerate(nodes)}
    return Graph(
        letters=tuple(environment.labels[s] | letter_actions(a, semantics) for s, a in nodes),
        successors=tuple(
            tuple(of[environment.successors[s][a], b] for b in actions) for s, a in nodes
        ),
        initial=tuple(of[0, a] for a in actions),
        world_of=tuple(s for s, _ in nodes),
    )


def is_behaviour(environment: Environment, world) -> bool:
    """Whether every label sequence of the environment is that of a path of the world."""
    start = frozenset(s for s in world.initial if world.labels[s] == environment.labels[0])
    pending, seen = [(0, start)], set()
    while pending:
        state, possible = pending.pop()
        if not possible:
            return False
        if (state, possible) in seen:
            continue
        seen.add((state, possible))
        for following in set(environment.successors[state].values()):
            label = environment.labels[following]
            pending.append(
                (
                    following,
                    frozenset(
                        t for s in possible for t in world.successors[s] if world.labels[t] == label
                    ),
                )
            )
    return True


def judge(world, formulas, semantics=DEFAULT):
    """Whether the game is won, its witness having been checked by the tableau of `oracles`."""
    game = Game(world, semantics, VOCABULARY)
    controller = game.controller(formulas)
    environment = game.environment(formulas)
    assert (controller is None) != (environment is None)
    assert game.realizable(formulas) == (controller is not None)
    if environment is None:
        for formula in formulas:
            assert brute_force(controller, world, formula, semantics, VOCABULARY)
        return True
    assert is_behaviour(environment, world)
    graph = environment_graph(environment, semantics)
    if semantics.assumptions == "world":
        for assumption in world.assumptions:
            assert not has_path(graph, graph.initial, f"!({assumption.formula})")
    assert not has_path(graph, graph.initial, " & ".join(f"({f})" for f in formulas))
    return False


names = st.sampled_from(["s0", "s1", "s2"])
worlds = st.builds(
    lambda labels, rows, initial, assumption: make_transition_system(
        "random",
        dict(zip(("s0", "s1", "s2"), labels, strict=True)),
        dict(zip(("s0", "s1", "s2"), rows, strict=True)),
        initial=sorted(initial),
        assumptions=assumption,
    ),
    st.tuples(*[st.sets(st.sampled_from([GREEN, CAR]))] * 3),
    st.tuples(*[st.sets(names, min_size=1).map(sorted)] * 3),
    st.sets(names, min_size=1),
    st.sampled_from([[], [], [f"GF({GREEN} | !{CAR}) | GF {CAR}"], [f"GF {GREEN} | FG !{GREEN}"]]),
)
rules = st.sampled_from(
    [
        f"G({CAR} -> !turn_left)",
        f"G({CAR} -> F stop)",
        f"G({GREEN} -> F go_straight)",
        f"G(go_straight -> {GREEN} & !{CAR})",
        f"G(!{GREEN} -> F stop)",
        f"G({GREEN} -> F !stop)",
        f"G(go_straight -> X {GREEN})",
        f"G(X {CAR} -> stop)",
        f"G({GREEN} -> X(stop | turn_right))",
        f"F(turn_right & X X {CAR})",
        f"stop U {GREEN}",
        "GF turn_left",
        f"G(turn_right -> X(!turn_right U {CAR}))",
        f"F {GREEN} -> F !stop",
        "G(stop -> X !stop)",
    ]
)


@settings(max_examples=150, deadline=None)
@given(worlds, st.lists(rules, min_size=1, max_size=3, unique=True))
def test_every_answer_has_a_witness(world, formulas):
    judge(world, formulas)


@pytest.mark.parametrize(
    ("semantics", "expected"),
    [
        (Semantics(epsilon="noop"), True),
        (Semantics(assumptions="none"), False),
        (Semantics(epsilon="noop", assumptions="none"), False),
    ],
)
def test_witnesses_under_other_profiles(semantics, expected):
    formulas = [f"G({GREEN} -> F !stop)", f"G(!stop -> {GREEN} & !{CAR})"]
    labels = {"a": [GREEN], "b": [GREEN, CAR], "c": []}
    world = make_transition_system("w", labels, assumptions=[f"GF({GREEN} & !{CAR})"])
    assert judge(world, formulas, semantics) == expected


controllers = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([f"{GREEN}", f"!{GREEN}", f"{CAR}", "true"]),
        st.sampled_from(["stop", "go_straight", "turn_left", "turn_right", "epsilon"]),
        st.integers(0, 1),
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(worlds, controllers, st.lists(rules, min_size=3, max_size=6, unique=True))
def test_what_some_controller_satisfies_is_realizable(world, rows, formulas):
    controller = Controller(0, 2, tuple(Transition(*row) for row in rows))
    book = RuleBook("r", tuple(Specification(f"r{i}", f, "safety") for i, f in enumerate(formulas)))
    values = Checker(world, book, DEFAULT, VOCABULARY).values(controller)
    held = [f for f, (value, _) in zip(formulas, values, strict=True) if value != "violated"]
    game = Game(world, DEFAULT, VOCABULARY)
    assert game.realizable(held)
    for formula, (value, _) in zip(formulas, values, strict=True):
        if value == "satisfied":
            assert game.only_vacuously(formula) is None
