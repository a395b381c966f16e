"""The number format that the definitions compute in."""

from __future__ import annotations

import torch


def working_dtype(tensor: torch.Tensor) -> torch.dtype:
    """float64 for float64, float32 for all other formats."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` in the format that definitions compute in."""
    return tensor.to(working_dtype(tensor))
