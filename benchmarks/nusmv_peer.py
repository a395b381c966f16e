"""The same question put to NuSMV, as one process per controller with all specifications.

The model is symbolic: three variables (world state, controller state, action), propositions as
definitions over the world state, fairness of the form GF b as ``JUSTICE``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.choices import Choice, choices_of
from benchmarks.formula_text import written
from verifier.bindings import spot
from verifier.controller import Controller
from verifier.formulas import Formula
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary

_IDLE = "no_action"
_PROBE = "MODULE main\nVAR x : boolean;\nLTLSPEC G F x\n"

# It checks in an order of its own; show_property lists the verdicts in the order of the model.
_COMMANDS = """set on_failure_script_quits
read_model -i model.smv
go
check_ltlspec
show_property -l
quit
"""
_VERDICT = re.compile(r"^\s*\[LTL\s+(True|False)\s", re.MULTILINE)


@dataclass(frozen=True)
class Nusmv:
    """A NuSMV that runs here."""

    program: str
    library_path: str | None = None

    def run(self, model: str) -> str:
        """What it prints on a model, without counterexamples.

        Raises:
            RuntimeError: It failed; with its own words.
        """
        environment = dict(os.environ)
        if self.library_path is not None:
            environment["LD_LIBRARY_PATH"] = self.library_path
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.smv").write_text(model)
            Path(folder, "commands").write_text(_COMMANDS)
            done = subprocess.run(
                [self.program, "-dcx", "-source", "commands"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(f"NuSMV: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def find_nusmv() -> Nusmv | None:
    """NuSMV on the path, or the one inside the package pyboolnet; None if neither runs."""
    for candidate in _candidates():
        try:
            candidate.run(_PROBE)
        except (OSError, RuntimeError):
            continue
        return candidate
    return None


class NusmvPeer:
    """Checks controllers against formulas in one world.

    Args:
        world: The world model; assumptions that speak about a part of it are not supported.
        formulas: LTL in Spot's syntax.
        semantics: The profile.
        vocabulary: The domain.
        nusmv: The program.
    """

    def __init__(
        self,
        world: TransitionSystem,
        formulas: Sequence[str],
        semantics: Semantics,
        vocabulary: Vocabulary,
        nusmv: Nusmv,
    ) -> None:
        if any(a.states is not None for a in world.assumptions):
            raise ValueError(f"{world.name} has assumptions about a part of it")
        self.world, self.semantics, self.nusmv = world, semantics, nusmv
        self.actions = vocabulary.action_names
        self._number = len(formulas)
        self._fixed = "\n".join(_world_section(world, vocabulary))
        self._questions = "\n".join(_questions(world, formulas, semantics))

    def holds(self, controller: Controller) -> tuple[bool, ...]:
        """For each formula, whether every word of world ⊗ controller satisfies it.

        Raises:
            RuntimeError: NuSMV failed.
        """
        answers = _VERDICT.findall(self.nusmv.run(self.model(controller)))
        if len(answers) != self._number:
            raise RuntimeError(f"NuSMV answered {len(answers)} of {self._number} specifications")
        return tuple(answer == "True" for answer in answers)

    def model(self, controller: Controller) -> str:
        """The SMV text."""
        section = _controller_section(controller, self.world, self.actions, self.semantics)
        return "\n".join([self._fixed, *section, self._questions, ""])


def _candidates() -> Iterator[Nusmv]:
    found = shutil.which("NuSMV") or shutil.which("nusmv")
    if found:
        yield Nusmv(found)
    package = importlib.util.find_spec("pyboolnet")
    if package is None or not package.submodule_search_locations:
        return
    folder = Path(package.submodule_search_locations[0]) / "binaries" / "linux64" / "NuSMV-a"
    program = str(folder / "NuSMVa_linux64")
    yield Nusmv(program, str(folder))  # its own old libreadline needs the system's libtinfo5
    readline = next(Path("/").glob("*/*-linux-gnu/libreadline.so.8"), None)
    if readline is not None:
        link = Path(_links().name, "libreadline.so.6")
        if not link.exists():
            link.symlink_to(readline)
        yield Nusmv(program, str(link.parent))


@cache
def _links() -> tempfile.TemporaryDirectory[str]:
    """A folder of our own, removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="nusmv-")


def _world_section(world: TransitionSystem, vocabulary: Vocabulary) -> Iterator[str]:
    everything = tuple(range(len(world.states)))
    yield "MODULE main"
    yield f"VAR world : 0..{len(world.states) - 1};"
    for name in vocabulary.proposition_names:
        yield f"DEFINE {name} := {_among('world', _where(world, name))};"
    if world.initial != everything:
        yield f"INIT {_among('world', world.initial)}"
    sources: dict[tuple[int, ...], list[int]] = {}
    for state, row in enumerate(world.successors):
        sources.setdefault(row, []).append(state)
    for row, states in sources.items():
        if row != everything:
            yield f"TRANS {_among('world', states)} -> {_among('next(world)', row)}"


def _where(world: TransitionSystem, name: str) -> list[int]:
    return [state for state, label in enumerate(world.labels) if name in label]


def _controller_section(
    controller: Controller, world: TransitionSystem, actions: Sequence[str], semantics: Semantics
) -> Iterator[str]:
    choices = choices_of(controller, semantics)
    yield f"VAR state : 0..{controller.num_states - 1};"
    yield f"VAR action : {{{', '.join(f'do_{a}' for a in actions)}, {_IDLE}}};"
    for action in actions:
        yield f"DEFINE {action} := action = do_{action};"
    yield f"INIT state = {controller.initial}"
    for state in range(controller.num_states):
        # World states among which the controller cannot tell the difference here.
        groups: dict[tuple[Choice, ...], list[int]] = {}
        for world_state, label in enumerate(world.labels):
            groups.setdefault(choices(state, label), []).append(world_state)
        for options, world_states in groups.items():
            here = f"state = {state} & {_among('world', world_states)}"
            letters = dict.fromkeys(_action(option) for option in options)
            yield f"INVAR ({here}) -> action in {{{', '.join(letters)}}}"
            for letter in letters:
                targets = dict.fromkeys(o.target for o in options if _action(o) == letter)
                yield (
                    f"TRANS ({here} & action = {letter}) -> {_among('next(state)', list(targets))}"
                )


def _questions(
    world: TransitionSystem, formulas: Sequence[str], semantics: Semantics
) -> Iterator[str]:
    assumed = [spot.formula(a.formula) for a in world.assumptions]
    if semantics.assumptions == "none":
        assumed = []
    for assumption in assumed:
        if _recurring(assumption) is not None:
            yield f"JUSTICE {_smv(_recurring(assumption))}"
    rest = spot.formula.And([a for a in assumed if _recurring(a) is None])
    for formula in formulas:
        yield f"LTLSPEC {_smv(spot.formula.Implies(rest, spot.formula(formula)))}"


def _recurring(formula: Formula) -> Formula | None:
    """b of a formula GF b with Boolean b."""
    if not (formula._is(spot.op_G) and formula[0]._is(spot.op_F)):
        return None
    inner = formula[0][0]
    return inner if inner.is_boolean() else None


def _smv(formula: Formula) -> str:
    return written(formula, constants=("FALSE", "TRUE"))


def _action(choice: Choice) -> str:
    return f"do_{next(iter(choice.actions))}" if choice.actions else _IDLE


def _among(variable: str, values: Iterable[int]) -> str:
    numbers = sorted(values)
    return f"({variable} in {{{', '.join(map(str, numbers))}}})" if numbers else "FALSE"
