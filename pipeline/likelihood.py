"""What a model thinks of given text: log-probabilities of answers, and divergence from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pipeline.prompts import Prompt, chat_text

if TYPE_CHECKING:
    import torch

    from pipeline.models import LanguageModel

_BATCH = 8
"""Answers per forward pass: the logits of all their positions are in memory at once."""


@dataclass(frozen=True)
class Said:
    """An answer to a prompt; ``ended`` if the model itself ended it."""

    prompt: Prompt
    text: str
    ended: bool


@dataclass(frozen=True)
class Divergence:
    """How far one model is from another on answers that the first one gave, in nats.

    Attributes:
        per_answer: Mean log-ratio of the probabilities of a whole answer: an estimate of the
            Kullback-Leibler divergence if the answers were drawn at temperature 1.
        per_token: The same for each token.
        answers: How many there were.
    """

    per_answer: float
    per_token: float
    answers: int

    def to_json(self) -> dict[str, float]:
        """As stored in summaries."""
        return {
            "per_answer": self.per_answer,
            "per_token": self.per_token,
            "answers": self.answers,
        }


def divergence(model: LanguageModel, base: LanguageModel, said: Sequence[Said]) -> Divergence:
    """Mean log-ratio of what ``model`` and ``base`` think of answers that ``model`` gave."""
    ours, theirs = (log_probabilities(one, said) for one in (model, base))
    ratios = [sum(a) - sum(b) for a, b in zip(ours, theirs, strict=True)]
    tokens = sum(len(row) for row in ours)
    return Divergence(sum(ratios) / len(ratios), sum(ratios) / tokens, len(ratios))


def log_probabilities(model: LanguageModel, said: Sequence[Said]) -> list[list[float]]:
    """The log-probability of every token of each answer given its prompt, at temperature 1.

    Texts are split into tokens anew, which may differ from the tokens that were sampled.
    """
    rows = [_tokens(model, one) for one in said]
    return [
        row
        for start in range(0, len(rows), _BATCH)
        for row in _scored(model, rows[start : start + _BATCH])
    ]


def _tokens(model: LanguageModel, said: Said) -> tuple[list[int], list[int]]:
    def ids(text: str) -> list[int]:
        return list(model.tokenizer(text, add_special_tokens=False).input_ids)

    end = [model.tokenizer.eos_token_id] if said.ended else []
    return ids(chat_text(model.tokenizer, said.prompt)), ids(said.text) + end


def _scored(model: LanguageModel, rows: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
    """One forward pass; the beginning that all prompts share is read once."""
    import torch

    from pipeline.decoding import cache_argument
    from pipeline.growing_cache import growing_cache

    network = model.model
    shared = _shared([prompt[:-1] for prompt, _ in rows])
    rest = [[*prompt[shared:], *answer] for prompt, answer in rows]
    width = max(map(len, rest))
    # Padding on the right comes after everything that is scored: no mask is needed.
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rest], device=network.device)
    first = min(len(prompt) for prompt, _ in rows) - 1 - shared
    arguments: dict[str, Any] = {}
    with torch.inference_mode():
        if shared:
            cache = growing_cache(network.config)
            arguments = {cache_argument(type(network)): cache, "use_cache": True}
            start = torch.tensor([rows[0][0][:shared]], device=network.device)
            network(input_ids=start, logits_to_keep=1, **arguments)
            cache.batch_select_indices(torch.zeros(len(rows), dtype=torch.long))
        output = network(input_ids=tokens, logits_to_keep=width - first, **arguments)
        picked = _picked(output.logits[:, :-1], tokens[:, first + 1 :])
    return [
        picked[i, len(prompt) - shared - 1 - first :][: len(answer)].tolist()
        for i, (prompt, answer) in enumerate(rows)
    ]


def _shared(rows: Sequence[Sequence[int]]) -> int:
    """Length of the beginning that all rows have in common."""
    same = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return sum(1 for _ in same)


def _picked(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of ``tokens`` [rows, length] under ``logits`` [rows, length, words]."""
    import torch

    chosen = logits.gather(-1, tokens[..., None])[..., 0].float()
    return chosen - torch.stack([row.float().logsumexp(-1) for row in logits])
