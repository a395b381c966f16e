"""The choice of the next token, defined."""

from __future__ import annotations

import torch


def sample(
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """One token per row by inverting its distribution function at a drawn number.

    Args:
        logits: [M, V]; minus infinity forbids a token.
        draws: float64 [M] in [0, 1).
        temperature: float32 [M]: divides the logits; 0 takes the most probable token, of several
            the first.
        top_p: float32 [M]: where below 1, only the fewest most probable tokens that hold this
            much probability, in descending order (of equals the first comes first); else all
            tokens in the order of their ids.

    Returns:
        int64 [M].

    Raises:
        ValueError: A row holds NaN, plus infinity, or nothing but minus infinity.
    """
    bad = logits.isnan().any(-1) | (logits.amax(-1) == torch.inf) | (logits.amax(-1) == -torch.inf)
    if bool(bad.any()):
        raise ValueError(f"logits of row {int(bad.nonzero()[0])} are not finite")
    tokens = []
    for row, draw, heat, share in zip(
        logits.double(), draws.tolist(), temperature.tolist(), top_p.tolist(), strict=True
    ):
        if heat == 0:
            tokens.append(int(row.argmax()))
            continue
        weights = torch.softmax(row / heat, dim=-1)
        order = torch.arange(len(weights), device=row.device)
        if share < 1:
            weights, order = weights.sort(descending=True, stable=True)
            weights = weights.masked_fill(weights.cumsum(0) - weights >= share, 0)
        upto = weights.cumsum(0)
        place = torch.searchsorted(upto, draw * upto[-1], right=True)
        last = int((weights > 0).nonzero()[-1])
        tokens.append(int(order[min(int(place), last)]))
    return torch.tensor(tokens, dtype=torch.int64, device=logits.device)
