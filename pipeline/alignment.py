"""Alignment: from a model's free answer to steps in the words of the vocabulary.

Two ways, both ending in `verifier.steps`: reading the answer as it is with vocabulary and
synonyms, or letting a model rephrase it first, as the paper does with its second prompt ("align
the following steps to ..."). While rephrasing, the model can only produce steps over the world's
observations and actions, so the result can always be read; whether it still says what the answer
said is up to the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.prompts import Scene, Template, load_template, render
from verifier.semantics import Conditional
from verifier.steps import Alignment, decoding_grammar, steps_to_controller
from verifier.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipeline.generation import Answer
    from pipeline.models import LanguageModel

MAX_STEPS = 12
"""Longer answers are rephrased in this many steps at most."""

MAX_TOKENS = 32 * MAX_STEPS
"""Room for as many steps like "If there is no car from left and no opposite car, turn left." """

_NUMBERED = re.compile(r"^\s*\d+\s*[.):]", re.MULTILINE)


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
    """The paper's way: the model rephrases each answer within the vocabulary, at temperature 0.

    A rephrasing has at most as many steps as the answer. An empty answer stays as it is.

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
    chosen = [i for i, text in enumerate(texts) if count_steps(text)]
    prompts = [
        render(
            template,
            task=str(i),
            scene=replace(scenes[i], action=None, steps=texts[i]),
            vocabulary=vocabulary,
        )
        for i in chosen
    ]
    grammars = [
        decoding_grammar(
            vocabulary,
            scenes[i].propositions,
            scenes[i].actions,
            min(count_steps(texts[i]), MAX_STEPS),
        )
        for i in chosen
    ]
    how = Sampling(temperature=0, max_new_tokens=MAX_TOKENS)
    answers = generate(
        model, prompts, 1, how, grammars=grammars, cache=cache, on_answers=on_answers
    )
    rephrased = list(texts)
    for i, answer in zip(chosen, answers, strict=True):
        rephrased[i] = answer.text
    return align_as_written(rephrased, vocabulary, conditional)


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


def count_steps(text: str) -> int:
    """Number of numbered lines; of lines with text if none is numbered."""
    numbered = len(_NUMBERED.findall(text))
    return numbered or sum(1 for line in text.splitlines() if line.strip())
