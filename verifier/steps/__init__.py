"""Steps in English to controllers and back.

`read_steps` parses a text with the grammar of steps.lark and the words of the vocabulary;
`build_controller` makes a Mealy machine of it; `steps_to_controller` does both and
`controller_to_steps` goes back. Text that cannot
be aligned is reported as problems, and then there is no controller.
"""

from verifier.steps.alignment import Alignment, steps_to_controller
from verifier.steps.decoding_grammar import decoding_grammar
from verifier.steps.machine import build_controller
from verifier.steps.problems import Problem
from verifier.steps.reading import MAX_STEPS, Reading, Step, read_steps
from verifier.steps.realise import controller_to_steps

__all__ = [
    "MAX_STEPS",
    "Alignment",
    "Problem",
    "Reading",
    "Step",
    "build_controller",
    "controller_to_steps",
    "decoding_grammar",
    "read_steps",
    "steps_to_controller",
]
