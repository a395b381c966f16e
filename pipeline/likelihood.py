"""How far one model has moved from another, on answers that it gave itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.prompts import Prompt, chat_text
from pipeline.reading import Tokens

if TYPE_CHECKING:
    import torch

    from pipeline.models import LanguageModel

BATCH = 8
"""Answers per forward pass: the logits of all their positions are in memory at once."""


@dataclass(frozen=True)
class Said:
    """An answer to a prompt; ``ended`` if the model itself ended it."""

    prompt: Prompt
    text: str
    ended: bool


@dataclass(frozen=True)
class Divergence:
    """How far one model is from another, in nats.

    The Kullback-Leibler divergence between the two distributions of the next token (at temperature
    1) is computed exactly wherever an answer chose a token, then summed up over each answer. With
    answers drawn at temperature 1 this estimates the divergence between whole answers, with less
    noise than the log-ratio of their probabilities, and is never negative; with colder ones it is
    the divergence along what the model usually says.

    Attributes:
        per_answer: Mean over answers of the sum over their tokens.
        per_token: Mean over all tokens.
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
    """The divergence of ``model`` from ``base`` along answers that ``model`` gave.

    Both must have the same tokens. Texts are split into tokens anew, which may differ from the
    tokens that were sampled.

    Args:
        model: The model that has been tuned.
        base: What it was tuned from.
        said: At least one answer.
    """
    rows = [tokens_of(model, one) for one in said]
    total = 0.0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        both = zip(predicted(model, batch), predicted(base, batch), strict=True)
        total += sum(divergence_of(ours, theirs) for ours, theirs in both)
    tokens = sum(len(answer) for _, answer in rows)
    return Divergence(total / len(rows), total / max(1, tokens), len(rows))


def tokens_of(model: LanguageModel, said: Said) -> tuple[Tokens, Tokens]:
    """Prompt and answer in the model's tokens, the one that ended it included."""

    def ids(text: str) -> Tokens:
        return tuple(model.tokenizer(text, add_special_tokens=False).input_ids)

    end = (model.tokenizer.eos_token_id,) if said.ended else ()
    return ids(chat_text(model.tokenizer, said.prompt)), (*ids(said.text), *end)


def predicted(
    model: LanguageModel, rows: Sequence[tuple[Tokens, Tokens]]
) -> Sequence[torch.Tensor]:
    """For each answer the logits [tokens, vocabulary] from which its tokens are drawn."""
    import torch

    with torch.inference_mode():
        return model.reader.along([prompt for prompt, _ in rows], [answer for _, answer in rows])


def divergence_of(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """KL(ours || theirs) in nats, summed over rows; both logits [rows, vocabulary]."""
    p, q = (logits.float().log_softmax(dim=-1) for logits in (ours, theirs))
    return float((p.exp() * (p - q)).sum(dim=-1).clamp(min=0).double().sum())
