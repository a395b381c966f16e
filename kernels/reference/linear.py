"""Linear layers over quantized weights, defined."""

from __future__ import annotations

import torch

from kernels.weights import AtomWeight, QuantizedWeight


def int4_linear(
    x: torch.Tensor,
    weight: QuantizedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """y = x W' + bias.

    With ``activation_bits`` 16, x stays as it is: back-ends may round it, by at most 2^-16 of the
    largest magnitude in its row and group, or to its own type's precision where that is coarser.
    With 8, x is replaced by `quantize_activations` of it over the weight's groups (W4A8).
    A NaN or an infinity in a row of x makes the whole row of y NaN (or infinite).

    Args:
        x: [..., K], any float type; computed in it.
        weight: [N, K].
        activation_bits: 16 or 8.
        bias: [N].

    Returns:
        [..., N].
    """
    if activation_bits == 8:
        x = quantize_activations(x, weight.group, 8)
    y = x @ weight.dequantize(x.dtype).T
    return y if bias is None else y + bias.to(y.dtype)


def int8_linear(
    x: torch.Tensor,
    weight: QuantizedWeight,
    activation_bits: int = 16,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """`int4_linear` for a weight of 8 bits."""
    return int4_linear(x, weight, activation_bits, bias)


def dense_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """y = x W' + bias for an unquantized weight [N, K]."""
    y = x @ weight.to(x.dtype).T
    return y if bias is None else y + bias.to(y.dtype)


def w4a4_linear(x: torch.Tensor, weight: AtomWeight, clip: float = 0.9) -> torch.Tensor:
    """y = x W' with 4-bit activations, and 8-bit ones for the outlier columns (Atom, section 4).

    The columns of x are brought into the weight's order; those of its low part are quantized to
    4 bits with the scale clip * max / 7, those of its high part to 8.

    Args:
        x: [..., K], any float type; computed in it.
        weight: [N, K].
        clip: Share of a group's largest magnitude that 4 bits reach.

    Returns:
        [..., N].
    """
    ordered = x[..., weight.order.long()]
    split = weight.low.shape[1]
    low = quantize_activations(ordered[..., :split], weight.low.group, 4, clip)
    high = quantize_activations(ordered[..., split:], weight.high.group, 8)
    return low @ weight.low.dequantize(x.dtype).T + high @ weight.high.dequantize(x.dtype).T


def quantize_activations(x: torch.Tensor, group: int, bits: int, clip: float = 1.0) -> torch.Tensor:
    """x on the symmetric grid of its row and group: scale * round(x / scale).

    The scale is clip * max|x| / (2^(bits-1) - 1); halves are rounded to even. Codes reach from
    -7 (with 4 bits: -8) or -127 to the largest. Groups of zeros stay zero. A number that is not
    finite makes its row NaN. Scales and codes are computed in float32 whatever the type of x, as
    the kernels do: in another precision, ties would fall differently.

    Args:
        x: [..., K].
        group: Columns that share a scale; divides K.
        bits: 4 or 8.
        clip: Share of the largest magnitude that is reached.
    """
    levels = 7 if bits == 4 else 127
    groups = x.float().unflatten(-1, (-1, group))
    largest = groups.abs().amax(dim=-1, keepdim=True) * clip
    zero = largest <= 1e-30
    inverse = torch.where(zero, 0, levels / largest)
    codes = (groups * inverse).clamp(-8 if bits == 4 else -127, levels).round()
    scales = torch.where(zero, 0, largest / levels)
    values = (codes.to(x.dtype) * scales.to(x.dtype)).flatten(-2)
    finite = x.isfinite().all(dim=-1, keepdim=True)
    return torch.where(finite, values, torch.nan)
