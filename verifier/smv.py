"""Export to NuSMV: a controller alone, or its product with a world and the specifications.

The encoding is that of the design's semantics. At each step the world shows a label, the variable
``choice`` picks any transition that is enabled under it (``wait`` if none is), and the action of
that transition belongs to the same step. NuSMV checks the specifications on infinite paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from verifier.causes import operands
from verifier.controller import Controller, Transition, final_redirect
from verifier.ltl_parser import Node, parse
from verifier.rules import Specification
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import EPSILON, Vocabulary

_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """MODULE DEFINE MDEFINE CONSTANTS VAR IVAR FROZENVAR INIT TRANS INVAR SPEC CTLSPEC LTLSPEC
    PSLSPEC COMPUTE NAME INVARSPEC FAIRNESS JUSTICE COMPASSION ISA ASSIGN CONSTRAINT SIMPWFF CTLWFF
    LTLWFF PSLWFF COMPWFF IN MIN MAX MIRROR PRED PREDICATES process array of boolean integer real
    word word1 bool signed unsigned extend resize sizeof uwconst swconst EX AX EF AF EG AG E F O G H
    X Y Z A U S V T BU EBF ABF EBG ABG case esac mod next init union in xor xnor self TRUE FALSE
    count abs max min world state choice wait main""",
    )
)
_SIGNS = {"and": " & ", "or": " | "}


def controller_smv(controller: Controller, vocabulary: Vocabulary, semantics: Semantics) -> str:
    """The controller over free environment variables, one per proposition."""
    transitions = tuple(final_redirect(controller, semantics.on_finish))
    lines = [
        *_head("controller over a free environment", semantics),
        "MODULE main",
        "VAR",
        *(f"  {_name(p)} : boolean;" for p in vocabulary.proposition_names),
        *_variables(controller, transitions),
        "",
        "INIT",
        f"  state = q{controller.initial};",
        *_behaviour(transitions, vocabulary, semantics),
    ]
    return "\n".join(lines) + "\n"


def product_smv(
    controller: Controller,
    world: TransitionSystem,
    specifications: Sequence[Specification],
    vocabulary: Vocabulary,
    semantics: Semantics,
) -> str:
    """World ⊗ controller with one LTLSPEC per specification, relative to the assumptions.

    The LTLSPECs have the specifications' ids as names (NuSMV reports them in an order of its own);
    ``true`` means satisfied or vacuous. ``applies_if`` is not looked at.
    """
    transitions = tuple(final_redirect(controller, semantics.on_finish))
    lines = [
        *_head(f"world {world.name} and controller", semantics),
        "MODULE main",
        "VAR",
        f"  world : {_set('w', range(len(world.states)))};",
        *_variables(controller, transitions),
        "",
        "DEFINE",
        *_labels(world, vocabulary),
        "",
        "INIT",
        f"  state = q{controller.initial} & {_among('world', 'w', world.initial)};",
        *_world_transitions(world),
        *_behaviour(transitions, vocabulary, semantics),
        *_specifications(world, specifications, semantics),
    ]
    return "\n".join(lines) + "\n"


def formula_smv(formula: str) -> str:
    """An LTL formula of Spot's syntax in NuSMV's.

    Raises:
        ValueError: Syntax error.
    """
    program = parse(formula)
    return _formula(program, len(program) - 1)


def _head(what: str, semantics: Semantics) -> Iterator[str]:
    yield f"-- {_comment(what)}"
    fields = ", ".join(f"{key} {value}" for key, value in semantics.to_json().items())
    yield f"-- semantics: {_comment(fields)}"


def _variables(controller: Controller, transitions: Sequence[Transition]) -> Iterator[str]:
    targets = [t.target for t in transitions]
    states = range(1 + max([controller.num_states - 1, *targets]))
    choices = [*(f"t{number}" for number in range(len(transitions))), "wait"]
    yield f"  state : {_set('q', states)};"
    yield f"  choice : {{{', '.join(choices)}}};"


def _labels(world: TransitionSystem, vocabulary: Vocabulary) -> Iterator[str]:
    """The propositions as sets of world states."""
    for name in dict.fromkeys((*vocabulary.proposition_names, *world.propositions)):
        holding = [state for state, label in enumerate(world.labels) if name in label]
        yield f"  {_name(name)} := {_among('world', 'w', holding)};"


def _world_transitions(world: TransitionSystem) -> Iterator[str]:
    """States with equal successors share a constraint; none is needed where all can follow."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for state, row in enumerate(world.successors):
        groups.setdefault(row, []).append(state)
    yield ""
    for row, states in groups.items():
        if len(row) < len(world.states):
            after = _among("next(world)", "w", row)
            yield f"TRANS {_among('world', 'w', states)} -> {after};"


