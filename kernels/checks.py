"""What the operators refuse: one clear line for each tensor that does not fit.

Each function takes the flat arguments of the operator of its name (`kernels.operators`). Only
shapes, formats, strides and devices are looked at, never the numbers in a tensor, so that the same
checks serve tensors without memory, and a GPU is never waited for.
"""

from __future__ import annotations

import torch

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
"""Number formats of activations."""

_INT32 = (torch.int32,)
_FLOAT32 = (torch.float32,)


def expect(
    name: str,
    tensor: torch.Tensor,
    dtypes: tuple[torch.dtype, ...],
    shape: tuple[int | str, ...],
    like: torch.Tensor | None = None,
) -> None:
    """Check one tensor.

    Args:
        name: For the message.
        tensor: To check.
        dtypes: Formats that it may have.
        shape: Sizes that it must have; a name stands for any size.
        like: It must be on the device of this one.

    Raises:
        ValueError: It has another shape or format, or is elsewhere.
    """
    fits = tensor.dim() == len(shape) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits or tensor.dtype not in dtypes:
        formats = " or ".join(str(one).removeprefix("torch.") for one in dtypes)
        sizes = ", ".join(str(size) for size in shape)
        found = f"{str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}"
        raise ValueError(f"{name} must be {formats} [{sizes}], not {found}")
    if like is not None and tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device}, the other tensors on {like.device}")


def int4_linear(
    x: torch.Tensor,
    blob: torch.Tensor,
    n: int,
    k: int,
    group: int,
    zero_kind: int,
    activation_bits: int,
    bias: torch.Tensor | None,
) -> None:
    """See the module."""
    _grid(group, k, activation_bits)
    if zero_kind not in (0, 1, 2):
        raise ValueError(f"zero_kind must be 0, 1 or 2, not {zero_kind}")
    _linear(x, blob, n, k, bias)


def int8_linear(
    x: torch.Tensor,
    blob: torch.Tensor,
    n: int,
    k: int,
    group: int,
    activation_bits: int,
    bias: torch.Tensor | None,
) -> None:
    """See the module."""
    _grid(group, k, activation_bits)
    _linear(x, blob, n, k, bias)


def dense_linear(
    x: torch.Tensor, blob: torch.Tensor, n: int, k: int, bits: int, bias: torch.Tensor | None
) -> None:
    """See the module."""
    if bits not in (16, 32):
        raise ValueError(f"bits must be 16 or 32, not {bits}")
    _linear(x, blob, n, k, bias)


def w4a4_linear(
    x: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    order: torch.Tensor,
    n: int,
    low_k: int,
    high_k: int,
    low_group: int,
    high_group: int,
    clip: float,
) -> None:
    """See the module."""
    _grid(low_group, low_k, 8)
    _grid(high_group, high_k, 8)
    if not 0 < clip <= 1:
        raise ValueError(f"clip must be above 0 and at most 1, not {clip}")
    expect("order", order, _INT32, (low_k + high_k,), x)
    expect("the packed weight", high, (torch.uint8,), ("bytes",), x)
    _linear(x, low, n, low_k + high_k, None)


