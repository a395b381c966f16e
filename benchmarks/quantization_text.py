"""The text that perplexity is measured on, and its loss window by window."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pipeline.models import LanguageModel
from pipeline.quantized.calibration import prose

WINDOW = 512
_BATCH = 2
_SHARED = 12
"""Consecutive words that may not be both in this text and in that of the calibration."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Text:
    """Windows of a text.

    Attributes:
        hash: ``sha256:...`` of the text.
        windows: Token ids; the first of each is not predicted.
    """

    hash: str
    windows: tuple[tuple[int, ...], ...]

    @property
    def predicted(self) -> int:
        """Tokens that are predicted."""
        return sum(len(window) - 1 for window in self.windows)


def evaluation_text() -> str:
    """English about Python: all of the standard library's help topics.

    Raises:
        ValueError: A part of it is among the calibration's texts.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    if shared := _runs(text) & _runs(prose()):
        raise ValueError(f"the text is calibrated with: {' '.join(min(shared))!r}")
    return text


def windows_of(model: LanguageModel, text: str, most: int | None = None) -> Text:
    """A text, cut into windows; only the first ``most`` of them if given."""
    ids = list(model.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    windows = [tuple(ids[start : start + WINDOW]) for start in range(0, len(ids), WINDOW)]
    kept = [window for window in windows if len(window) > 1][:most]
    return Text(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", tuple(kept))


def losses(model: LanguageModel, text: Text, progress: Callable[[int], None]) -> list[float]:
    """Negative log-likelihood of every window, in nats.

    Args:
        model: What predicts.
        text: What is predicted.
        progress: Called with the number of windows that are done.
    """
    found: list[float] = []
    with torch.inference_mode():
        for batch in _batches(text.windows):
            rows = torch.tensor(batch)
            logits = model.reader.everywhere([list(row) for row in batch])[:, :-1]
            for row, numbers in zip(rows, logits, strict=True):
                loss = torch.nn.functional.cross_entropy(
                    numbers.float(), row[1:].to(numbers.device), reduction="none"
                )
                found.append(float(loss.double().sum()))
            progress(len(found))
    return found


def perplexity(found: Sequence[float], predicted: int) -> float:
    """exp of the mean loss per token."""
    return math.exp(sum(found) / predicted)


def increase_spread(
    text_sizes: Sequence[int], before: Sequence[float], one: Sequence[float], two: Sequence[float]
) -> tuple[float, float]:
    """10th and 90th percentile of how many times more perplexity ``two`` adds than ``one``.

    By resampling the text's windows, the same for all three.

    Args:
        text_sizes: Predicted tokens of each window.
        before: Loss of each window before quantization.
        one: Quantized by the method in question.
        two: Quantized by the one that it is compared with.
    """
    chance = random.Random(0)
    numbers = range(len(text_sizes))
    ratios: list[float] = []
    for _ in range(_RESAMPLES):
        drawn = chance.choices(numbers, k=len(numbers))
        tokens = sum(text_sizes[i] for i in drawn)
        base, first, second = (
            math.exp(sum(found[i] for i in drawn) / tokens) for found in (before, one, two)
        )
        ratios.append((second - base) / (first - base) if first > base else math.inf)
    ratios.sort()
    return ratios[round(0.1 * (_RESAMPLES - 1))], ratios[round(0.9 * (_RESAMPLES - 1))]


def _runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + _SHARED]) for i in range(len(words) - _SHARED + 1)}


def _batches(windows: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Windows of equal length together."""
    batches: list[list[tuple[int, ...]]] = []
    for window in windows:
        if batches and len(batches[-1]) < _BATCH and len(batches[-1][0]) == len(window):
            batches[-1].append(window)
        else:
            batches.append([window])
    return batches
