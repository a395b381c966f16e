"""What operations refuse, with one line that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from operator_cases import activations, grid_weight

import kernels
from kernels.kv_cache import Kind
from kernels.packing import PackedWeight
from kernels.weights import AtomWeight, QuantizedWeight

generator = torch.Generator().manual_seed(0)
WEIGHT = grid_weight(generator, 20, 64, 32, "zero_points")
EIGHTS = grid_weight(generator, 20, 64, 32, "int8")
ATOM = AtomWeight(
    grid_weight(generator, 20, 64, 32, "symmetric"), EIGHTS, torch.arange(128, dtype=torch.int32)
)
X = activations(generator, 3, 64, 32)
DOUBLES = torch.zeros(3, dtype=torch.float64)
ZEROS, ONES, COUNT = torch.zeros(3), torch.ones(3), torch.arange(3, dtype=torch.int32)


def refused(message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def flat(x: torch.Tensor, packed: PackedWeight, **changed: Any) -> torch.Tensor:
    """The operator itself."""
    numbers = {"n": packed.n, "k": packed.k, "group": packed.group, **changed}
    return torch.ops.specdrive.int4_linear(
        x, packed.blob, *numbers.values(), packed.zero_kind, 16, None
    )


PRODUCTS: dict[str, Callable[[PackedWeight], Any]] = {
    "x must be [..., 64], not [3, 40]": lambda w: kernels.int4_linear(X[:, :40], w),
    "x must be float32, bfloat16 or float16 [..., K], not float64 [3, 64]": (
        lambda w: kernels.int4_linear(X.double(), w)
    ),
    "x must be float32, bfloat16 or float16 [..., K], not float32 []": (
        lambda w: kernels.int4_linear(X[0, 0], w)
    ),
    "bias must be float32 or bfloat16 or float16 [20], not float32 [3]": (
        lambda w: kernels.int4_linear(X, w, 16, ONES)
    ),
    "activation_bits must be 16 or 8, not 4": lambda w: kernels.int4_linear(X, w, 4),
    "the weight must have 8 bits, not 4": lambda w: kernels.int8_linear(X, w),
    "the weight must have 16 or 32 bits, not 4": lambda w: kernels.dense_linear(X, w),
    "must be packed by kernels.pack, not a QuantizedWeight": (
        lambda _: kernels.int4_linear(X, WEIGHT)  # type: ignore[arg-type]
    ),
    "must be packed by kernels.pack, not a PackedWeight": (
        lambda w: kernels.w4a4_linear(X, w)  # type: ignore[arg-type]
    ),
    "group 48 does not divide K = 64": lambda w: flat(X, w, group=48),
    "group 4 does not divide K = 64 in multiples of 8": lambda w: flat(X, w, group=4),
    "group 0 does not divide K = 64": lambda w: flat(X, w, group=0),
    "a weight cannot be [-1, 64]": lambda w: flat(X, w, n=-1),
    "a packed weight [2000, 64] of 4 bits has": lambda w: flat(X, w, n=2000),
}


@pytest.mark.parametrize("message", PRODUCTS)
def test_products(message: str) -> None:
    refused(message, lambda: PRODUCTS[message](kernels.pack(WEIGHT)))


@pytest.mark.parametrize("clip", [0.0, 1.5, float("nan")])
def test_clip_of_mixed_precision(clip: float) -> None:
    packed = kernels.pack(ATOM)
    refused(
        "clip must be above 0 and at most 1",
        lambda: kernels.w4a4_linear(X.repeat(1, 2), packed, clip),
    )


def lora(**changed: Any) -> Callable[[], Any]:
    """A call with two segments of one and two rows, of rank 1 and 2."""
    arguments = {
        "y": torch.zeros(3, 20),
        "x": torch.zeros(3, 40),
        "pool": torch.zeros(12, 16),
        "indptr": torch.tensor([0, 1, 3], dtype=torch.int32),
        "a_pages": torch.zeros(3, 3, dtype=torch.int32),
        "b_pages": torch.zeros(3, 2, dtype=torch.int32),
        "rank_indptr": torch.tensor([0, 1, 3], dtype=torch.int32),
        "scales": torch.ones(2),
    }
    return lambda: kernels.lora_sgmv(**{**arguments, **changed})


def test_the_adapters_that_others_are_made_from_pass() -> None:
    lora()()


ints = torch.int32
ADAPTERS: dict[str, dict[str, torch.Tensor]] = {
    "y must be float32 or bfloat16 or float16 [M, N], not int32 [3]": {"y": COUNT},
    "x must be bfloat16 [3, K], not float32 [3, 40]": {"y": torch.zeros(3, 20).bfloat16()},
    "x must be float32 [3, K], not float32 [2, 40]": {"x": torch.zeros(2, 40)},
    "pages of the pool must hold a multiple of 16 numbers, not 24": {"pool": torch.zeros(9, 24)},
    "pages of the pool must hold a multiple of 16 numbers, not 0": {"pool": torch.zeros(9, 0)},
    "pool must be contiguous": {"pool": torch.zeros(12, 32)[:, :16]},
    "scales must be float32 [S], not float64 [2]": {"scales": torch.ones(2).double()},
    "indptr must be int32 [3], not int64 [3]": {"indptr": torch.tensor([0, 1, 3])},
    "indptr must be int32 [3], not int32 [2]": {"indptr": torch.zeros(2, dtype=ints)},
    "rank_indptr must be int32 [3], not int32 [4]": {"rank_indptr": torch.zeros(4, dtype=ints)},
    "a_pages must have at least 3 pages a row for 40 numbers in pages of 16, not 2": {
        "a_pages": torch.zeros(3, 2, dtype=ints)
    },
    "b_pages must be int32 [3, pages], not int32 [2, 2]": {
        "b_pages": torch.zeros(2, 2, dtype=ints)
    },
    "the columns of y must be consecutive": {"y": torch.zeros(20, 3).T},
}


@pytest.mark.parametrize("message", ADAPTERS)
def test_adapters(message: str) -> None:
    refused(message, lora(**ADAPTERS[message]))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("indptr", [0, 2, 1]),
        ("indptr", [0, 1, 4]),
        ("indptr", [-1, 1, 3]),
        ("rank_indptr", [0, 2, 1]),
        ("rank_indptr", [0, 1, 4]),
    ],
)
def test_adapters_that_lead_out_of_a_tensor(name: str, numbers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        lora(**{name: torch.tensor(numbers, dtype=torch.int32)})()


@pytest.mark.parametrize("name", ["a_pages", "b_pages"])
@pytest.mark.parametrize("page", [-1, 12])
def test_pages_that_are_not_in_the_pool(name: str, page: int) -> None:
    pages = torch.zeros(3, 3 if name == "a_pages" else 2, dtype=torch.int32)
    pages[2, 1] = page
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        lora(**{name: pages})()


ROWS: dict[str, Callable[[], Any]] = {
    "weight must be float32 or bfloat16 or float16 [64], not float32 [3]": (
        lambda: kernels.rms_norm(X, ONES, 1e-5)
    ),
    "eps must be finite and at least 0, not -1.0": lambda: kernels.rms_norm(X, X[0], -1.0),
    "residual must be float32 [3, 64], not float32 [2, 64]": (
        lambda: kernels.add_rms_norm(X, X[:2], X[0], 1e-5)
    ),
    "residual must be bfloat16 [3, 64], not float32 [3, 64]": (
        lambda: kernels.add_rms_norm(X.bfloat16(), X, X[0], 1e-5)
    ),
    "gate_up must have an even number of columns, not 3": lambda: kernels.silu_mul(ONES),
    "gate_up must be float32, bfloat16 or float16 [..., K], not int32 [3]": (
        lambda: kernels.silu_mul(COUNT)
    ),
    "ids must be int32 or int64 [T], not float32 [3]": lambda: kernels.embedding(ONES, X),
    "ids must be int32 or int64 [T], not int32 [3, 1]": (
        lambda: kernels.embedding(COUNT[:, None], WEIGHT)
    ),
    "weight must be float32 or bfloat16 or float16 [V, K], not float64 [3, 64]": (
        lambda: kernels.embedding(COUNT, X.double())
    ),
    "token 20 is not in [0, 20)": lambda: kernels.embedding(COUNT + 18, WEIGHT),
    "token -1 is not in [0, 3)": lambda: kernels.embedding(COUNT - 1, X),
}


@pytest.mark.parametrize("message", ROWS)
def test_rows(message: str) -> None:
    refused(message, ROWS[message])


HEADS = torch.zeros(3, 4, 8)
TABLE = torch.zeros(5, 4)
TURNS: dict[str, Callable[[], Any]] = {
    "the width of a head must be even, not 7": (
        lambda: kernels.rope(HEADS[..., :7], HEADS, COUNT, TABLE, TABLE)
    ),
    "k must be float32 [3, Hk, 8], not float32 [2, 4, 8]": (
        lambda: kernels.rope(HEADS, HEADS[:2], COUNT, TABLE, TABLE)
    ),
    "positions must be int32 [3], not int64 [3]": (
        lambda: kernels.rope(HEADS, HEADS, COUNT.long(), TABLE, TABLE)
    ),
    "cos must be float32 [P, 4], not float32 [5, 3]": (
        lambda: kernels.rope(HEADS, HEADS, COUNT, TABLE[:, :3], TABLE)
    ),
    "sin must be float32 [5, 4], not float32 [4, 4]": (
        lambda: kernels.rope(HEADS, HEADS, COUNT, TABLE, TABLE[:4])
    ),
    "position 5 is not in [0, 5)": lambda: kernels.rope(HEADS, HEADS, COUNT + 3, TABLE, TABLE),
}


@pytest.mark.parametrize("message", TURNS)
def test_rotation(message: str) -> None:
    refused(message, TURNS[message])


def attention(kind: Kind = "int8", **changed: Any) -> Callable[[], Any]:
    """Two sequences of 5 and 2 positions in blocks of 4, with 2 queries and 1."""
    cache = kernels.allocate_kv_cache(6, 2, 4, 8, kind)
    arguments = {
        "q": HEADS,
        "cache": cache,
        "block_tables": torch.tensor([[0, 1], [2, 9]], dtype=torch.int32),
        "context_lens": torch.tensor([5, 2], dtype=torch.int32),
        "query_indptr": torch.tensor([0, 2, 3], dtype=torch.int32),
        "scale": 0.3,
    }
    return lambda: kernels.paged_attention(**{**arguments, **changed})


def numbers(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_the_attention_that_others_are_made_from_passes() -> None:
    assert torch.equal(attention()(), torch.zeros(3, 4, 8))


ATTENTION: dict[str, dict[str, Any]] = {
    "queries of 3 heads of 8 do not fit a cache of 2 of 8": {"q": HEADS[:, :3]},
    "queries of 4 heads of 6 do not fit a cache of 2 of 8": {"q": HEADS[..., :6]},
    "context_lens must be int32 [2], not int64 [2]": {"context_lens": torch.tensor([5, 2])},
    "query_indptr must be int32 [3], not int32 [2]": {"query_indptr": numbers(0, 3)},
    "block_tables must be int32 [B, X], not int32 [2]": {"block_tables": numbers(0, 1)},
    "scale must be finite, not nan": {"scale": float("nan")},
    "query_indptr goes from 0 to 2, not from 0 to the 3 rows of q": {
        "query_indptr": numbers(0, 1, 2)
    },
    "sequence 0: 2 queries, a context of 1 and 2 blocks of 4": {"context_lens": numbers(1, 2)},
    "sequence 0: 2 queries, a context of 9 and 2 blocks of 4": {"context_lens": numbers(9, 2)},
    "sequence 0: block 6 is not in the cache of 6": {"block_tables": numbers([0, 6], [2, 9])},
    "sequence 1: block -1 is not in the cache of 6": {"block_tables": numbers([0, 1], [-1, 9])},
}


@pytest.mark.parametrize("message", ATTENTION)
def test_attention(message: str) -> None:
    refused(message, attention(**ATTENTION[message]))


def test_caches() -> None:
    cache = kernels.allocate_kv_cache(6, 2, 4, 8, "int8")
    slots = torch.tensor([0, 5, 24])

    def write(k: torch.Tensor, v: torch.Tensor, slots: torch.Tensor = slots) -> Callable[[], Any]:
        return lambda: kernels.write_kv(k, v, cache, slots)

    keys = HEADS[:, :2]
    refused("keys of 4 heads of 8 do not fit a cache of 2 of 8", write(HEADS, HEADS))
    refused("v must be float32 [3, 2, 8], not float32 [3, 4, 8]", write(keys, HEADS))
    refused("slots must be int64 [3], not int32 [3]", write(keys, keys, slots.int()))
    refused("slot 24 is not in the cache of 24", write(keys, keys))
    assert not cache.keys.any()
    assert cache.key_params is not None
    assert not cache.key_params.any(), "something was written"
    refused("kind must be bf16, int8 or int4", lambda: kernels.allocate_kv_cache(1, 1, 1, 8, "fp8"))  # type: ignore[arg-type]
    refused("int4 needs an even head_dim", lambda: kernels.allocate_kv_cache(1, 1, 1, 7, "int4"))
    flat = torch.ops.specdrive.write_kv
    refused(
        "key_params of a cache of int8 must be given",
        lambda: flat(keys, keys, cache.keys, cache.values, None, None, slots, "int8"),
    )
    refused(
        "keys must be bfloat16",
        lambda: flat(keys, keys, cache.keys, cache.values, None, None, slots, "bf16"),
    )


SAMPLES: dict[str, Callable[[], Any]] = {
    "logits have no columns": lambda: kernels.sample(X[:, :0], DOUBLES, ONES, ONES),
    "draws must be float64 [3], not float32 [3]": lambda: kernels.sample(X, ZEROS, ONES, ONES),
    "temperature must be float32 [3], not float32 [2]": (
        lambda: kernels.sample(X, DOUBLES, ONES[:2], ONES)
    ),
    "top_p must be float32 [3], not float64 [3]": lambda: kernels.sample(X, DOUBLES, ONES, DOUBLES),
    "draw 1 of row 0 is not in [0, 1)": lambda: kernels.sample(X, DOUBLES + 1, ONES, ONES),
    "temperature -1 of row 0 is negative": lambda: kernels.sample(X, DOUBLES, -ONES, ONES),
    "top_p 0 of row 0 is not positive": lambda: kernels.sample(X, DOUBLES, ONES, ZEROS),
    "logits of row 0 are not finite": lambda: kernels.sample(X.log(), DOUBLES, ONES, ONES),
}


@pytest.mark.parametrize("message", SAMPLES)
def test_samples(message: str) -> None:
    refused(message, SAMPLES[message])


WEIGHTS: dict[str, Callable[[], Any]] = {
    "bits must be 4 or 8, not 3": (
        lambda: QuantizedWeight(WEIGHT.codes, WEIGHT.scales, None, 3, 32)
    ),
    "codes must be torch.int8 [N, K], not torch.uint8": (
        lambda: QuantizedWeight(WEIGHT.codes, WEIGHT.scales, None, 8, 32)
    ),
    "group 48 does not divide K = 64": (
        lambda: QuantizedWeight(WEIGHT.codes, WEIGHT.scales, None, 4, 48)
    ),
    "scales must be torch.float16 [20, 2], not torch.float32 [20, 2]": (
        lambda: QuantizedWeight(WEIGHT.codes, WEIGHT.scales.float(), None, 4, 32)
    ),
    "zeros must be torch.uint8 or torch.float16 [20, 2]": (
        lambda: QuantizedWeight(WEIGHT.codes, WEIGHT.scales, WEIGHT.scales[:3], 4, 32)
    ),
    "8-bit weights are symmetric": (
        lambda: QuantizedWeight(EIGHTS.codes, EIGHTS.scales, WEIGHT.zeros, 8, 32)
    ),
    "low must be 4-bit symmetric and high 8-bit": lambda: AtomWeight(WEIGHT, EIGHTS, ATOM.order),
    "order must hold every column from 0 to 127 once": (
        lambda: AtomWeight(ATOM.low, ATOM.high, ATOM.order.clamp(max=100))
    ),
    "weights that are joined must agree": lambda: kernels.concatenate((WEIGHT, EIGHTS)),
    "there are kernels for cpu and cuda, not for meta": lambda: kernels.pack(WEIGHT, "meta"),
    "a weight must be [N, K] of a float type, not torch.int32 [3]": (
        lambda: kernels.pack_dense(COUNT)
    ),
    "an odd number of columns (3)": lambda: kernels.pack_nibbles(COUNT),
}


@pytest.mark.parametrize("message", WEIGHTS)
def test_weights(message: str) -> None:
    refused(message, WEIGHTS[message])
