"""What random cases of operations share: formats, places in memory, comparison."""

from __future__ import annotations

from typing import Literal

import torch
from hypothesis import strategies as st

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
FINE = 2.0**-16

Layout = Literal["plain", "offset", "columns", "rows", "transposed"]
LAYOUTS: tuple[Layout, ...] = ("plain", "offset", "columns", "rows", "transposed")

seeds = st.integers(0, 2**31 - 1)
dtypes = st.sampled_from(FLOATS)
layouts = st.sampled_from(LAYOUTS)


def placed(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The same numbers elsewhere in memory: at an odd address, within a wider tensor, ...

    Numbers around them are NaN, or the largest of their integer format.
    """
    if layout == "plain" or tensor.dim() == 0:
        return tensor.clone(memory_format=torch.contiguous_format)
    around = float("nan") if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max
    if layout == "transposed" and tensor.dim() > 1:
        return tensor.mT.clone(memory_format=torch.contiguous_format).mT
    *lead, last = tensor.shape
    if layout == "offset":
        held = tensor.new_full((tensor.numel() + 3,), around)[3:].view(tensor.shape)
    elif layout == "columns" or tensor.dim() == 1:
        held = tensor.new_full((*lead, last + 5), around)[..., 2 : last + 2]
    else:
        held = tensor.new_full((2 * lead[0] + 1, *lead[1:], last), around)[1::2]
    return held.copy_(tensor)


def close(actual: torch.Tensor, expected: torch.Tensor, bound: torch.Tensor | float = 0.0) -> None:
    """Within ``bound`` of ``expected`` (float64), plus half a unit in the last place and a bit."""
    assert actual.shape == expected.shape
    limits = torch.finfo(actual.dtype)
    rounding = 0.501 * limits.eps * expected.abs() + limits.smallest_normal * limits.eps
    difference = (actual.double() - expected).abs()
    assert not difference.isnan().any(), "NaN, or infinities of which one is expected"
    excess = difference - bound - rounding
    worst = float(excess.max()) if excess.numel() else 0.0
    assert worst <= 0, f"off by {float(difference.max()):.3g}, {worst:.3g} too much"
