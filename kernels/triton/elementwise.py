"""Operations on rows on a GPU: norms, rotary positions, gated activation, embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.triton import elementwise_kernels as kernels
from kernels.triton.launch import Launch, ceil_div, power_of_two

if TYPE_CHECKING:
    from kernels.weights import QuantizedWeight

_LONGEST = 8192
"""Values of a row that one program of a norm keeps in registers."""


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """`kernels.reference.elementwise.rms_norm` of [..., K]."""
    rows = _rows(x)
    out = torch.empty(rows.shape, dtype=x.dtype, device=x.device)
    if out.numel():
        norm_launch(out, None, rows, None, weight, eps).run()
    return out.view(x.shape)


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`kernels.reference.elementwise.add_rms_norm`: the norm of the sum, and the sum."""
    rows, others = _rows(x), _rows(residual)
    out = torch.empty(rows.shape, dtype=x.dtype, device=x.device)
    total = torch.empty_like(out)
    if out.numel():
        norm_launch(out, total, rows, others, weight, eps).run()
    return out.view(x.shape), total.view(x.shape)


def norm_launch(
    out: torch.Tensor,
    total: torch.Tensor | None,
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor,
    eps: float,
) -> Launch:
    """What to launch for `rms_norm`, or with a residual for `add_rms_norm`."""
    rows, columns = x.shape
    block = min(power_of_two(columns), _LONGEST)
    arguments = {
        "out": out,
        "total": total,
        "x": x,
        "residual": residual,
        "weight": weight,
        "columns": columns,
        "stride_x": x.stride(0),
        "stride_residual": 0 if residual is None else residual.stride(0),
        "eps": float(eps),
        "ADD": residual is not None,
        "BLOCK": block,
        "PASSES": ceil_div(columns, block),
    }
    return Launch(kernels.rms_rows, (rows,), arguments, warps=_warps(block))


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`kernels.reference.elementwise.rope` of q [T, Hq, D] and k [T, Hk, D]."""
    q, k = (part if part.stride(2) == 1 else part.contiguous() for part in (q, k))
    q_out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    k_out = torch.empty(k.shape, dtype=k.dtype, device=k.device)
    if q.shape[0] and q.shape[2]:
        rope_launch(q_out, k_out, q, k, positions, cos.contiguous(), sin.contiguous()).run()
    return q_out, k_out


def rope_launch(
    q_out: torch.Tensor,
    k_out: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> Launch:
    """What to launch for `rope`."""
    half = q.shape[2] // 2
    width = power_of_two(half)
    block = max(1, min(power_of_two(q.shape[1]), 2048 // width))
    arguments = {
        "q_out": q_out,
        "k_out": k_out,
        "q": q,
        "k": k,
        "positions": positions,
        "cosines": cos,
        "sines": sin,
        "heads": q.shape[1],
        "kv_heads": k.shape[1],
        "stride_q": q.stride(0),
        "stride_qh": q.stride(1),
        "stride_k": k.stride(0),
        "stride_kh": k.stride(1),
        "HALF": half,
        "BLOCK_H": block,
        "BLOCK_D": width,
    }
    return Launch(kernels.rotate, (q.shape[0],), arguments, warps=_warps(block * width))


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """`kernels.reference.elementwise.silu_mul` of [..., 2 I]."""
    rows = _rows(gate_up)
    columns = rows.shape[1] // 2
    out = torch.empty(rows.shape[0], columns, dtype=rows.dtype, device=rows.device)
    if out.numel():
        gated_launch(out, rows).run()
    return out.view(*gate_up.shape[:-1], columns)


def gated_launch(out: torch.Tensor, gate_up: torch.Tensor) -> Launch:
    """What to launch for `silu_mul`."""
    rows, columns = out.shape
    block = min(1024, power_of_two(columns))
    arguments = {
        "out": out,
        "gate_up": gate_up,
        "columns": columns,
        "stride": gate_up.stride(0),
        "BLOCK": block,
    }
    return Launch(kernels.gated, (rows, ceil_div(columns, block)), arguments, warps=_warps(block))


def embedding(ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight) -> torch.Tensor:
    """`kernels.reference.elementwise.embedding`: rows of a table [V, K], which may be quantized.

    Ids outside the table give rows of NaN: nothing is read back to raise an error.
    """
    columns = weight.shape[1]
    dtype = weight.dtype if isinstance(weight, torch.Tensor) else torch.float32
    out = torch.empty(ids.shape[0], columns, dtype=dtype, device=ids.device)
    if out.numel():
        embedding_launch(out, ids, weight).run()
    return out


def embedding_launch(
    out: torch.Tensor, ids: torch.Tensor, weight: torch.Tensor | QuantizedWeight
) -> Launch:
    """What to launch for `embedding`."""
    tokens, columns = out.shape
    block = min(1024, power_of_two(columns))
    common = {"out": out, "ids": ids, "rows": weight.shape[0], "columns": columns, "BLOCK": block}
    grid = (tokens, ceil_div(columns, block))
    if isinstance(weight, torch.Tensor):
        table = weight if columns == 1 or weight.stride(1) == 1 else weight.contiguous()
        own = {"table": table, "stride": table.stride(0)}
        return Launch(kernels.gather, grid, {**common, **own}, warps=_warps(block))
    own = {
        "codes": weight.codes.contiguous(),
        "scales": weight.scales.contiguous(),
        "zeros": None if weight.zeros is None else weight.zeros.contiguous(),
        "groups": weight.scales.shape[1],
        "GROUP": weight.group,
        "BITS": weight.bits,
        "ZERO": weight.zero_kind,
    }
    return Launch(kernels.gather_codes, grid, {**common, **own}, warps=_warps(block))


def _rows(x: torch.Tensor) -> torch.Tensor:
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _warps(values: int) -> int:
    """For about eight values per thread."""
    return max(1, min(16, power_of_two(values // 256)))
