"""Atom: 4-bit weights and activations, with 8 bits for the columns that carry the most.

Zhao et al., Atom, MLSys 2024, section 4. Input channels are sorted by the mean of x^2 over
calibration tokens; the last ones, with the largest means, keep 8 bits in weights and activations.
Weights are rounded with GPTQ in that order, on symmetric grids that reach 0.85 of each group's
largest magnitude. Activations are quantized at inference by row and group, reaching 0.9 of the
largest magnitude. The permutation stays with the weights (``AtomWeight.order``).

The published 128 channels are 3 % of 4096; here it is the smallest multiple of 8 that is at least
3 % of the columns and leaves whole groups: 64 of 576 and of 1536 columns in groups of 64.
Different from the published code: rows have scales of their own (there, two share one), and
within GPTQ the 8-bit columns come last, so that they make up for the error of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from kernels.reference.linear import quantize_activations
from kernels.weights import AtomWeight
from serving.errors import ServingError
from serving.quantization.gptq import gptq_leading
from serving.quantization.grid import Grid, Ranges, in_groups, pack, quantize_to_grid
from serving.quantization.moments import Moments
from serving.quantization.settings import QuantizeSettings
from serving.quantization.stages import Stage, StageResult

KEPT_SHARE = 0.03
"""Share of the columns that keep 8 bits, before rounding up."""
WEIGHT_CLIP, ACTIVATION_CLIP = 0.85, 0.9
"""Of a group's largest magnitude."""
LEVELS = 7
NOTES = {"activation_bits": "4", "activation_clip": str(ACTIVATION_CLIP), "kv": "int4"}
"""What a checkpoint says of the rest of the method: activations, and the cache of keys and values
(asymmetric by token and head)."""


def kept_columns(columns: int, group: int, layer: str = "a layer") -> int:
    """How many columns keep 8 bits.

    Raises:
        ServingError: No number up to half of the columns leaves whole groups.
    """
    least = 8 * math.ceil(KEPT_SHARE * columns / 8)
    for count in range(least, columns // 2 + 1, 8):
        if (columns - count) % group == 0:
            return count
    raise ServingError(
        f"groups of {group} do not fit into the {columns} columns of {layer} beside 8-bit ones",
        remedy="use a smaller --group",
    )


def importance_order(moments: Moments) -> torch.Tensor:
    """Columns by the mean of x^2, least first: int64 [K]."""
    return torch.argsort(moments.gram.diagonal(), stable=True)


def atom_weight(weight: torch.Tensor, moments: Moments, group: int, kept: int) -> AtomWeight:
    """A matrix in mixed precision.

    Args:
        weight: float32 [N, K].
        moments: Of its inputs.
        group: Of the 4-bit columns.
        kept: How many columns keep 8 bits.
    """
    columns = weight.shape[1]
    order = importance_order(moments)
    sorted_weight, gram = weight[:, order], moments.gram[order][:, order]
    grid = Grid(4, group, symmetric=True)
    low = columns - kept
    ranges = _magnitude_ranges(sorted_weight[:, :low], group)
    codes, ranges, rest = gptq_leading(sorted_weight, gram, grid, low, ranges=ranges)
    return AtomWeight(
        low=pack(codes, ranges, grid),
        high=quantize_to_grid(rest, Grid(8, math.gcd(kept, group))),
        order=order.to(torch.int32),
    )


def fake_quantizer(weight: AtomWeight) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a mixed-precision layer makes of its inputs, as numbers in their own order."""
    order, columns = weight.order.long(), weight.low.shape[1]
    parts = (
        (slice(0, columns), weight.low.group, 4, ACTIVATION_CLIP),
        (slice(columns, None), weight.high.group, 8, 1.0),
    )

    def quantized(x: torch.Tensor) -> torch.Tensor:
        reordered, result = x[..., order], torch.empty_like(x)
        for columns, group, bits, clip in parts:
            part = reordered[..., columns]
            codes, scales = quantize_activations(part, group, bits, clip)
            result[..., order[columns]] = (codes * scales[..., None]).reshape(part.shape)
        return result

    return quantized


def atom_stage(stage: Stage, settings: QuantizeSettings) -> StageResult:
    """All maps of a stage, with one order of their common inputs."""
    columns = len(stage.moments.magnitude)
    group = settings.grid(columns).group
    kept = kept_columns(columns, group, stage.full_name(stage.names[0]))
    weights = {
        name: atom_weight(weight, stage.moments, group, kept)
        for name, weight in stage.matrices.items()
    }
    first = weights[stage.names[0]]
    return StageResult(weights, choice=f"{kept} of {columns}", activation=fake_quantizer(first))


def _magnitude_ranges(weight: torch.Tensor, group: int) -> Ranges:
    largest = in_groups(weight, group).abs().amax(dim=-1)
    scale = (WEIGHT_CLIP * largest / LEVELS).half().float()
    return Ranges(scale, torch.full_like(scale, 8.0))
