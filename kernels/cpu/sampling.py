"""Tokens from logits on the CPU; defined in `kernels.reference.sampling`."""

from __future__ import annotations

import ctypes

import torch

from kernels.cpu.library import check, native


def sample(
    logits: torch.Tensor, draws: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor
) -> torch.Tensor:
    """One token per row by inverting the distribution function at a drawn number.

    Weights are float32, their sums float64: a token differs from the definition's only where the
    draw is within about 1e-6 of a boundary. The number of threads makes no difference.

    Args:
        logits: [M, V], float32 (other formats are widened); minus infinity forbids a token.
        draws: float64 [M], each in [0, 1).
        temperature: float32 [M], at least 0; 0 takes the largest logit.
        top_p: float32 [M], above 0; 1 and more: all tokens.

    Returns:
        int64 [M].

    Raises:
        ValueError: A number out of its range, or a row with NaN, plus infinity, or nothing but
            minus infinity.
    """
    rows = logits.float()
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    drawn, warmth, share = draws.contiguous(), temperature.contiguous(), top_p.contiguous()
    out = torch.empty(rows.shape[0], dtype=torch.int64)
    check(
        native().sd_sample(
            _pointer(rows), _long(rows.stride(0)), _long(rows.shape[0]), rows.shape[1],
            _pointer(drawn), _pointer(warmth), _pointer(share), _pointer(out),
        )
    )  # fmt: skip
    return out


def _pointer(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


_long = ctypes.c_int64
