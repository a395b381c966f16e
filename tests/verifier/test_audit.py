"""The audit rediscovers what is known about the published rule book, by ways that do not use it."""

import json
from functools import cache
from itertools import chain, combinations

import pytest
from oracles import Graph, evaluate_guard, has_path
from test_realizability import environment_graph

from verifier.audit import audit
from verifier.bindings import spot
from verifier.checker import Checker
from verifier.controller import Controller, Transition
from verifier.formulas import Formula
from verifier.lasso_evaluation import holds
from verifier.realizability import Game
from verifier.rules import RuleBook, Specification, load_rules
from verifier.semantics import Semantics
from verifier.transition_system import make_transition_system
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world, sensible_actions, shipped_worlds

VOCABULARY = load_vocabulary()
PAPER = load_rules("paper", VOCABULARY)
FORMULAS = {s.id: s.formula for s in PAPER.specifications}
ALL = tuple(FORMULAS)
FREE = load_world("free", VOCABULARY)
UNFAIR = Semantics(name="paper_free", conditional="wait", assumptions="none")
FAIR = Semantics(name="paper", conditional="wait")


def phis(*numbers):
    return tuple(f"phi_{n}" for n in numbers)


@cache
def paper_audit(semantics=UNFAIR):
    return audit(FREE, PAPER, semantics, VOCABULARY)


def without(dropped):
    return tuple(i for i in ALL if i not in phis(*dropped))


def test_always_stop_satisfies_12_of_15():
    best = paper_audit().trivial[0]
    assert (best.controller, best.passed, best.applicable) == ("always_stop", 12, 15)
    assert best.violated == phis(7, 10, 13)
    assert best.high


def test_the_papers_redundant_members():
    found = paper_audit().implications
    assert found is not None
    assert {(p.implied_by, p.id) for p in found.pairs} == {
        phis(9, 11),
        phis(9, 15),
        phis(12, 2),
        phis(5, 11),
        phis(5, 15),
    }
    assert not any(p.equivalent for p in found.pairs)
    assert found.always == phis(6)
    assert {r.id for r in found.redundant} == set(phis(2, 11, 15))


def test_which_of_the_papers_specifications_can_hold_together():
    found = paper_audit().realizability
    assert found.value == "unrealizable"
    assert found.maximal is not None
    assert found.conflicts is not None
    assert found.maximum == 13
    assert [m for m in found.maximal if len(m) == 13] == [without([3, 14])]
    assert [m for m in found.maximal if len(m) == 12] == [without([7, 10, 13]), without([2, 9, 12])]
    smallest = [c for c in found.conflicts if len(c) == 3]
    assert smallest == [phis(3, 7, 9), phis(7, 9, 14), phis(9, 10, 14)]
    # The dead ends of the liveness rules named in the literature contain minimal ones.
    for liveness in (10, 13):
        known = set(phis(2, 3, 5, 6, 9, 14, liveness))
        assert not Game(FREE, UNFAIR, VOCABULARY).realizable(FORMULAS[i] for i in known)


def test_with_fairness_all_15_can_hold_together():
    assert paper_audit(FAIR).realizability.value == "realizable"
    assert paper_audit(FAIR).trivial[0].passed == 12
    controller = Game(FREE, FAIR, VOCABULARY).controller(FORMULAS.values())
    assert controller is not None
    checker = Checker(FREE, PAPER, FAIR, VOCABULARY)
    assert all(v in ("satisfied", "vacuous") for v, _ in checker.values(controller))


# --- the same by other ways --------------------------------------------------------------------


def test_13_are_reached_by_stopping_and_going_in_turn():
    rows = (Transition(0, "true", "stop", 1), Transition(1, "true", "go_straight", 0))
    values = Checker(FREE, PAPER, UNFAIR, VOCABULARY).values(Controller(0, 2, rows))
    violated = [i for i, (value, _) in zip(ALL, values, strict=True) if value == "violated"]
    assert violated == list(phis(3, 14))


