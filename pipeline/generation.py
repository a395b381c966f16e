"""Answers of a language model to prompts: seeded, batched, and cached by content hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.decoding import Completion, Finish, Request, sample_batch
from pipeline.files import write_text
from pipeline.models import LanguageModel, cache_folder
from pipeline.prompts import Prompt, chat_text
from verifier.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the most probable token.
        top_p: Only the fewest most probable tokens that hold this much probability.
        max_new_tokens: Limit per answer.
        seed: With the prompt and the sample's index, fixes every random choice.
        grammar: What an answer may be (Lark syntax as llguidance reads it); None for anything.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 160
    seed: int = 0
    grammar: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One of them is out of range.
        """
        # Colder than this, logits divided by the temperature leave the range of float32.
        warm = self.temperature == 0 or 0.001 <= self.temperature < math.inf
        if not (warm and 0 < self.top_p <= 1 and self.max_new_tokens >= 1):
            raise InputError(
                f"cannot sample with temperature {self.temperature}, top_p {self.top_p}, "
                f"max_new_tokens {self.max_new_tokens}",
                remedy="use temperature 0 (the most probable token) or at least 0.001, "
                "0 < top_p <= 1 and max_new_tokens >= 1",
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as stored with answers; a grammar is stored as its hash."""
        grammar = _digest(self.grammar) if self.grammar is not None else None
        return dataclasses.asdict(self) | {"grammar": grammar}


@dataclass(frozen=True)
class Answer:
    """One sampled answer and everything it follows from.

    Attributes:
        task: Id of the task.
        template: Name of the prompt template.
        prompt: Hash of the conversation.
        sample: Index among the samples of this prompt.
        text: The answer, without the tokens that ended it.
        finish: Why it ended.
        tokens: Number of tokens sampled for it.
        model: Hash of the model.
        sampling: `Sampling.to_json` of the settings.
    """

    task: str
    template: str
    prompt: str
    sample: int
    text: str
    finish: Finish
    tokens: int
    model: str
    sampling: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """One row of an answers file (JSON Lines)."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Job:
    """One answer to make: to what, how, which, and the file of the cache it belongs to."""

    prompt: Prompt
    sampling: Sampling
    sample: int
    file: Path


def generate(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling | None = None,
    *,
    grammars: Sequence[str | None] | None = None,
    batch_size: int | None = None,
    cache: Path | None = None,
    on_answers: Callable[[Sequence[Answer]], None] = lambda _answers: None,
) -> list[Answer]:
    """Sample ``samples`` answers to every prompt; in order of prompts, then of samples.

    An answer follows from model, conversation, settings, seed and index alone (up to rounding:
    see `pipeline.decoding`). Answers in the cache are not sampled again; when all of them are
    there, the model is not loaded.

    Args:
        model: See `pipeline.models.load_model`.
        prompts: Conversations; equal ones give equal answers.
        samples: Answers per prompt. Asking for more later keeps the first ones.
        sampling: Temperature, seed, limits, grammar; the defaults of `Sampling` if None.
        grammars: One per prompt, in place of the one in ``sampling``.
        batch_size: Answers per forward pass; by default 32 on a CPU and 256 on a GPU.
        cache: Folder of the cache; None for ``answers`` in the user's cache folder.
        on_answers: Called with answers as they become available, for progress.

    Raises:
        InputError: The model cannot be loaded, a grammar is not valid, or the cache cannot be
            written to.
    """
    sampling = sampling or Sampling()
    if grammars is None:
        settings = [sampling] * len(prompts)
    else:
        settings = [dataclasses.replace(sampling, grammar=grammar) for grammar in grammars]
    folder = cache if cache is not None else cache_folder() / "answers"
    jobs = [
        _Job(prompt, how, i, file)
        for prompt, how in zip(prompts, settings, strict=True)
        for file in [folder / f"{_key(model, prompt.hash, how)}.jsonl"]
        for i in range(samples)
    ]
    held = {file: _read(file) for file in {job.file for job in jobs}}

    def answers(jobs: Iterable[_Job]) -> list[Answer]:
        return [_answer(model, job, held[job.file][job.sample]) for job in jobs]

    if ready := answers(job for job in jobs if job.sample in held[job.file]):
        on_answers(ready)
    # Equal prompts are sampled once, but each of their answers is reported.
    missing: dict[tuple[Path, int], list[_Job]] = {}
    for job in jobs:
        if job.sample not in held[job.file]:
            missing.setdefault((job.file, job.sample), []).append(job)
    pending = list(missing.values())
    size = batch_size or (32 if model.device == "cpu" else 256)
    for start in range(0, len(pending), size):
        batch = pending[start : start + size]
        firsts = [equal[0] for equal in batch]
        for job, completion in zip(firsts, _complete(model, firsts), strict=True):
            held[job.file][job.sample] = completion
        for file in {job.file for job in firsts}:
            _write(file, held[file])
        on_answers(answers(job for equal in batch for job in equal))
    return answers(jobs)


def _complete(model: LanguageModel, batch: Sequence[_Job]) -> list[Completion]:
    ids = {
        job.prompt.hash: tuple(
            model.tokenizer(
                chat_text(model.tokenizer, job.prompt), add_special_tokens=False
            ).input_ids
        )
        for job in batch
    }
    sampling = batch[0].sampling  # they differ in nothing but the grammar
    grammars = [job.sampling.grammar for job in batch]
    constraint = None
    if any(grammar is not None for grammar in grammars):
        from pipeline.grammar import GrammarConstraint

        constraint = GrammarConstraint(model, grammars)
    return sample_batch(
        model,
        [
            Request(ids[job.prompt.hash], f"{sampling.seed}:{job.prompt.hash}:{job.sample}")
            for job in batch
        ],
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        constraint=constraint,
    )


def _answer(model: LanguageModel, job: _Job, completion: Completion) -> Answer:
    return Answer(
        task=job.prompt.task,
        template=job.prompt.template,
        prompt=job.prompt.hash,
        sample=job.sample,
        text=completion.text,
        finish=completion.finish,
        tokens=completion.tokens,
        model=model.hash,
        sampling=job.sampling.to_json(),
    )


def _key(model: LanguageModel, prompt: str, sampling: Sampling) -> str:
    return _digest(json.dumps([model.hash, prompt, sampling.to_json()], sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[int, Completion]:
    """Completions by sample index; a file that is damaged counts as absent."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [json.loads(line) for line in lines if line]
        return {row.pop("sample"): Completion(**row) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(path: Path, completions: dict[int, Completion]) -> None:
    rows = ({"sample": i, **dataclasses.asdict(completions[i])} for i in sorted(completions))
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
