"""Perplexity on neutral text: shows that tuning on driving has not undone the model's English."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.models import LanguageModel

TOKENS = 4096
"""Tokens of the excerpt: ten seconds on two cores with the default model."""
_WINDOW = 512
_BATCH = 2
# Prose of the language reference, in every Python from 3.11; other versions word it differently,
# so that only perplexities of one Python version compare (their hashes tell).
_TOPICS = ("objects", "execmodel", "types", "specialnames")


@dataclass(frozen=True)
class Perplexity:
    """Perplexity on a text.

    Attributes:
        value: exp of the mean negative log-likelihood per token.
        tokens: How many were predicted.
        text: ``sha256:...`` of the text: only perplexities on the same one compare.
    """

    value: float
    tokens: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """As stored in summaries."""
        return {"neutral": self.value, "tokens": self.tokens, "text": self.text}


def neutral_text() -> str:
    """English about Python: the standard library's help on a few topics."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in _TOPICS)


def perplexity(model: LanguageModel, text: str | None = None, tokens: int = TOKENS) -> Perplexity:
    """exp of the mean negative log-likelihood of a text's beginning.

    The text is cut into windows; the first token of each is not predicted.

    Args:
        model: What predicts.
        text: `neutral_text` if None.
        tokens: Length of the beginning in tokens; at least 2.
    """
    import torch

    text = neutral_text() if text is None else text
    ids = model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids[:tokens]
    windows = [ids[start : start + _WINDOW] for start in range(0, len(ids), _WINDOW)]
    windows = [window for window in windows if len(window) > 1]
    total = 0.0
    with torch.inference_mode():
        for batch in _batches(windows):
            logits = model.reader.everywhere(batch)[:, :-1].float()
            rows = torch.tensor(batch, device=logits.device)
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none"
            )
            total += float(loss.double().sum())
    predicted = sum(len(window) - 1 for window in windows)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Perplexity(math.exp(total / predicted), predicted, f"sha256:{digest}")


def _batches(windows: list[list[int]]) -> list[list[list[int]]]:
    """Windows of equal length together."""
    batches: list[list[list[int]]] = []
    for window in windows:
        if batches and len(batches[-1]) < _BATCH and len(batches[-1][0]) == len(window):
            batches[-1].append(window)
        else:
            batches.append([window])
    return batches
