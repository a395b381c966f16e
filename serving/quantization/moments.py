"""What calibration tells of a layer's inputs: their second moments and mean magnitudes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from serving.errors import ServingError


@dataclass(frozen=True)
class Moments:
    """Statistics of a linear map's inputs x over all calibration tokens.

    Attributes:
        gram: Mean of x x^T, float32 [K, K]; its diagonal is the mean of x^2.
        magnitude: Mean of |x|, float32 [K].
        tokens: How many inputs there were.

    Means may be weighted (`token_weights`).
    """

    gram: torch.Tensor
    magnitude: torch.Tensor
    tokens: int

    def scaled(self, scales: torch.Tensor) -> Moments:
        """Those of x / scales, scales [K]."""
        gram = self.gram / scales[:, None] / scales[None]
        return Moments(gram, self.magnitude / scales, self.tokens)

    def reordered(self, order: torch.Tensor) -> Moments:
        """Those of x[order]."""
        return Moments(self.gram[order][:, order], self.magnitude[order], self.tokens)


def token_weights(hidden: torch.Tensor) -> torch.Tensor:
    """How much an error in hidden states [T, hidden] weighs: float32 [T].

    The next norm divides it by the states' root mean square; its square counts accordingly. A few
    tokens, the first of each text above all, have states hundreds of times larger than the others:
    they would outweigh all others if errors were compared as they are.
    """
    return 1 / hidden.square().mean(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)


def moments_of(
    inputs: Iterable[torch.Tensor | tuple[torch.Tensor, torch.Tensor]], layer: str
) -> Moments:
    """Statistics of batches of inputs, summed in float64.

    Args:
        inputs: Batches [T, K], or pairs of a batch and its tokens' weights [T].
        layer: For error messages.

    Raises:
        ServingError: An input is not finite.
    """
    gram = magnitude = None
    tokens, total = 0, 0.0
    for batch in inputs:
        x, weights = batch if isinstance(batch, tuple) else (batch, torch.ones(len(batch)))
        weighted = x * weights[:, None]
        product, absolute = (weighted.T @ x).double(), weighted.abs().sum(dim=0).double()
        gram = product if gram is None else gram.add_(product)
        magnitude = absolute if magnitude is None else magnitude.add_(absolute)
        tokens += len(x)
        total += float(weights.sum(dtype=torch.float64))
    if gram is None or magnitude is None or not tokens:
        raise ServingError("no calibration rows", remedy="give at least one")
    if not bool(torch.isfinite(gram.diagonal()).all()) or not 0 < total < math.inf:
        raise not_finite(f"inputs of {layer}")
    return Moments((gram / total).float(), (magnitude / total).float(), tokens)


def not_finite(what: str) -> ServingError:
    """What to raise about activations that are not finite."""
    return ServingError(
        f"{what} are not finite on the calibration rows",
        remedy="check the model: it may be damaged, or overflow on this text",
    )