def _behaviour(
    transitions: Sequence[Transition],
    vocabulary: Vocabulary,
    semantics: Semantics,
) -> Iterator[str]:
    """Which choices are possible, where they lead and what actions they are."""
    yield from ("", "DEFINE")
    for number, t in enumerate(transitions):
        place = f"  -- step {t.step}" if t.step is not None else ""
        yield f"  enabled_{number} := state = q{t.source} & {formula_smv(t.guard)};{place}"
    for name in vocabulary.action_names:
        chosen = [f"t{number}" for number, t in enumerate(transitions) if t.action == name]
        if semantics.epsilon == "stop" and name == "stop":
            chosen += [f"t{n}" for n, t in enumerate(transitions) if t.action == EPSILON]
            chosen.append("wait")
        yield f"  {_name(name)} := {_one_of('choice', chosen)};"
    yield ""
    for number in range(len(transitions)):
        yield f"INVAR choice = t{number} -> enabled_{number};"
    none = " & ".join(f"!enabled_{number}" for number in range(len(transitions))) or "TRUE"
    yield f"INVAR choice = wait -> ({none});"
    yield from ("", "TRANS", "  next(state) = case")
    for number, t in enumerate(transitions):
        yield f"    choice = t{number} : q{t.target};"
    yield from ("    TRUE : state;", "  esac;")


def _specifications(
    world: TransitionSystem, specifications: Sequence[Specification], semantics: Semantics
) -> Iterator[str]:
    assumed = []
    for a in world.assumptions if semantics.assumptions == "world" else ():
        formula = formula_smv(a.formula)
        # An assumption on a closed part of the world binds the paths that start there.
        if a.states is not None:
            formula = f"({_among('world', 'w', sorted(a.states))} -> {formula})"
        assumed.append(formula)
    premise = f"({' & '.join(assumed)}) -> " if assumed else ""
    for s in specifications:
        yield ""
        yield f"-- {_comment(f'{s.id}: {s.text or s.formula}')}"
        yield f"LTLSPEC NAME {_name(s.id)} := {premise}{formula_smv(s.formula)};"


def _formula(program: Sequence[Node], node: int) -> str:
    """In parentheses unless it is a name, a constant or a prefix operator."""
    operator, name = program[node].operator, program[node].name
    parts = [_formula(program, x) for x in operands(program, node)]
    match operator:
        case "ap":
            return _name(name)
        case "true":
            return "TRUE"
        case "not":
            return "FALSE" if parts[0] == "TRUE" else f"!{parts[0]}"
        case "and" | "or":
            return f"({_SIGNS[operator].join(parts)})"
        case "next" | "strong_next":
            return f"(X {parts[0]})"
        case "until":
            return f"(F {parts[1]})" if parts[0] == "TRUE" else f"({parts[0]} U {parts[1]})"
        case _:
            return f"(G {parts[1]})" if parts[0] == "FALSE" else f"({parts[0]} V {parts[1]})"


def _name(name: str) -> str:
    """The identifier for a proposition or action, kept apart from NuSMV's words and ours."""
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)
    taken = safe in _RESERVED or re.fullmatch(r"[wqt][0-9]+|enabled_[0-9]+|p_.*|[0-9_].*", safe)
    return f"p_{safe}" if taken or safe != name else safe


def _set(prefix: str, numbers: Iterable[int]) -> str:
    return "{" + ", ".join(f"{prefix}{number}" for number in numbers) + "}"


def _among(variable: str, prefix: str, numbers: Iterable[int]) -> str:
    return _one_of(variable, [f"{prefix}{number}" for number in numbers])


def _one_of(variable: str, values: Sequence[str]) -> str:
    """Membership, which NuSMV cannot express for the empty set."""
    return f"({variable} in {{{', '.join(values)}}})" if values else "FALSE"


def _comment(text: str) -> str:
    return " ".join(text.split())
