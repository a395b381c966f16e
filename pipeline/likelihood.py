"""What a model thinks of given text: log-probabilities of answers, and divergence from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.prompts import Prompt, chat_text
from pipeline.reading import read_beginnings

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
    """One forward pass over what the prompts do not share and over the answers."""
    import torch

    with torch.inference_mode():
        context, lengths = read_beginnings(model.model, [tuple(prompt) for prompt, _ in rows])
        rest = [[*prompt[n:], *answer] for (prompt, answer), n in zip(rows, lengths, strict=True)]
        longest = max(len(answer) for _, answer in rows)
        logits = context.read(model.model, rest, keep=longest + 1)
        return [
            _picked(predicted[longest - len(answer) : longest], answer)
            for predicted, (_, answer) in zip(logits, rows, strict=True)
        ]


def _picked(logits: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """Log-probabilities of ``tokens`` under ``logits`` [tokens, vocabulary]."""
    import torch

    logits = logits.float()
    chosen = logits.gather(-1, torch.tensor(tokens, device=logits.device).long()[:, None])[:, 0]
    return (chosen - logits.logsumexp(-1)).tolist()
