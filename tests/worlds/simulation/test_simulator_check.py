"""`check_simulator` on a good simulator and on one simulator for each thing that can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bad_simulators as bad
import pytest

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.check import Finding
from worlds.load import shipped_worlds
from worlds.simulation.check import check_processes, check_simulator
from worlds.simulation.interface import Simulator
from worlds.simulation.registry import make_simulator

VOCABULARY = load_vocabulary()


def found(kind: Callable[..., Any], world: str = "walk/two_way_stop") -> tuple[Finding, ...]:
    return check_simulator(lambda: kind(world, VOCABULARY), VOCABULARY)


@pytest.mark.parametrize("world", [w for w in shipped_worlds() if w not in ("free", "universal")])
def test_the_walk_keeps_its_contract(world: str) -> None:
    def make() -> Simulator:
        return make_simulator(f"walk/{world}", VOCABULARY)

    assert not check_simulator(make, VOCABULARY, seeds=(0, 1))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (bad.Unseeded, "error: seed 0: another episode after other episodes (they part after"),
        (bad.Forgetful, "error: seed 0: another episode after other episodes"),
        (bad.Disturbed, "error: seed 0: another episode when it is looked at"),
        (bad.NotReset, "error: after reset(1): "),
        (bad.Flickering, "error: render, seed 0: two pictures of one moment differ"),
        (bad.Growing, "error: render: sizes change"),
        (bad.Floating, "error: render, seed 0: it is float64 of the shape (360, 360, 3)"),
        (bad.Rolling, "error: stop, seed 0: after 6 s the car still moves with 1.50 m/s"),
        (bad.Creeping, "error: stop, seed 0: it ends: go_straight"),
        (bad.Contrary, "error: turn_left, seed 0: it ends in turn_right"),
        (bad.Obedient, "error: the action 'fly': is not refused"),
        (bad.Undying, "error: step after the end: is not refused"),
        (bad.Hasty, "error: turn_left, seed 0: a step takes 1.5 s and not the period of 1 s"),
        (bad.Backward, "error: turn_left, seed 0: something is seen behind the place"),
        (bad.Strange, "error: observe, seed 0: 'cow' is not among its propositions"),
        (bad.Raising, "error: checking it: raised ZeroDivisionError: no wheels"),
        (bad.Fragile, "error: closing it a second time: raised OSError: closed"),
        (bad.Mute, "error: actions: 'reverse' is not in the vocabulary"),
        (bad.Mute, "error: actions: stop is listed"),
        (bad.Narrow, "error: propositions: 'stop_sign' is in only one of the simulator"),
        (bad.Endless, "warning: turn_left: never made or prevented within 90 s"),
        (bad.Dull, "warning: reset: all seeds give one and the same episode"),
        (bad.Impossible, "is excluded by two_way_stop; mend the labels or the scenario"),
    ],
)
def test_every_fault_is_found(kind: Callable[..., Any], line: str) -> None:
    lines = [str(finding) for finding in found(kind)]
    assert any(line in one for one in lines), lines


def test_errors_come_first_and_only_once() -> None:
    findings = found(bad.Impossible) + found(bad.Rolling)
    assert [f.severity for f in found(bad.Rolling)] == ["error"] * 3
    assert len(set(findings)) == len(findings)


def test_what_is_no_simulator() -> None:
    (finding,) = check_simulator(bad.Bare, VOCABULARY)  # type: ignore[arg-type]
    assert finding.problem.startswith("there is no scenario, propositions, actions")


def test_what_cannot_be_made_and_too_few_seeds() -> None:
    with pytest.raises(InputError, match="no world named 'nowhere'"):
        check_simulator(lambda: make_simulator("walk/nowhere", VOCABULARY), VOCABULARY)
    with pytest.raises(ValueError, match="at least two seeds"):
        check_simulator(lambda: make_simulator("walk/free", VOCABULARY), VOCABULARY, seeds=(1,))


def test_what_depends_on_the_process() -> None:
    world = "walk/two_way_stop"
    assert not check_processes(world, VOCABULARY)
    findings = check_processes(world, VOCABULARY, make=bad.Hashed)
    assert {finding.problem for finding in findings} == {"another episode in another process"}
    assert not check_simulator(lambda: bad.Hashed(world, VOCABULARY), VOCABULARY)
