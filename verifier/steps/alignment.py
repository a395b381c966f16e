"""A text aligned with a vocabulary: its controller, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from verifier.controller import Controller
from verifier.errors import InputError
from verifier.semantics import Conditional
from verifier.steps.machine import build_controller, undecided
from verifier.steps.problems import Problem
from verifier.steps.reading import read_steps
from verifier.vocabulary import Vocabulary


@dataclass(frozen=True)
class Alignment:
    """Either a controller or problems, never both.

    Attributes:
        controller: None if the text could not be read.
        problems: Why; empty if it could.
    """

    controller: Controller | None
    problems: tuple[Problem, ...]


def steps_to_controller(text: str, vocabulary: Vocabulary, conditional: Conditional) -> Alignment:
    """The controller that a text describes under a reading of its conditionals."""
    reading = read_steps(text, vocabulary)
    problems = reading.problems or undecided(reading, conditional)
    if problems:
        return Alignment(None, problems)
    try:
        return Alignment(build_controller(reading, conditional), ())
    except InputError as error:
        return Alignment(None, (Problem(0, "", "unsupported", str(error)),))
