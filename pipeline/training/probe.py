"""The divergence of policy and reference, exact over the vocabulary on a few fixed positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.training.forward import Tensors, row_tensors
from pipeline.training.pairs import TokenGroup
from pipeline.training.plan import row_of
from pipeline.training.prefixes import RowBuilder

EVERY = 10
"""Updates between two measurements; with the sizes below they take about 1 % of the time."""

_PROMPTS = 4
_TOKENS = 512
_POSITIONS = 64


def probe_row(groups: Sequence[TokenGroup]) -> Tensors:
    """A row of chosen completions of a few prompts, to be predicted at a few positions only.

    At most `_PROMPTS` prompts, evenly spread over all, one completion each; no more than fit into
    `_TOKENS` tokens, but at least one; of their tokens at most `_POSITIONS`, evenly spread.
    """
    count = min(_PROMPTS, len(groups))
    picked: list[tuple[int, int]] = []
    builder = RowBuilder()
    for group in (i * len(groups) // count for i in range(count)):
        chosen = groups[group].pairs[0].chosen
        builder.add(groups[group].prompt, groups[group].completions[chosen])
        if picked and len(builder) > _TOKENS:
            break
        picked.append((group, chosen))
    row = row_tensors(row_of(picked, groups))
    every = len(row["predict"])
    kept = torch.linspace(0, every - 1, min(every, _POSITIONS)).round().long()
    return row | {"predict": row["predict"][kept]}


def divergence(policy: torch.Tensor, reference: torch.Tensor) -> float:
    """KL(policy || reference) in nats, mean over positions.

    Args:
        policy: [positions, vocabulary], log-probabilities.
        reference: The same.
    """
    ratios = policy.double() - reference.double()
    return float((policy.double().exp() * ratios).sum(-1).mean())
