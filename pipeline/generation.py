"""Answers of a language model to prompts: seeded, batched, and cached by content hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.decoding import Completion, Finish, Request, sample_batch
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
        if not (self.temperature >= 0 and 0 < self.top_p <= 1 and self.max_new_tokens >= 1):
            raise InputError(
                f"cannot sample with temperature {self.temperature}, top_p {self.top_p}, "
                f"max_new_tokens {self.max_new_tokens}",
                remedy="use temperature >= 0, 0 < top_p <= 1 and max_new_tokens >= 1",
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


def generate(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling | None = None,
    *,
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
        batch_size: Answers per forward pass; by default 32 on a CPU and 256 on a GPU.
        cache: Folder of the cache; None for ``answers`` in the user's cache folder.
        on_answers: Called with answers as they become available, for progress.

    Raises:
        InputError: The model cannot be loaded or the grammar is not valid.
    """
    sampling = sampling or Sampling()
    folder = cache if cache is not None else cache_folder() / "answers"
    files = {p.hash: folder / f"{_key(model, p.hash, sampling)}.jsonl" for p in prompts}
    held = {digest: _read(path) for digest, path in files.items()}
    by_hash = {p.hash: p for p in prompts}
    missing = [
        (by_hash[digest], i) for digest in by_hash for i in range(samples) if i not in held[digest]
    ]
    ready = [
        _answer(model, p, i, held[p.hash][i], sampling)
        for p in prompts
        for i in range(samples)
        if i in held[p.hash]
    ]
    if ready:
        on_answers(ready)
    size = batch_size or (32 if model.device == "cpu" else 256)
    for start in range(0, len(missing), size):
        batch = missing[start : start + size]
        completions = _complete(model, batch, sampling)
        for (prompt, i), completion in zip(batch, completions, strict=True):
            held[prompt.hash][i] = completion
        for digest in {prompt.hash for prompt, _ in batch}:
            _write(files[digest], held[digest])
        on_answers(
            [
                _answer(model, p, i, c, sampling)
                for (p, i), c in zip(batch, completions, strict=True)
            ]
        )
    return [
        _answer(model, p, i, held[p.hash][i], sampling) for p in prompts for i in range(samples)
    ]


def _complete(
    model: LanguageModel, batch: Sequence[tuple[Prompt, int]], sampling: Sampling
) -> list[Completion]:
    ids = {
        p.hash: tuple(
            model.tokenizer(chat_text(model.tokenizer, p), add_special_tokens=False).input_ids
        )
        for p, _ in batch
    }
    constraint = None
    if sampling.grammar is not None:
        from pipeline.grammar import GrammarConstraint

        constraint = GrammarConstraint.of(model, sampling.grammar)
    return sample_batch(
        model,
        [Request(ids[p.hash], f"{sampling.seed}:{p.hash}:{i}") for p, i in batch],
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        constraint=constraint,
    )


def _answer(
    model: LanguageModel, prompt: Prompt, sample: int, completion: Completion, sampling: Sampling
) -> Answer:
    return Answer(
        task=prompt.task,
        template=prompt.template,
        prompt=prompt.hash,
        sample=sample,
        text=completion.text,
        finish=completion.finish,
        tokens=completion.tokens,
        model=model.hash,
        sampling=sampling.to_json(),
    )


def _key(model: LanguageModel, prompt: str, sampling: Sampling) -> str:
    return _digest(json.dumps([model.hash, prompt, sampling.to_json()], sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[int, Completion]:
    """Completions by sample index; a file that is damaged counts as absent."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {row.pop("sample"): Completion(**row) for row in rows}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(path: Path, completions: dict[int, Completion]) -> None:
    rows: Iterable[dict[str, Any]] = (
        {"sample": i, **dataclasses.asdict(completions[i])} for i in sorted(completions)
    )
    write_lines(path, rows)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a JSON Lines file in one step: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)
