"""Tokens from logits."""

from __future__ import annotations

import torch


def sample(
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """One token per row by inverting the distribution function at a drawn number.

    Temperature 0: the largest logit, at ties the lowest token. Else with probabilities
    softmax(logits / temperature): the first token, in the order of tokens, up to which the sum of
    probabilities exceeds the draw. With top_p < 1 only the fewest most probable tokens that hold
    top_p count, scaled to 1, in descending order of probability, at ties the lower token first.

    Args:
        logits: [M, V]; minus infinity forbids a token.
        draws: float64 [M], each in [0, 1).
        temperature: float32 [M], at least 0.
        top_p: float32 [M], above 0; 1 and more: all tokens.

    Returns:
        int64 [M].

    Raises:
        ValueError: A number out of its range, or a row with NaN, plus infinity, or nothing but
            minus infinity.
    """
    checks = (
        ("draws", (draws >= 0) & (draws < 1), "in [0, 1)"),
        ("temperature", temperature >= 0, "at least 0"),
        ("top_p", top_p > 0, "above 0"),
        ("logits", logits.amax(dim=-1).isfinite() if logits.numel() else draws >= 0, "finite"),
    )
    for name, good, range_ in checks:
        if not bool(good.all()):
            raise ValueError(f"{name} of row {int((~good).int().argmax())} must be {range_}")
    rows = zip(logits.double(), draws.tolist(), temperature.tolist(), top_p.tolist(), strict=True)
    chosen = [_one(*row) for row in rows]
    return torch.tensor(chosen, dtype=torch.int64, device=logits.device)


def _one(logits: torch.Tensor, draw: float, temperature: float, top_p: float) -> int:
    if temperature == 0:
        return int((logits == logits.amax()).int().argmax())
    weights = ((logits - logits.amax()) / temperature).softmax(dim=-1)
    if top_p >= 1:
        return _invert(weights, draw)
    ordered, order = weights.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    return int(order[_invert(ordered.masked_fill(before >= top_p, 0.0), draw)])


def _invert(weights: torch.Tensor, draw: float) -> int:
    upto = weights.cumsum(dim=-1)
    target = draw * upto[-1:]
    last = int(weights.nonzero()[-1])
    return min(int(torch.searchsorted(upto, target, right=True)), last)
