"""The operations as PyTorch operators ``torch.ops.specdrive.NAME``, on CPUs and CUDA GPUs.

They take tensors and numbers only; `kernels.operations` wraps them for the dataclasses, and
`kernels.reference` defines what they compute. `torch.compile` and CUDA graphs see their shapes
without running them. Each checks its arguments (`kernels.checks`). None has a gradient.
``lora_sgmv`` and ``write_kv`` change what their schemas mark and return nothing; all other results
are new tensors. Back-ends are imported when they are first needed. Importing this module registers
the operators.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from kernels import checks
from kernels.kv_cache import KVCache
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.weights import QuantizedWeight

Tensor = torch.Tensor

SCHEMAS = {
    "int4_linear": "(Tensor x, Tensor blob, int n, int k, int group, int zero_kind, "
    "int activation_bits, Tensor? bias) -> Tensor",
    "int8_linear": "(Tensor x, Tensor blob, int n, int k, int group, int activation_bits, "
    "Tensor? bias) -> Tensor",
    "dense_linear": "(Tensor x, Tensor blob, int n, int k, int bits, Tensor? bias) -> Tensor",
    "w4a4_linear": "(Tensor x, Tensor low, Tensor high, Tensor order, int n, int k_low, "
    "int k_high, int group_low, int group_high, float clip) -> Tensor",
    "lora_sgmv": "(Tensor(a!) y, Tensor x, Tensor pool, Tensor indptr, Tensor a_pages, "
    "Tensor b_pages, Tensor rank_indptr, Tensor scales) -> ()",
    "rms_norm": "(Tensor x, Tensor weight, float eps) -> Tensor",
    "add_rms_norm": "(Tensor x, Tensor residual, Tensor weight, float eps) -> (Tensor, Tensor)",
    "rope": "(Tensor q, Tensor k, Tensor positions, Tensor cos, Tensor sin) -> (Tensor, Tensor)",
    "silu_mul": "(Tensor gate_up) -> Tensor",
    "embedding": "(Tensor ids, Tensor table) -> Tensor",
    "quantized_embedding": "(Tensor ids, Tensor codes, Tensor scales, Tensor? zeros, int bits, "
    "int group) -> Tensor",
    "write_kv": "(Tensor k, Tensor v, Tensor(a!) keys, Tensor(b!) values, "
    "Tensor(c!)? key_params, Tensor(d!)? value_params, Tensor slots, str kind) -> ()",
    "paged_attention": "(Tensor q, Tensor keys, Tensor values, Tensor? key_params, "
    "Tensor? value_params, Tensor block_tables, Tensor context_lens, Tensor query_indptr, "
    "float scale, str kind) -> Tensor",
    "sample": "(Tensor logits, Tensor draws, Tensor temperature, Tensor top_p) -> Tensor",
}
"""By name. A ``blob`` is that of a `kernels.packing.PackedWeight`."""


def _backend(tensor: Tensor, module: str) -> Any:
    """``kernels.cpu.MODULE`` or ``kernels.triton.MODULE``, by the tensor's device."""
    folder = "cpu" if tensor.device.type == "cpu" else "triton"
    return import_module(f"kernels.{folder}.{module}")


def _int4_linear(
    x: Tensor,
    blob: Tensor,
    n: int,
    k: int,
    group: int,
    zero_kind: int,
    activation_bits: int,
    bias: Tensor | None,
) -> Tensor:
    packed = PackedWeight(blob, n, k, group, 4, zero_kind)
    return _backend(x, "linear").int4_linear(x, packed, activation_bits, _widened(bias))


def _int8_linear(
    x: Tensor,
    blob: Tensor,
    n: int,
    k: int,
    group: int,
    activation_bits: int,
    bias: Tensor | None,
) -> Tensor:
    packed = PackedWeight(blob, n, k, group, 8, 0)
    return _backend(x, "linear").int8_linear(x, packed, activation_bits, _widened(bias))


def _dense_linear(
    x: Tensor, blob: Tensor, n: int, k: int, bits: int, bias: Tensor | None
) -> Tensor:
    if x.device.type == "cpu":
        packed = PackedWeight(blob, n, k, k, bits, 0)
        return _backend(x, "linear").dense_linear(x, packed, _widened(bias))
    # cuBLAS does this best; formats that differ meet in the wider one.
    weight = blob.view(torch.bfloat16 if bits == 16 else torch.float32).view(n, k)
    dtype = torch.promote_types(x.dtype, weight.dtype)
    bias = None if bias is None else bias.to(dtype)
    return torch.nn.functional.linear(x.to(dtype), weight.to(dtype), bias).to(x.dtype)


def _w4a4_linear(
    x: Tensor,
    low: Tensor,
    high: Tensor,
    order: Tensor,
    n: int,
    k_low: int,
    k_high: int,
    group_low: int,
    group_high: int,
    clip: float,
) -> Tensor:
    packed = PackedAtomWeight(
        PackedWeight(low, n, k_low, group_low, 4, 0),
        PackedWeight(high, n, k_high, group_high, 8, 0),
        order.contiguous(),
    )
    module = "linear" if x.device.type == "cpu" else "atom"
    return _backend(x, module).w4a4_linear(x, packed, clip)