def lora_sgmv(
    y: torch.Tensor,
    x: torch.Tensor,
    pool: torch.Tensor,
    indptr: torch.Tensor,
    a_pages: torch.Tensor,
    b_pages: torch.Tensor,
    rank_indptr: torch.Tensor,
    scales: torch.Tensor,
) -> None:
    """See the module."""
    expect("y", y, FLOATS, ("M", "N"))
    expect("x", x, (y.dtype,), (y.shape[0], "K"), y)
    expect("pool", pool, FLOATS, ("pages", "P"), y)
    page = pool.shape[1]
    if page == 0 or page % 16:
        raise ValueError(f"pages of the pool must hold a multiple of 16 numbers, not {page}")
    expect("scales", scales, _FLOAT32, ("S",), y)
    segments = scales.shape[0]
    expect("indptr", indptr, _INT32, (segments + 1,), y)
    expect("rank_indptr", rank_indptr, _INT32, (segments + 1,), y)
    expect("a_pages", a_pages, _INT32, ("R", "pages"), y)
    expect("b_pages", b_pages, _INT32, (a_pages.shape[0], "pages"), y)
    for name, pages, width in (("a_pages", a_pages, x.shape[1]), ("b_pages", b_pages, y.shape[1])):
        least = -(-width // page)
        if pages.shape[1] < least:
            raise ValueError(
                f"{name} must have at least {least} pages a row for {width} numbers in pages of "
                f"{page}, not {pages.shape[1]}"
            )
    if y.shape[1] > 1 and y.stride(1) != 1:
        raise ValueError("the columns of y must be consecutive in memory")
    for name, tensor in (
        ("pool", pool),
        ("indptr", indptr),
        ("rank_indptr", rank_indptr),
        ("scales", scales),
    ):
        _contiguous(name, tensor)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> None:
    """See the module."""
    _rows("x", x)
    expect("weight", weight, FLOATS, (x.shape[-1],), x)
    _eps(eps)


def add_rms_norm(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float) -> None:
    """See the module."""
    rms_norm(x, weight, eps)
    expect("residual", residual, (x.dtype,), tuple(x.shape), x)


def rope(
    q: torch.Tensor,
    k: torch.Tensor,
    positions: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> None:
    """See the module."""
    expect("q", q, FLOATS, ("T", "Hq", "D"))
    tokens, _, dim = q.shape
    if dim % 2:
        raise ValueError(f"the width of a head must be even, not {dim}")
    expect("k", k, (q.dtype,), (tokens, "Hk", dim), q)
    expect("positions", positions, _INT32, (tokens,), q)
    expect("cos", cos, _FLOAT32, ("P", dim // 2), q)
    expect("sin", sin, _FLOAT32, (cos.shape[0], dim // 2), q)


def silu_mul(gate_up: torch.Tensor) -> None:
    """See the module."""
    _rows("gate_up", gate_up)
    if gate_up.shape[-1] % 2:
        raise ValueError(f"gate_up must have an even number of columns, not {gate_up.shape[-1]}")


def embedding(ids: torch.Tensor, weight: torch.Tensor) -> None:
    """See the module."""
    expect("weight", weight, FLOATS, ("V", "K"))
    expect("ids", ids, (torch.int32, torch.int64), ("T",), weight)


def quantized_embedding(
    ids: torch.Tensor,
    codes: torch.Tensor,
    scales: torch.Tensor,
    zeros: torch.Tensor | None,
    bits: int,
    group: int,
) -> None:
    """See the module."""
    if bits not in (4, 8):
        raise ValueError(f"bits must be 4 or 8, not {bits}")
    expect("codes", codes, (torch.uint8 if bits == 4 else torch.int8,), ("V", "K"))
    rows, stored = codes.shape
    k = stored * 2 if bits == 4 else stored
    _grid(group, k, 8)
    expect("scales", scales, (torch.float16,), (rows, k // group), codes)
    if zeros is not None:
        if bits == 8:
            raise ValueError("8-bit weights are symmetric: zeros must be None")
        expect("zeros", zeros, (torch.uint8, torch.float16), (rows, k // group), codes)
    expect("ids", ids, (torch.int32, torch.int64), ("T",), codes)


def write_kv(
    k: torch.Tensor,
    v: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    key_params: torch.Tensor | None,
    value_params: torch.Tensor | None,
    slots: torch.Tensor,
    kind: str,
) -> None:
    """See the module."""
    expect("k", k, FLOATS, ("T", "Hkv", "D"))
    expect("v", v, (k.dtype,), tuple(k.shape), k)
    heads, dim = _cache(keys, values, key_params, value_params, kind, k)
    if (heads, dim) != tuple(k.shape[1:]):
        raise ValueError(
            f"keys of {k.shape[1]} heads of {k.shape[2]} do not fit a cache of {heads} of {dim}"
        )
    expect("slots", slots, (torch.int64,), (k.shape[0],), k)


def paged_attention(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    key_params: torch.Tensor | None,
    value_params: torch.Tensor | None,
    block_tables: torch.Tensor,
    context_lens: torch.Tensor,
    query_indptr: torch.Tensor,
    scale: float,
    kind: str,
) -> None:
    """See the module."""
    expect("q", q, FLOATS, ("T", "Hq", "D"))
    heads, dim = _cache(keys, values, key_params, value_params, kind, q)
    if heads == 0 or q.shape[1] % heads or q.shape[2] != dim:
        raise ValueError(
            f"queries of {q.shape[1]} heads of {q.shape[2]} do not fit a cache of {heads} of {dim}"
        )
    expect("block_tables", block_tables, _INT32, ("B", "X"), q)
    batch = block_tables.shape[0]
    expect("context_lens", context_lens, _INT32, (batch,), q)
    expect("query_indptr", query_indptr, _INT32, (batch + 1,), q)
    if not abs(scale) < float("inf"):
        raise ValueError(f"scale must be finite, not {scale}")


def sample(
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> None:
    """See the module."""
    expect("logits", logits, FLOATS, ("M", "V"))
    rows, vocabulary = logits.shape
    if vocabulary == 0:
        raise ValueError("logits have no columns: there is nothing to sample")
    expect("draws", draws, (torch.float64,), (rows,), logits)
    expect("temperature", temperature, _FLOAT32, (rows,), logits)
    expect("top_p", top_p, _FLOAT32, (rows,), logits)


def _grid(group: int, k: int, activation_bits: int) -> None:
    if group < 1 or group % 8 or k % group:
        raise ValueError(f"group {group} does not divide K = {k} in multiples of 8")
    if activation_bits not in (8, 16):
        raise ValueError(f"activation_bits must be 16 or 8, not {activation_bits}")


def _linear(x: torch.Tensor, blob: torch.Tensor, n: int, k: int, bias: torch.Tensor | None) -> None:
    _rows("x", x)
    if n < 0 or k < 0:
        raise ValueError(f"a weight cannot be [{n}, {k}]")
    if x.shape[-1] != k:
        raise ValueError(f"x must be [..., {k}], not {[*x.shape]}")
    expect("the packed weight", blob, (torch.uint8,), ("bytes",), x)
    if bias is not None:
        expect("bias", bias, FLOATS, (n,), x)


def _rows(name: str, tensor: torch.Tensor) -> None:
    if tensor.dim() == 0 or tensor.dtype not in FLOATS:
        raise ValueError(
            f"{name} must be float32, bfloat16 or float16 [..., K], "
            f"not {str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}"
        )


def _eps(eps: float) -> None:
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps must be finite and at least 0, not {eps}")


def _contiguous(name: str, tensor: torch.Tensor) -> None:
    if not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous")


def _cache(
    keys: torch.Tensor,
    values: torch.Tensor,
    key_params: torch.Tensor | None,
    value_params: torch.Tensor | None,
    kind: str,
    like: torch.Tensor,
) -> tuple[int, int]:
    """Check a cache; its heads and their width."""
    if kind not in ("bf16", "int8", "int4"):
        raise ValueError(f"the kind of a cache must be bf16, int8 or int4, not {kind!r}")
    dtype = torch.bfloat16 if kind == "bf16" else torch.uint8
    expect("keys", keys, (dtype,), ("blocks", "Hkv", "block_size", "D"), like)
    expect("values", values, (dtype,), tuple(keys.shape), like)
    _contiguous("keys", keys)
    _contiguous("values", values)
    for name, params in (("key_params", key_params), ("value_params", value_params)):
        if (params is None) != (kind == "bf16"):
            raise ValueError(
                f"{name} of a cache of {kind} must {'' if params is None else 'not '}be given"
            )
        if params is not None:
            expect(name, params, (torch.float16,), (*keys.shape[:3], 2), like)
            _contiguous(name, params)
    return keys.shape[1], keys.shape[3] * (2 if kind == "int4" else 1)
