"""Linear layers: weight-only, with activations quantized on the fly, mixed precision, dense."""

from __future__ import annotations

import torch

from kernels.reference.precision import widened, working_dtype
from kernels.weights import OFFSETS, SYMMETRIC, AtomWeight, QuantizedWeight

LEAST_MAGNITUDE = 1e-30
"""Groups of activations without a larger one are quantized to zeros."""


def int4_linear(
    x: torch.Tensor,
    weight: QuantizedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x W^T + bias`` with a weight of 4 bits.

    Back-ends may round ``x`` by at most 2^-16 of the largest magnitude in its row and group, or to
    its own format's precision where that is coarser. A row with NaN or an infinity has no finite
    output; with ``activation_bits`` 8 all are NaN.

    Args:
        x: [..., K].
        weight: W [N, K].
        activation_bits: 16: activations as they are. 8: quantized by row and group of the weight
            (`quantize_activations`), multiplied as integers, sums scaled.
        bias: [N].

    Returns:
        [..., N] in x's format.
    """
    return _grid_linear(x, weight, activation_bits, bias)


def int8_linear(
    x: torch.Tensor,
    weight: QuantizedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """`int4_linear` with a weight of 8 bits."""
    return _grid_linear(x, weight, activation_bits, bias)


def w4a4_linear(
    x: torch.Tensor,
    weight: AtomWeight,
    clip: float = 0.9,
) -> torch.Tensor:
    """A layer of mixed precision (Atom, sections 4.1 and 4.2).

    Columns of ``x`` are taken in the weight's order; the low part meets 4-bit activations, the high
    part 8-bit ones. A row with NaN or an infinity becomes NaN.

    Args:
        x: [..., K].
        weight: W [N, K].
        clip: Share of a group's largest magnitude that the 4-bit grid reaches.

    Returns:
        [..., N] in x's format.
    """
    reordered = x[..., weight.order.long()]
    columns = weight.low.shape[1]
    total = _integer_product(reordered[..., :columns], weight.low, 4, clip)
    total += _integer_product(reordered[..., columns:], weight.high, 8, 1.0)
    return _finished(total, x, None)


def dense_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """``x W^T + bias`` with an unquantized weight.

    Args:
        x: [..., K].
        weight: W [N, K].
        bias: [N].

    Returns:
        [..., N] in x's format.
    """
    wide = widened(x)
    return _finished(wide @ weight.to(wide.dtype).T, x, bias)


def quantize_activations(
    x: torch.Tensor, group: int, bits: int, clip: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations on a symmetric grid by row and group, in float32.

    With a = clip max|x| over the group and L = 7 or 127: scale = a / L and
    code = clamp(round(x (L / a)), -8 or -127, L), ties to even; zeros if a < 1e-30. The scales of a
    row with NaN or an infinity are all NaN.

    Args:
        x: [..., K].
        group: Columns that share a scale; divides K.
        bits: 4 or 8.
        clip: See above.

    Returns:
        Codes [..., K / group, group] as integral float32, and scales float32 [..., K / group].
    """
    levels, least = (7.0, -8.0) if bits == 4 else (127.0, -127.0)
    groups = x.float().unflatten(-1, (-1, group))
    largest = groups.abs().amax(dim=-1) * clip
    there = largest > LEAST_MAGNITUDE
    inverse = torch.where(there, levels / largest, 0.0)
    codes = (groups * inverse[..., None]).round().clamp(least, levels)
    scales = torch.where(there, largest / levels, 0.0)
    bad = ~x.isfinite().all(dim=-1)
    codes = codes.masked_fill(bad[..., None, None], 0.0)
    return codes, scales.masked_fill(bad[..., None], float("nan"))


def _grid_linear(
    x: torch.Tensor, weight: QuantizedWeight, activation_bits: int, bias: torch.Tensor | None
) -> torch.Tensor:
    if activation_bits == 16:
        return dense_linear(x, weight.dequantize(working_dtype(x)), bias)
    return _finished(_integer_product(x, weight, activation_bits, 1.0), x, bias)


def _integer_product(
    x: torch.Tensor, weight: QuantizedWeight, bits: int, clip: float
) -> torch.Tensor:
    """Quantized ``x`` times ``weight``; sums within a group are of integers, hence exact."""
    dtype = working_dtype(x)
    n, k = weight.shape
    codes, scales = (part.to(dtype) for part in quantize_activations(x, weight.group, bits, clip))
    grid = weight.integers().to(dtype).reshape(n, k // weight.group, weight.group)
    weight_scales = weight.scales.to(dtype)
    if weight.zero_kind == SYMMETRIC:
        grid = grid - (8 if weight.bits == 4 else 0)
    elif weight.zeros is not None and weight.zero_kind != OFFSETS:
        grid = grid - weight.zeros.to(dtype)[..., None]
    total = x.new_zeros(*x.shape[:-1], n, dtype=dtype)
    for g in range(k // weight.group):
        sums = codes[..., g, :] @ grid[:, g].T
        total += scales[..., g, None] * weight_scales[:, g] * sums
        if weight.zeros is not None and weight.zero_kind == OFFSETS:
            offsets = weight.zeros[:, g].to(dtype)
            total += scales[..., g, None] * codes[..., g, :].sum(dim=-1, keepdim=True) * offsets
    return total


def _finished(total: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return (total if bias is None else total + bias.to(total.dtype)).to(x.dtype)
