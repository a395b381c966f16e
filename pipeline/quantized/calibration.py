"""Texts that show a quantizer which weights matter: the model's own answers, and neutral prose."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.prompts import Prompt, chat_text

if TYPE_CHECKING:
    from pipeline.models import LanguageModel

# Documentation in the standard library's sources: English that every Python has, and that no
# perplexity of ours is measured on (see `pipeline.perplexity`).
_MODULES = ("argparse", "difflib", "doctest", "pickletools", "statistics", "turtle", "typing")
_SHORTEST = 200
_TEMPERATURE = 0.8
_MAX_NEW_TOKENS = 120


def calibration_rows(
    model: LanguageModel,
    count: int,
    length: int,
    seed: int,
    *,
    prompts: Sequence[Prompt] | None = None,
    folder: Path | None = None,
    on_answers: Callable[[int], None] = lambda _count: None,
) -> list[list[int]]:
    """Token ids to calibrate with: half of the rows prompts with answers, half prose.

    Answers are sampled from the model itself; nothing of the validation and test tasks is shown.
    The same arguments give the same rows on one Python version.

    Args:
        model: What is to be quantized.
        count: Rows.
        length: Most tokens of a row; rows of prose have as many.
        seed: Of answers and of the choice of prose.
        prompts: Conversations; by default those of the shipped training tasks.
        folder: Where sampled answers are kept, to go on after a kill; None for the user's cache.
        on_answers: Called with the number of answers that have become available.

    Raises:
        InputError: The model cannot be loaded.
    """
    asked = list(prompts) if prompts is not None else _training_prompts()
    of_answers = (count + 1) // 2 if asked else 0
    said = _answers(model, asked, of_answers, length, seed, folder, on_answers)
    return said + _prose_rows(model, count - len(said), length, seed)


def prose() -> str:
    """English about programming: docstrings of a few modules of the standard library."""
    return "\n\n".join(text for name in _MODULES for text in _docstrings(name))


def _training_prompts() -> list[Prompt]:
    from pipeline.prompts import load_template
    from pipeline.tasks import load_tasks, task_prompt
    from verifier.vocabulary import load_vocabulary

    words, template = load_vocabulary(), load_template("observed")
    tasks = [task for task in load_tasks("driving", words) if task.split == "train"]
    return [task_prompt(task, template, words) for task in tasks]


def _answers(
    model: LanguageModel,
    asked: Sequence[Prompt],
    count: int,
    length: int,
    seed: int,
    folder: Path | None,
    on_answers: Callable[[int], None],
) -> list[list[int]]:
    from pipeline.chunks import sample_in_chunks
    from pipeline.generation import Sampling, generate

    if not count:
        return []
    # Evenly spread over the tasks where there are more of them than rows.
    few = min(count, len(asked))
    chosen = [asked[i * len(asked) // few] for i in range(few)]
    samples = -(-count // len(chosen))
    sampling = Sampling(_TEMPERATURE, 1.0, _MAX_NEW_TOKENS, seed)
    if folder is not None:
        answers = sample_in_chunks(model, chosen, samples, sampling, folder, on_answers=on_answers)
    else:
        answers = generate(
            model, chosen, samples, sampling, on_answers=lambda done: on_answers(len(done))
        )
    # First one answer to each prompt, then the second ones.
    answers = sorted(answers, key=lambda answer: answer.sample)[:count]
    by_hash = {prompt.hash: prompt for prompt in chosen}
    end = model.tokenizer.eos_token_id
    rows: list[list[int]] = []
    for answer in answers:
        row = _ids(model, chat_text(model.tokenizer, by_hash[answer.prompt]) + answer.text)
        if answer.finish == "stop" and end is not None:
            row.append(int(end))
        rows.append(row[:length])
    return rows


def _prose_rows(model: LanguageModel, count: int, length: int, seed: int) -> list[list[int]]:
    ids = _ids(model, prose())
    chance = random.Random(seed)
    starts = list(range(0, max(1, len(ids) - length + 1), length))
    chance.shuffle(starts)
    while len(starts) < count:  # more than there is: windows that overlap
        starts.append(chance.randrange(max(1, len(ids) - length + 1)))
    return [ids[start : start + length] for start in starts[:count]]


def _ids(model: LanguageModel, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _docstrings(module: str) -> Iterator[str]:
    """The longer ones of a module, without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # a Python without its sources
        return
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            text = ast.get_docstring(node)
            if text is not None and len(text) >= _SHORTEST:
                yield text