def _lora_sgmv(
    y: Tensor,
    x: Tensor,
    pool: Tensor,
    indptr: Tensor,
    a_pages: Tensor,
    b_pages: Tensor,
    rank_indptr: Tensor,
    scales: Tensor,
) -> None:
    _backend(y, "lora").lora_sgmv(y, x, pool, indptr, a_pages, b_pages, rank_indptr, scales)


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _backend(x, "elementwise").rms_norm(x, weight, eps)


def _add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _backend(x, "elementwise").add_rms_norm(x, residual, weight, eps)


def _rope(
    q: Tensor, k: Tensor, positions: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor]:
    return _backend(q, "elementwise").rope(q, k, positions, cos, sin)


def _silu_mul(gate_up: Tensor) -> Tensor:
    return _backend(gate_up, "elementwise").silu_mul(gate_up)


def _embedding(ids: Tensor, table: Tensor) -> Tensor:
    return _backend(table, "elementwise").embedding(ids, table)


def _quantized_embedding(
    ids: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor | None, bits: int, group: int
) -> Tensor:
    table = QuantizedWeight(codes, scales, zeros, bits, group)
    return _backend(codes, "elementwise").embedding(ids, table)


def _write_kv(
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    values: Tensor,
    key_params: Tensor | None,
    value_params: Tensor | None,
    slots: Tensor,
    kind: Any,
) -> None:
    cache = KVCache(keys, values, key_params, value_params, kind)
    _backend(k, "attention").write_kv(k, v, cache, slots)


def _paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    key_params: Tensor | None,
    value_params: Tensor | None,
    block_tables: Tensor,
    context_lens: Tensor,
    query_indptr: Tensor,
    scale: float,
    kind: Any,
) -> Tensor:
    cache = KVCache(keys, values, key_params, value_params, kind)
    return _backend(q, "attention").paged_attention(
        q, cache, block_tables, context_lens, query_indptr, scale
    )


def _sample(logits: Tensor, draws: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    return _backend(logits, "sampling").sample(logits, draws, temperature, top_p)


def _widened(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.float().contiguous()


def _fake_linear(x: Tensor, _blob: Tensor, n: int, *_rest: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], n)


def _fake_w4a4(x: Tensor, _low: Tensor, _high: Tensor, _order: Tensor, n: int, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], n)


def _fake_in_place(*_arguments: Any) -> None:
    return None


def _fake_like(x: Tensor, *_rest: Any) -> Tensor:
    return x.new_empty(x.shape)


def _fake_pair(x: Tensor, y: Tensor, *_rest: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), y.new_empty(y.shape)


def _fake_half(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


def _fake_rows(ids: Tensor, table: Tensor) -> Tensor:
    return table.new_empty(ids.shape[0], table.shape[1])


def _fake_grid_rows(
    ids: Tensor, codes: Tensor, _scales: Tensor, _zeros: Tensor | None, bits: int, _group: int
) -> Tensor:
    width = codes.shape[1] * (2 if bits == 4 else 1)
    return codes.new_empty(ids.shape[0], width, dtype=torch.float32)


def _fake_tokens(logits: Tensor, *_rest: Any) -> Tensor:
    return logits.new_empty(logits.shape[0], dtype=torch.int64)


_IMPLEMENTATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "int4_linear": (_int4_linear, _fake_linear),
    "int8_linear": (_int8_linear, _fake_linear),
    "dense_linear": (_dense_linear, _fake_linear),
    "w4a4_linear": (_w4a4_linear, _fake_w4a4),
    "lora_sgmv": (_lora_sgmv, _fake_in_place),
    "rms_norm": (_rms_norm, _fake_like),
    "add_rms_norm": (_add_rms_norm, _fake_pair),
    "rope": (_rope, _fake_pair),
    "silu_mul": (_silu_mul, _fake_half),
    "embedding": (_embedding, _fake_rows),
    "quantized_embedding": (_quantized_embedding, _fake_grid_rows),
    "write_kv": (_write_kv, _fake_in_place),
    "paged_attention": (_paged_attention, _fake_like),
    "sample": (_sample, _fake_tokens),
}


def _register() -> None:
    for name, schema in SCHEMAS.items():
        real, fake = _IMPLEMENTATIONS[name]
        qualified = f"specdrive::{name}"
        torch.library.define(qualified, schema, tags=torch.Tag.pt2_compliant_tag)
        torch.library.impl(qualified, ("cpu", "cuda"), _checked(name, real))
        torch.library.register_fake(qualified, _checked(name, fake))


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    check = getattr(checks, name)

    def call(*arguments: Any) -> Any:
        check(*arguments)
        return function(*arguments)

    return call


_register()
