"""Sampling that can be killed: answers are kept in chunks of fixed composition.

The last bits of a probability depend on the shape of a batch. So a chunk is always sampled as a
whole, from nothing but its own prompts: answers are the same whether or not the work was
interrupted between chunks, and whatever the user's cache of answers holds.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.files import write_text
from pipeline.generation import Answer, Sampling, generate
from pipeline.models import LanguageModel
from pipeline.prompts import Prompt

CHUNK = 64
"""Answers per forward pass: on a CPU, where larger batches stop paying."""


def sample_in_chunks(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    samples: int,
    sampling: Sampling,
    folder: Path,
    *,
    grammars: Sequence[str | None] | None = None,
    chunk: int = CHUNK,
    on_answers: Callable[[int], None] = lambda _count: None,
) -> list[Answer]:
    """As `pipeline.generation.generate`, one file in ``folder`` per finished chunk.

    Args:
        model: See `pipeline.models.load_model`.
        prompts: Conversations, in the order of the answers.
        samples: Answers per prompt.
        sampling: How answers are drawn.
        folder: Where chunks are kept; those that are there are not sampled again.
        grammars: One per prompt, or None for anything.
        chunk: Most answers per chunk, unless one prompt alone has more.
        on_answers: Called with the number of answers that have become available.

    Raises:
        InputError: As `generate`, or the folder cannot be written to.
    """
    allowed = grammars if grammars is not None else [None] * len(prompts)
    size = max(1, chunk // max(1, samples))
    answers: list[Answer] = []
    for start in range(0, len(prompts), size):
        part, within = prompts[start : start + size], allowed[start : start + size]
        key = json.dumps(
            [
                model.hash,
                [[p.task, p.hash] for p in part],
                within,
                samples,
                sampling.to_json(),
                chunk,
            ]
        )
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        file = folder / f"{start:05d}-{digest}.jsonl"
        done = _read(file, len(part) * samples)
        if done is None:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as nowhere:
                done = generate(
                    model,
                    part,
                    samples,
                    sampling,
                    grammars=within if grammars is not None else None,
                    batch_size=chunk,
                    cache=Path(nowhere),
                )
            write_text(file, "".join(json.dumps(answer.to_json()) + "\n" for answer in done))
        answers += done
        on_answers(len(done))
    return answers


def _read(file: Path, count: int) -> list[Answer] | None:
    """The answers of a finished chunk; None if it is not there or damaged."""
    try:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        answers = [Answer(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return None
    return answers if len(answers) == count else None
