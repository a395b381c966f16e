"""The SMV export: well formed, and NuSMV's verdicts are those of the other judges."""

import random
import re

import pytest
from oracles import brute_force, find_nusmv, run_nusmv
from test_oracles import AFTER, BEFORE, GOLDEN, NAMES, NOOP, PAPER, STUTTER, WORLD

from verifier.controller import Controller, Transition
from verifier.rules import Specification, load_rules
from verifier.semantics import Semantics
from verifier.smv import controller_smv, formula_smv, product_smv
from verifier.transition_system import Assumption, TransitionSystem, make_transition_system
from verifier.vocabulary import load_vocabulary

VOCABULARY = load_vocabulary()
BOOK = load_rules("paper", VOCABULARY).specifications
NUSMV = find_nusmv()
with_nusmv = pytest.mark.skipif(
    NUSMV is None, reason="no NuSMV: set NUSMV, or install pyboolnet and libtinfo5"
)
KEYWORDS = {
    "MODULE",
    "main",
    "VAR",
    "DEFINE",
    "INIT",
    "TRANS",
    "INVAR",
    "LTLSPEC",
    "NAME",
}
KEYWORDS |= {"boolean", "next", "case", "esac", "in", "TRUE", "FALSE", "X", "F", "G", "U", "V"}


def assert_well_formed(model):
    """Parentheses match and every name is declared."""
    code = re.sub(r"--.*", "", model)
    for opening, closing in ("()", "{}"):
        assert code.count(opening) == code.count(closing)
    declared = set(re.findall(r"^(?:LTLSPEC NAME|) *(\w+) :=? ", code, re.M))
    declared |= {v for values in re.findall(r" : \{([^}]*)\}", code) for v in values.split(", ")}
    assert set(re.findall(r"[A-Za-z_]\w*", code)) <= declared | KEYWORDS


@pytest.mark.parametrize("semantics", [PAPER, STUTTER, NOOP], ids=lambda s: s.name)
@pytest.mark.parametrize("controller", [BEFORE, AFTER, Controller(0, 0, ())])
def test_models_are_well_formed(controller, semantics):
    assert_well_formed(controller_smv(controller, VOCABULARY, semantics))
    assert_well_formed(product_smv(controller, WORLD, BOOK, VOCABULARY, semantics))


def test_a_small_model_word_for_word():
    world = make_transition_system(
        "crossing",
        {"free": [], "car": ["car_from_left"]},
        {"free": ["free", "car"], "car": ["free"]},
    )
    controller = Controller(0, 1, (Transition(0, "!car_from_left", "turn_right", 1, step=1),))
    rule = Specification("never", "G(car_from_left -> !turn_right)", "safety", "Never into a car.")
    semantics = Semantics("mine", assumptions="none")
    model = product_smv(controller, world, [rule], VOCABULARY, semantics)
    absent = set(VOCABULARY.proposition_names) - {"car_from_left"}
    lines = [line for line in model.splitlines() if line.strip() and line.split()[0] not in absent]
    assert lines == [
        "-- world crossing and controller",
        "-- semantics: name mine, epsilon stop, on_finish restart, conditional natural, "
        "blocked wait, assumptions none",
        "MODULE main",
        "VAR",
        "  world : {w0, w1};",
        "  state : {q0, q1};",
        "  choice : {t0, wait};",
        "DEFINE",
        "  car_from_left := (world in {w1});",
        "INIT",
        "  state = q0 & (world in {w0, w1});",
        "TRANS (world in {w1}) -> (next(world) in {w0});",
        "DEFINE",
        "  enabled_0 := state = q0 & !car_from_left;  -- step 1",
        "  stop := (choice in {wait});",
        "  turn_left := FALSE;",
        "  turn_right := (choice in {t0});",
        "  go_straight := FALSE;",
        "INVAR choice = t0 -> enabled_0;",
        "INVAR choice = wait -> (!enabled_0);",
        "TRANS",
        "  next(state) = case",
        "    choice = t0 : q0;",
        "    TRUE : state;",
        "  esac;",
        "-- never: Never into a car.",
        "LTLSPEC NAME never := (G (!car_from_left | !turn_right));",
    ]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("GF a", "(G (F a))"),
        ("a U (b & !c & d)", "(a U (b & !c & d))"),
        ("a R b", "(a V b)"),
        ("X X a", "(X (X a))"),
        ("a W b", "(b V (a | b))"),
        ("false | U1", "(FALSE | U1)"),
        ('"next" & "world" & "q1" & "two words"', "(p_next & p_world & p_q1 & p_two_words)"),
    ],
)
def test_formulas(formula, expected):
    assert formula_smv(formula) == expected


