"""The definitions against plain loops, PyTorch's and transformers' functions, and the sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import (
    AttentionCase,
    LinearCase,
    LoraCase,
    SampleCase,
    atom_cases,
    attention_cases,
    linear_cases,
    lora_cases,
    sample_cases,
    seeds,
    write_cases,
)

from kernels import reference
from kernels.kv_cache import KVCache
from kernels.weights import AtomWeight, QuantizedWeight

examples = settings(max_examples=15, deadline=None)
narrow = linear_cases(groups=(8, 16), rows=(0, 1, 2), most_outputs=5)


def code(weight: QuantizedWeight, n: int, k: int) -> int:
    """One code, as the format's description says."""
    if weight.bits == 8:
        return int(weight.codes[n, k])
    byte = int(weight.codes[n, k // 2])
    return byte >> 4 if k % 2 else byte & 15


def number(weight: QuantizedWeight, n: int, k: int) -> float:
    """One weight, as the format's description says."""
    g = k // weight.group
    scale, q = float(weight.scales[n, g]), code(weight, n, k)
    if weight.zeros is None:
        return scale * (q - 8 if weight.bits == 4 else q)
    zero = float(weight.zeros[n, g])
    return scale * q + zero if weight.zeros.is_floating_point() else scale * (q - zero)


def on_grid(x: list[float], levels: int, clip: float) -> tuple[list[int], float]:
    """One group's codes and scale, in NumPy's float32."""
    numbers = np.array(x, dtype=np.float32)
    largest = np.float32(np.abs(numbers).max() * np.float32(clip))
    if largest == 0:
        return [0] * len(x), 0.0
    inverse = np.float32(levels) / largest
    least = -8 if levels == 7 else -127
    codes = [min(max(round(float(one * inverse)), least), levels) for one in numbers]
    return codes, float(largest / np.float32(levels))


def by_hand(
    x: list[float], weight: QuantizedWeight, n: int, levels: int = 127, clip: float = 1.0
) -> float:
    """One output from integer activations."""
    total = 0.0
    for start in range(0, len(x), weight.group):
        codes, scale = on_grid(x[start : start + weight.group], levels, clip)
        total += scale * sum(q * number(weight, n, start + i) for i, q in enumerate(codes))
    return total


@given(case=narrow)
@examples
def test_products_by_hand(case: LinearCase) -> None:
    weight = case.weight
    assert isinstance(weight, QuantizedWeight)
    got = case.expected()
    for row, x in enumerate(case.x.double().tolist()):
        for n in range(weight.shape[0]):
            if case.activation_bits == 8:
                total = by_hand(x, weight, n)
            else:
                total = math.fsum(one * number(weight, n, k) for k, one in enumerate(x))
            bias = 0.0 if case.bias is None else float(case.bias[n])
            assert float(got[row, n]) == pytest.approx(total + bias, rel=1e-9, abs=1e-9)


@given(case=atom_cases(groups=(8,), rows=(0, 1, 2)))
@settings(max_examples=5, deadline=None)
def test_mixed_precision_by_hand(case: LinearCase) -> None:
    weight = case.weight
    assert isinstance(weight, AtomWeight)
    got, split = case.expected(), weight.low.shape[1]
    for row, x in enumerate(case.x.double().tolist()):
        ordered = [x[column] for column in weight.order.tolist()]
        for n in range(min(weight.shape[0], 4)):
            low = by_hand(ordered[:split], weight.low, n, 7, case.clip)
            high = by_hand(ordered[split:], weight.high, n)
            assert float(got[row, n]) == pytest.approx(low + high, rel=1e-9, abs=1e-9)


@given(case=narrow)
@examples
def test_rounded_formats_are_near_the_wide_one(case: LinearCase) -> None:
    """float32 and 16-bit inputs give the float64 result, rounded once."""
    linear = reference.int4_linear if case.weight.bits == 4 else reference.int8_linear  # type: ignore[union-attr]
    got = linear(case.x, case.weight, case.activation_bits, case.bias)  # type: ignore[arg-type]
    case.check(got, 2.0**-20)


@given(case=lora_cases(most_rank=6))
@examples
def test_adapters_by_hand(case: LoraCase) -> None:
    """A loop over rows, with A and B put together number by number."""
    got = reference.lora_sgmv(case.y.double(), case.x.double(), *case.tables)
    page = case.pool.shape[1]

    def gathered(pages: torch.Tensor, width: int) -> torch.Tensor:
        return torch.tensor([float(case.pool[pages[i // page], i % page]) for i in range(width)])

    wanted = case.y.double()
    for segment, scale in enumerate(case.scales.tolist()):
        ranks = range(int(case.rank_indptr[segment]), int(case.rank_indptr[segment + 1]))
        pairs = [
            (
                gathered(case.a_pages[r], case.x.shape[1]).double(),
                gathered(case.b_pages[r], case.y.shape[1]).double(),
            )
            for r in ranks
        ]
        for row in range(int(case.indptr[segment]), int(case.indptr[segment + 1])):
            for a, b in pairs:
                wanted[row] += scale * case.x[row].double().dot(a) * b
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10, equal_nan=True)


@given(case=attention_cases(widths=(8, 16)))
@examples
def test_attention_is_pytorchs(case: AttentionCase) -> None:
    got = case.expected()
    keys, values = reference.read_kv(case.cache, torch.float64)
    for b, length in enumerate(case.context_lens.tolist()):
        rows = slice(int(case.query_indptr[b]), int(case.query_indptr[b + 1]))
        count = rows.stop - rows.start
        if not count:
            continue
        size = case.cache.block_size
        blocks = case.block_tables[b, : -(-length // size)].long()
        own_keys, own_values = (
            one[blocks].permute(1, 0, 2, 3).flatten(1, 2)[:, :length] for one in (keys, values)
        )
        mask = torch.ones(count, length, dtype=torch.bool).tril(length - count)
        wanted = torch.nn.functional.scaled_dot_product_attention(
            case.q[rows].double().transpose(0, 1)[None],
            own_keys[None],
            own_values[None],
            attn_mask=mask,
            scale=case.scale,
            enable_gqa=True,
        )
        torch.testing.assert_close(got[rows], wanted[0].transpose(0, 1), rtol=1e-9, atol=1e-9)


@given(case=write_cases(kinds=("int8", "int4")))
@examples
def test_caches_lose_half_a_step(
    case: tuple[torch.Tensor, torch.Tensor, KVCache, torch.Tensor],
) -> None:
    k, v, cache, slots = case
    reference.write_kv(k, v, cache, slots)
    keys, values = reference.read_kv(cache, torch.float64)
    levels = 255 if cache.kind == "int8" else 15
    for token, slot in enumerate(slots.tolist()):
        block, offset = divmod(slot, cache.block_size)
        for numbers, stored in ((k, keys), (v, values)) if slot >= 0 else ():
            for head in range(cache.kv_heads):
                own = numbers[token, head].double()
                step = float(own.max() - own.min()) / levels
                # Scale and minimum are rounded to 11 bits.
                rounding = levels * (step * 2**-10 + 2**-24) + float(own.abs().max()) * 2**-10
                bound = 0.5 * step + rounding + 2**-24
                assert float((stored[block, head, offset] - own).abs().max()) <= bound
    written = {slot for slot in slots.tolist() if slot >= 0}
    for slot in set(range(cache.blocks * cache.block_size)) - written:
        block, offset = divmod(slot, cache.block_size)
        assert keys[block, :, offset].isnan().all(), "a slot that was not given has changed"


def test_nibbles_of_a_cache() -> None:
    """Numbers 0 to 15: they are their own codes, the even dimension in the low nibble."""
    from kernels.kv_cache import allocate_kv_cache

    cache = allocate_kv_cache(2, 1, 3, 16, "int4")
    k = torch.arange(16.0).view(1, 1, 16)
    reference.write_kv(k, k.flip(-1), cache, torch.tensor([4]))
    assert cache.keys[1, 0, 1].tolist() == [0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE]
    assert cache.values[1, 0, 1].tolist() == [0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01]
    assert cache.key_params is not None
    assert cache.key_params[1, 0, 1].tolist() == [1.0, 0.0]


@given(seed=seeds, tokens=st.integers(1, 6), heads=st.integers(1, 3))
@examples
def test_rotation_is_transformers(seed: int, tokens: int, heads: int) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, tokens, heads, 16, generator=generator, dtype=torch.float64)
    angles = torch.randn(20, 8, generator=generator)
    positions = torch.randint(20, (tokens,), generator=generator, dtype=torch.int32)
    got = reference.rope(q, k, positions, angles.cos(), angles.sin())
    cos, sin = (
        torch.cat([table, table], dim=-1)[positions.long()][None].double()
        for table in (angles.cos(), angles.sin())
    )
    wanted = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], cos, sin)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other[0].transpose(0, 1), rtol=1e-12, atol=1e-12)


@given(seed=seeds, eps=st.sampled_from((1e-6, 1e-2)))
@examples
def test_norm_and_gate_are_pytorchs(seed: int, eps: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, residual = torch.randn(2, 4, 30, generator=generator, dtype=torch.float64)
    weight = torch.rand(30, generator=generator, dtype=torch.float64)
    norm, total = reference.add_rms_norm(x, residual, weight, eps)
    torch.testing.assert_close(total, x + residual, rtol=0, atol=0)
    torch.testing.assert_close(norm, torch.nn.functional.rms_norm(total, (30,), weight, eps))
    gate, up = x[:, :15], x[:, 15:]
    torch.testing.assert_close(reference.silu_mul(x), gate / (1 + (-gate).exp()) * up)


@given(case=sample_cases(most_tokens=700))
@settings(max_examples=40, deadline=None)
def test_sampling_is_that_of_the_pipeline(case: SampleCase) -> None:
    """Its sums are float32: the same token unless the draw is at a boundary."""
    from pipeline.decoding import choose

    for row in range(len(case.draws)):
        temperature, top_p = float(case.temperature[row]), float(case.top_p[row])
        wanted = choose(case.logits[row : row + 1], [float(case.draws[row])], temperature, top_p)
        arguments = (one[row : row + 1] for one in case.arguments)
        one = SampleCase(*arguments)
        one.check(torch.tensor(wanted), precision=1e-5)
        one.check(reference.sample(*one.arguments), precision=1e-12)


def test_sampling_by_hand() -> None:
    """Probabilities 0.1, 0.4, 0.3, 0.2: in the order of tokens, and the two most probable."""
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()

    def chosen(draw: float, top_p: float) -> int:
        drawn = torch.tensor([draw], dtype=torch.float64)
        return int(reference.sample(logits, drawn, torch.ones(1), torch.tensor([top_p])))

    assert [chosen(draw, 1.0) for draw in (0.0, 0.09, 0.11, 0.49, 0.51, 0.79, 0.81)] == [
        0, 0, 1, 1, 2, 2, 3,
    ]  # fmt: skip
    # 0.4 + 0.3 are scaled to 1: the first holds 4/7.
    assert [chosen(draw, 0.6) for draw in (0.0, 0.57, 0.58, 0.99)] == [1, 1, 2, 2]
    assert chosen(0.99, 0.39) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("draws", 1.0), ("draws", float("nan")), ("temperature", -0.1), ("top_p", 0.0)],
)
def test_sampling_refuses_numbers_out_of_range(name: str, value: float) -> None:
    arguments = {
        "logits": torch.zeros(3, 5),
        "draws": torch.zeros(3, dtype=torch.float64),
        "temperature": torch.ones(3),
        "top_p": torch.ones(3),
    }
    arguments[name][1] = value
    with pytest.raises(ValueError, match=f"{name} of row 1"):
        reference.sample(**arguments)


@pytest.mark.parametrize("row", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_sampling_refuses_logits_without_distribution(row: list[float]) -> None:
    ones = torch.ones(1)
    with pytest.raises(ValueError, match="logits of row 0"):
        reference.sample(torch.tensor([row]), ones.double() * 0.5, ones, ones)
