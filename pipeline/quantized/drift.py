"""How far quantization moves a model's predictions, along answers that it gave before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.likelihood import BATCH, Said, divergence_of, predicted, tokens_of

if TYPE_CHECKING:
    from pipeline.models import LanguageModel


@dataclass(frozen=True)
class Drift:
    """The next token's distributions before and after, wherever an answer chose a token.

    Attributes:
        per_token: Mean Kullback-Leibler divergence from before to after, in nats.
        per_answer: Mean over answers of the sum over their tokens.
        same_choice: Share of tokens of which both find the same one most probable.
        answers: How many.
        tokens: Of all answers.
    """

    per_token: float
    per_answer: float
    same_choice: float | None
    answers: int
    tokens: int

    def to_json(self) -> dict[str, Any]:
        """As stored in summaries."""
        return {
            "per_token": self.per_token,
            "per_answer": self.per_answer,
            "same_choice": self.same_choice,
            "answers": self.answers,
            "tokens": self.tokens,
        }


def drift(before: LanguageModel, after: LanguageModel, said: Sequence[Said]) -> Drift:
    """The drift from one model to another with the same tokens.

    With an adapter on both sides, what it is worth on the quantized base.

    Args:
        before: The model that gave the answers.
        after: The same, quantized.
        said: At least one answer.
    """
    rows = [tokens_of(before, one) for one in said]
    total, same = 0.0, 0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        for ours, theirs in zip(predicted(before, batch), predicted(after, batch), strict=True):
            theirs = theirs.to(ours.device)
            total += divergence_of(ours, theirs)
            same += int((ours.argmax(dim=-1) == theirs.argmax(dim=-1)).sum())
    tokens = sum(len(answer) for _, answer in rows)
    return Drift(
        per_token=total / max(1, tokens),
        per_answer=total / len(rows),
        same_choice=same / tokens if tokens else None,
        answers=len(rows),
        tokens=tokens,
    )
