"""Answers to tasks: prompts filled in, sampled freely or within the vocabulary's grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.prompts import Template
from pipeline.tasks import Task, scene_of, task_prompt
from verifier.steps import decoding_grammar
from verifier.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipeline.generation import Answer, Sampling
    from pipeline.models import LanguageModel

MAX_CONSTRAINED_STEPS = 6
"""Steps per answer under constrained decoding."""


def sample_tasks(
    model: LanguageModel,
    tasks: Sequence[Task],
    template: Template,
    vocabulary: Vocabulary,
    samples: int,
    sampling: Sampling,
    *,
    constrained: bool = False,
    on_answers: Callable[[Sequence[Answer]], None] = lambda _answers: None,
) -> list[Answer]:
    """``samples`` answers to every task, in the order of tasks.

    With ``constrained`` an answer can only be numbered steps over the observations and actions
    of its task's world.

    Raises:
        InputError: A world or the model cannot be loaded.
    """
    from pipeline.generation import generate

    prompts = [task_prompt(task, template, vocabulary) for task in tasks]
    grammars = [task_grammar(task, vocabulary) for task in tasks] if constrained else None
    return generate(model, prompts, samples, sampling, grammars=grammars, on_answers=on_answers)


def task_grammar(task: Task, vocabulary: Vocabulary) -> str:
    """What may be said in answer to a task: its world's observations and allowed actions."""
    scene = scene_of(task, vocabulary)
    return decoding_grammar(vocabulary, scene.propositions, scene.actions, MAX_CONSTRAINED_STEPS)