def test_every_maximal_set_is_attained_by_a_controller_that_the_checker_passes():
    game = Game(FREE, UNFAIR, VOCABULARY)
    for together in paper_audit().realizability.maximal or ():
        controller = game.controller(FORMULAS[i] for i in together)
        assert controller is not None
        values = Checker(FREE, PAPER, UNFAIR, VOCABULARY).values(controller, vacuity=False)
        held = {i for i, (value, _) in zip(ALL, values, strict=True) if value == "satisfied"}
        assert held == set(together)


def invariant(formula: Formula) -> Formula | None:
    """b of G b."""
    return formula[0] if formula._is(spot.op_G) and formula[0].is_boolean() else None


def survives(graph: Graph, formulas) -> bool:
    """Whether some path satisfies all formulas; letters that break an invariant are cut first."""
    parsed = [spot.formula(f) for f in formulas]
    bodies = [str(b) for b in map(invariant, parsed) if b is not None]
    good = [all(evaluate_guard(b, letter) for b in bodies) for letter in graph.letters]
    cut = Graph(
        graph.letters,
        tuple(tuple(n for n in row if good[n]) for row in graph.successors),
        tuple(n for n in graph.initial if good[n]),
        graph.world_of,
    )
    rest = [f"({f})" for f, p in zip(formulas, parsed, strict=True) if invariant(p) is None]
    return has_path(cut, cut.initial, " & ".join(rest) or "true")


def test_every_conflict_is_proved_by_an_environment_that_a_tableau_confirms():
    game = Game(FREE, UNFAIR, VOCABULARY)
    conflicts = paper_audit().realizability.conflicts or ()
    assert len(conflicts) == 71
    for conflict in conflicts:
        environment = game.environment(FORMULAS[i] for i in conflict)
        assert environment is not None
        graph = environment_graph(environment, UNFAIR)
        assert not survives(graph, [FORMULAS[i] for i in conflict])
    # To break all conflicts with two members dropped there is one way, with one dropped none.
    ways = [set(d) for d in combinations(ALL, 2) if all(set(d) & set(c) for c in conflicts)]
    assert ways == [set(phis(3, 14))]


def test_memoryless_controllers_reach_12_and_only_without_the_liveness_rules():
    """The environment may show one label for ever; a memoryless controller then repeats one action.

    So a set of specifications is out of reach if under some label no repeated action satisfies
    all of it. Neither Spot nor automata are used.
    """
    choices = set()
    for label in {frozenset(label) for label in FREE.labels}:
        kept = {
            frozenset(i for i in ALL if _repeated(FORMULAS[i], label, action))
            for action in VOCABULARY.action_names
        }
        choices.add(frozenset(k for k in kept if not any(k < other for other in kept)))

    def reachable(subset):
        return all(any(subset <= kept for kept in options) for options in choices)

    subsets = map(frozenset, chain.from_iterable(combinations(ALL, n) for n in (12, 13, 14, 15)))
    assert [s for s in subsets if reachable(s)] == [frozenset(without([7, 10, 13]))]
    # ... and always_stop, which is memoryless, attains it.
    assert paper_audit().trivial[0].violated == phis(7, 10, 13)


@cache
def _relevant(formula):
    return frozenset(str(ap) for ap in spot.atomic_prop_collect(spot.formula(formula)))


def _repeated(formula, label, action):
    return _repeat(formula, (label | {action}) & _relevant(formula))


@cache
def _repeat(formula, letter):
    return holds(formula, [], [letter])


# --- the road book -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_worlds())
def test_road_can_be_kept_and_every_sensible_manoeuvre_made(name):
    result = audit(
        load_world(name, VOCABULARY),
        load_rules("road", VOCABULARY),
        Semantics(),
        VOCABULARY,
        random_controllers=5,
    )
    assert result.realizability.value == "realizable"
    assert result.undecided == ()
    assert result.manoeuvres is not None
    possible = {m.action for m in result.manoeuvres if m.possible}
    assert possible >= set(sensible_actions(name, VOCABULARY))
    assert result.implications is not None
    assert not result.implications.never


