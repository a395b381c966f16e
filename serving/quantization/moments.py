"""What calibration tells of a layer's inputs: their second moments and mean magnitudes."""

from __future__ import annotations

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


def moments_of(inputs: Iterable[torch.Tensor], layer: str) -> Moments:
    """Statistics of batches of inputs [..., K], summed in float64.

    Args:
        inputs: Batches.
        layer: For error messages.

    Raises:
        ServingError: An input is not finite.
    """
    gram = magnitude = None
    tokens = 0
    for batch in inputs:
        flat = batch.reshape(-1, batch.shape[-1]).float()
        product, absolute = (flat.T @ flat).double(), flat.abs().sum(dim=0).double()
        gram = product if gram is None else gram.add_(product)
        magnitude = absolute if magnitude is None else magnitude.add_(absolute)
        tokens += len(flat)
    if gram is None or magnitude is None or not tokens:
        raise ServingError("no calibration rows", remedy="give at least one")
    if not bool(torch.isfinite(gram.diagonal()).all()):
        raise ServingError(
            f"inputs of {layer} are not finite on the calibration rows",
            remedy="check the model: it may be damaged, or overflow on this text",
        )
    return Moments((gram / tokens).float(), (magnitude / tokens).float(), tokens)