@with_nusmv
@pytest.mark.parametrize(("controller", "semantics", "violated"), GOLDEN, ids=NAMES)
def test_nusmv_finds_the_papers_verdicts(controller, semantics, violated):
    model = product_smv(controller, WORLD, BOOK, VOCABULARY, semantics)
    verdicts = run_nusmv(NUSMV, model)
    assert {number for number, holds in enumerate(verdicts, start=1) if not holds} == violated


@with_nusmv
def test_nusmv_accepts_the_controller_alone():
    model = controller_smv(AFTER, VOCABULARY, PAPER)
    model += "LTLSPEC NAME one := G (car_from_left -> !turn_right);\n"
    model += "LTLSPEC NAME two := F turn_right;\n"
    assert run_nusmv(NUSMV, model) == [True, False]


@with_nusmv
def test_nusmv_agrees_on_random_controllers_and_worlds():
    chance = random.Random(7)
    guards = ["true", "car_from_left", "!car_from_left", "car_from_left & !stop_sign", "stop_sign"]
    formulas = ["G(car_from_left -> F stop)", "F turn_right", "G(stop -> X !turn_right)"]
    formulas += [
        "!turn_right U stop",
        "GF car_from_left -> GF turn_right",
        "G(stop xor turn_right)",
    ]
    rules = [Specification(f"r{i}", f, "safety") for i, f in enumerate(formulas)]
    for _ in range(25):
        names = [f"w{i}" for i in range(chance.randint(1, 4))]
        world = make_transition_system(
            "w",
            {
                n: [p for p in ("car_from_left", "stop_sign") if chance.random() < 0.5]
                for n in names
            },
            {n: chance.sample(names, chance.randint(0, len(names))) for n in names},
            initial=chance.sample(names, chance.randint(1, len(names))),
            assumptions=chance.choice([(), ("GF !car_from_left",)]),
        )
        size = chance.randint(1, 3)
        controller = Controller(
            0,
            chance.randint(0, size),
            tuple(
                Transition(
                    chance.randrange(size),
                    chance.choice(guards),
                    chance.choice(["stop", "turn_right", "epsilon"]),
                    chance.randrange(size),
                )
                for _ in range(chance.randint(0, 5))
            ),
        )
        semantics = chance.choice([PAPER, STUTTER, NOOP])
        expected = [brute_force(controller, world, f, semantics, VOCABULARY) for f in formulas]
        model = product_smv(controller, world, rules, VOCABULARY, semantics)
        assert run_nusmv(NUSMV, model) == expected


@with_nusmv
def test_nusmv_agrees_on_assumptions_about_a_part():
    both = TransitionSystem(
        name="union",
        text="",
        propositions=("stop_sign",),
        states=("a", "b", "c"),
        labels=(frozenset({"stop_sign"}), frozenset(), frozenset()),
        initial=(0, 1, 2),
        successors=((0, 1), (0, 1), (2,)),
        assumptions=(Assumption("GF stop_sign", frozenset({0, 1})),),
    )
    mover = Controller(0, 1, (Transition(0, "stop_sign", "turn_left", 0),))
    rules = [
        Specification("r-1", "F turn_left", "progress"),
        Specification("stop", "F stop", "safety"),
    ]
    for semantics in (PAPER, STUTTER):
        expected = [brute_force(mover, both, s.formula, semantics, VOCABULARY) for s in rules]
        model = product_smv(mover, both, rules, VOCABULARY, semantics)
        assert run_nusmv(NUSMV, model) == expected
