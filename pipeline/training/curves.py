"""What is measured along the way, as the paper plots it and beyond.

Everything is measured on the pairs of an update, before it is made, except the divergence, which
is measured after it on a fixed probe. No durations: equal trainings give equal curves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Sums = dict[str, float]

MEASURES = (
    "loss",
    "preference_loss",
    "sft_loss",
    "accuracy",
    "reward_accuracy",
    "margin",
    "kl",
    "chosen_drift",
    "rejected_drift",
    "chosen_length",
    "rejected_length",
    "length_drift",
    "learning_rate",
    "gradient_norm",
)
"""Fields of a row of curves.jsonl besides ``step`` and ``epoch``; null where not measured.

``accuracy``: share of pairs with P(chosen) > P(rejected) under the policy (the paper's).
``reward_accuracy``: the same for the ratios to the reference. ``margin``: the paper's marginal
preference, mean difference of the log-ratios. ``chosen_drift``, ``rejected_drift``: mean change
of log-probability against the reference. Lengths are in tokens. ``length_drift``: how many tokens
longer the policy's answers are expected to be than the reference's: for each prompt, completions
weighted by their probability ratio, minus their plain mean. ``kl``: KL(policy || reference) per
token, exact over the vocabulary, averaged over the positions of a few chosen completions; only
every few updates.
"""

SUMS: tuple[str, ...] = (
    "pairs",
    "accuracy",
    "reward_accuracy",
    "margin",
    "chosen_drift",
    "rejected_drift",
    "chosen_length",
    "rejected_length",
    "prompts",
    "length_drift",
)
"""Fields of `pair_sums`."""


def pair_sums(
    policy: Sequence[float],
    reference: Sequence[float],
    lengths: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    prompts: Sequence[int],
) -> Sums:
    """Sums over pairs (and, for the length drift, over prompts).

    Args:
        policy: Log-probability of each completion.
        reference: The same under the reference.
        lengths: Tokens of each.
        pairs: (chosen, rejected), indices into these.
        prompts: Which prompt each completion belongs to.
    """
    sums = dict.fromkeys(SUMS, 0.0)
    drift = [p - r for p, r in zip(policy, reference, strict=True)]
    for chosen, rejected in pairs:
        sums["pairs"] += 1
        sums["accuracy"] += policy[chosen] > policy[rejected]
        sums["reward_accuracy"] += drift[chosen] > drift[rejected]
        sums["margin"] += drift[chosen] - drift[rejected]
        sums["chosen_drift"] += drift[chosen]
        sums["rejected_drift"] += drift[rejected]
        sums["chosen_length"] += lengths[chosen]
        sums["rejected_length"] += lengths[rejected]
    for prompt in dict.fromkeys(prompts):
        mine = [i for i, p in enumerate(prompts) if p == prompt]
        sums["prompts"] += 1
        sums["length_drift"] += _length_drift([drift[i] for i in mine], [lengths[i] for i in mine])
    return sums


def _length_drift(ratios: Sequence[float], lengths: Sequence[int]) -> float:
    highest = max(ratios)
    weights = [math.exp(ratio - highest) for ratio in ratios]
    expected = sum(w * n for w, n in zip(weights, lengths, strict=True)) / sum(weights)
    return expected - sum(lengths) / len(lengths)


def means(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Means of `pair_sums` by field of a curve; empty ones are null."""
    found: dict[str, float | None] = {}
    for name, total in sums.items():
        if name in ("pairs", "prompts"):
            continue
        count = sums["prompts"] if name == "length_drift" else sums["pairs"]
        found[name] = total / count if count else None
    return found


def final(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means of each measure over the last tenth of the updates, at least five if there are.

    The divergence and the learning rate are the last ones known instead.
    """
    last = rows[-max(5, len(rows) // 10) :]
    found: dict[str, float | None] = {}
    for name in MEASURES:
        values = [row[name] for row in last if row.get(name) is not None]
        found[name] = sum(values) / len(values) if values else None
    for name in ("kl", "learning_rate"):
        known = [row[name] for row in rows if row.get(name) is not None]
        found[name] = known[-1] if known else None
    return found