# --- the result --------------------------------------------------------------------------------


def test_findings_are_plain_sentences():
    sentences = paper_audit().findings()
    assert sentences[0] == (
        "Warning: always_stop satisfies 12 of 15, 12 of them vacuously, without ever doing "
        "anything else; it violates phi_7, phi_10 and phi_13."
    )
    for expected in (
        "Warning: no controller satisfies all 15 together.",
        "13 of 15 can hold together: all but phi_3 and phi_14.",
        "No controller satisfies phi_9, phi_10 and phi_14 together.",
        "There are 66 more minimal conflicts, none of them smaller.",
        "phi_6 holds whatever the controller does.",
        "phi_9 implies phi_11 and phi_15.",
    ):
        assert expected in sentences
    fair = paper_audit(FAIR).findings()
    assert "Some controller satisfies all 15 together." in fair
    assert "phi_10 can only hold vacuously: whenever it holds, so does GF!stop." in fair


def test_json():
    out = paper_audit().to_json()
    assert json.loads(json.dumps(out)) == out
    assert out["world"] == "free"
    assert out["semantics"]["assumptions"] == "none"
    assert out["trivial"][0]["passed"] == 12
    assert out["trivial"][0]["high"] is True
    assert out["realizability"]["maximum"] == 13
    assert {"id": "phi_15", "implied_by": "phi_9", "equivalent": False} in (
        out["implications"]["pairs"]
    )
    assert out["findings"] == list(paper_audit().findings())


def small_book(**formulas):
    return RuleBook("small", tuple(Specification(i, f, "safety") for i, f in formulas.items()))


def test_members_out_of_scope_are_only_listed():
    world = make_transition_system("w", {"a": ["stop_sign"], "b": []})
    book = RuleBook(
        "scoped",
        (
            Specification(
                "light", "G(green_traffic_light -> F !stop)", "safety", "", "green_traffic_light"
            ),
            Specification("sign", "G(stop_sign -> stop)", "safety", "", "stop_sign"),
            Specification("same", "G(!stop -> !stop_sign)", "safety"),
        ),
    )
    result = audit(world, book, Semantics(), VOCABULARY, random_controllers=0)
    assert (result.applicable, result.inapplicable) == (("sign", "same"), ("light",))
    assert result.random is None
    sentences = result.findings()
    assert sentences[0] == "Out of scope in w: light."
    assert "sign and same are equivalent." in sentences
    assert sum("equivalent" in s for s in sentences) == 1


def test_a_book_without_members_in_scope():
    world = make_transition_system("w", {"a": []})
    book = RuleBook("b", (Specification("s", "G(stop_sign -> stop)", "safety", "", "stop_sign"),))
    result = audit(world, book, Semantics(), VOCABULARY, random_controllers=3)
    assert result.findings()[-1] == "No specification of b applies in w."
    assert json.dumps(result.to_json())


def test_one_member_that_no_controller_satisfies_and_what_prevents_a_manoeuvre():
    world = make_transition_system("w", {"a": ["stop_sign"], "b": []})
    hopeless = audit(world, small_book(a="F stop_sign", b="F stop"), Semantics(), VOCABULARY)
    assert "No controller satisfies a." in hopeless.findings()
    assert "1 of 2 can hold together: all but a." in hopeless.findings()
    assert hopeless.manoeuvres == ()
    strict = audit(world, small_book(a="G !turn_left", b="GF stop"), Semantics(), VOCABULARY)
    assert "Warning: no controller that satisfies a can promise turn_left." in strict.findings()


def test_what_takes_too_long_is_undecided_and_never_passes():
    result = audit(FREE, PAPER, UNFAIR, VOCABULARY, time_limit=0.0, random_controllers=0)
    assert result.realizability.value == "unknown"
    assert result.implications is result.manoeuvres is result.only_vacuous is None
    assert len(result.undecided) == 5
    assert not any("satisfies all" in sentence for sentence in result.findings())
    assert json.dumps(result.to_json())
