"""Alignment: from a model's free answer to steps in the words of the vocabulary.

Two ways, both ending in `verifier.steps`: reading the answer as it is with vocabulary and
synonyms, or letting a model rephrase what cannot be read, as the paper does with its second
prompt ("align the following steps to ..."). While rephrasing, the model can only produce steps
over the world's observations and actions, so the result can always be read; whether it still says
what the answer said is up to the model. Steps that can be read are therefore kept word for word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.prompts import Scene, Template, load_template, render
from verifier.semantics import Conditional
from verifier.steps import Alignment, decoding_grammar, read_steps, steps_to_controller
from verifier.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipeline.generation import Answer
    from pipeline.models import LanguageModel

MAX_STEPS = 12
"""Of longer answers that cannot be read, only this many steps are kept."""

MAX_TOKENS = 32 * MAX_STEPS
"""Room for as many steps like "If there is no car from left and no opposite car, turn left." """


@dataclass(frozen=True)
class Aligned:
    """An answer after alignment.

    Attributes:
        text: What was read: the answer itself, or its rephrasing.
        alignment: The controller, or why there is none.
    """

    text: str
    alignment: Alignment


def align_as_written(
    texts: Sequence[str], vocabulary: Vocabulary, conditional: Conditional
) -> list[Aligned]:
    """The deterministic way: answers are read as they are.

    Args:
        texts: Answers.
        vocabulary: Propositions, actions and their synonyms.
        conditional: How "if C, A" is read.
    """
    return [Aligned(text, steps_to_controller(text, vocabulary, conditional)) for text in texts]


def align_with_model(
    model: LanguageModel,
    texts: Sequence[str],
    scenes: Sequence[Scene],
    vocabulary: Vocabulary,
    conditional: Conditional,
    *,
    template: Template | None = None,
    cache: Path | None = None,
    on_answers: Callable[[Sequence[Answer]], None] = lambda _answers: None,
) -> list[Aligned]:
    """The paper's way: the model rephrases steps within the vocabulary, at temperature 0.

    An answer that can be read stays as it is, and so does an empty one. Otherwise the number of
    steps stays the same (up to `MAX_STEPS`), those that can be read on their own are kept, and
    the model can say no others than the grammar has.

    Args:
        model: Rephrases; usually the model that wrote the answers.
        texts: Answers.
        scenes: For each answer, the observations and actions of its task's world.
        vocabulary: The domain.
        conditional: How "if C, A" is read.
        template: Has the fields observations, actions and steps; ``align`` if None.
        cache: As `pipeline.generation.generate`.
        on_answers: As `pipeline.generation.generate`, with rephrased answers.

    Raises:
        InputError: The model cannot be loaded or constrained.
    """
    from pipeline.generation import Sampling, generate

    template = template or load_template("align")
    written = align_as_written(texts, vocabulary, conditional)
    steps = {
        i: lines
        for i, aligned in enumerate(written)
        if aligned.alignment.controller is None and (lines := steps_of(texts[i], vocabulary))
    }
    prompts = [
        render(
            template,
            task=str(i),
            scene=replace(scenes[i], action=None, steps=texts[i]),
            vocabulary=vocabulary,
        )
        for i in steps
    ]
    grammars = [_grammar(lines, scenes[i], vocabulary) for i, lines in steps.items()]
    how = Sampling(temperature=0, max_new_tokens=MAX_TOKENS)
    answers = generate(
        model, prompts, 1, how, grammars=grammars, cache=cache, on_answers=on_answers
    )
    for i, answer in zip(steps, answers, strict=True):
        cut = answer.finish == "length"
        text = answer.text.rpartition("\n")[0] if cut else answer.text
        written[i] = Aligned(text, steps_to_controller(text, vocabulary, conditional))
    return written


def model_aligner(
    model: str | LanguageModel,
    vocabulary: Vocabulary,
    conditional: Conditional,
    scene: Scene | None = None,
) -> Callable[[str], Alignment]:
    """`align_with_model` for one answer at a time; batches are faster.

    Args:
        model: Name, Hugging Face id, folder, or a model.
        vocabulary: The domain.
        conditional: How "if C, A" is read.
        scene: Observations and actions to use; the whole vocabulary if None.

    Raises:
        InputError: There is no such model.
    """
    from pipeline.models import load_model

    loaded = load_model(model) if isinstance(model, str) else model
    whole = Scene("", None, vocabulary.proposition_names, vocabulary.action_names)

    def align(text: str) -> Alignment:
        (aligned,) = align_with_model(loaded, [text], [scene or whole], vocabulary, conditional)
        return aligned.alignment

    return align


def steps_of(text: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The first `MAX_STEPS` steps of an answer, without their numbers."""
    lines = read_steps(text, vocabulary).lines or text.splitlines()
    return tuple(line.strip() for line in lines if line.strip())[:MAX_STEPS]


def _grammar(lines: Sequence[str], scene: Scene, vocabulary: Vocabulary) -> str:
    """As many steps as there are lines, which are kept where they can be read on their own."""
    grammar = decoding_grammar(vocabulary, scene.propositions, scene.actions, len(lines))
    first, *rules = grammar.splitlines()
    assert first == "start: step_1"
    parts = []
    for number, line in enumerate(lines, start=1):
        readable = not read_steps(line, vocabulary).problems
        head = f"{number}. " if number == 1 else f"\n{number}. "
        parts += [json.dumps(head), json.dumps(line) if readable else f"body_{number}"]
    return "\n".join([f"start: {' '.join(parts)}", *rules, ""])
