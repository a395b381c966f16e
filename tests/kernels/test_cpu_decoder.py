"""The step in C++ against its definition in float64 and against itself, cut up in other ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from decoder_models import Format, Paged, adapters, int32, make, reference_step, with_own_caches

from kernels import cpu
from kernels.cpu.decoder import Decoder, DecoderConfig, LoraBatch
from kernels.kv_cache import Kind

PROMPTS = {0: [3, 1, 4, 1, 5, 9, 2], 1: [6], 2: [5, 3, 5, 8, 9], 3: [7, 9, 3]}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before, level = cpu.num_threads(), cpu.isa()
    yield
    cpu.set_num_threads(before)
    cpu.select_isa(level)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, in standard deviations of what is wanted."""
    assert got.dtype == torch.float32
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.std())


def row_errors(got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """`error` of each row."""
    return (got - wanted).abs().amax(dim=1) / wanted.std()


CASES: list[tuple[Format, dict[str, Any], Kind, Literal[16, 8]]] = [
    ("int4", {}, "bf16", 16),
    ("zeros", {"qk_norm": True, "tied": True}, "int8", 16),
    ("offsets", {"qkv_bias": True, "kv_heads": 6}, "int4", 16),
    ("int4", {"kv_heads": 1}, "bf16", 8),
    ("int8", {"qkv_bias": True, "qk_norm": True, "tied": True}, "int8", 8),
    ("atom", {"kv_heads": 3}, "int4", 16),
    ("bf16", {"tied": True}, "bf16", 16),
    ("f32", {"qk_norm": True, "qkv_bias": True}, "bf16", 16),
]


@pytest.mark.parametrize("level", cpu.available_isas())
@pytest.mark.parametrize(("kind", "features", "kv", "bits"), CASES)
def test_the_definition(
    level: str, kind: Format, features: dict[str, Any], kv: Kind, bits: Literal[16, 8]
) -> None:
    cpu.select_isa(level)
    draw = drawn(len(kind))
    made = make(draw, kind, **features)
    decoder = made.decoder(bits)
    paged = Paged.empty(made.config, draw, kv)
    for tokens, segments, ranks in (
        (PROMPTS, [8, 0, 5], [4, 3, 9]),  # the last three rows have no adapter
        ({3: [1], 0: [2], 2: [3]}, [1, 2], [0, 16]),
        ({0: [4], 1: [5, 6, 7, 8, 9], 3: [70]}, [], []),
    ):
        batch = paged.batch(tokens, lora=adapters(made.config, draw, segments, ranks))
        wanted = reference_step(made, batch, bits)
        # Over the cache that the definition wrote; then over its own, whose codes may differ by one
        # where a number lies between two. So may the codes of activations.
        read = row_errors(decoder.step(replace(batch, slots=batch.slots * 0 - 1)), wanted)
        written = row_errors(decoder.step(with_own_caches(batch)), wanted)
        assert read.median() < 4e-4
        assert read.max() < (0.1 if bits == 8 or kind == "atom" else 1e-3)
        assert written.max() < (0.2 if kv == "int4" else 0.1)


def test_errors_are_of_rounding_only() -> None:
    draw = drawn(0)
    made = make(draw, "f32", qk_norm=True, qkv_bias=True)
    decoder = made.decoder()
    paged = Paged.empty(made.config, draw)
    for tokens in (PROMPTS, {0: [4], 3: [70]}):
        batch = paged.batch(tokens)
        wanted = reference_step(made, batch)
        assert error(decoder.step(replace(batch, slots=batch.slots * 0 - 1)), wanted) < 1e-5


@pytest.mark.parametrize("kv", ["bf16", "int8", "int4"])
def test_chunks_of_a_prompt(kv: Kind) -> None:
    draw = drawn(1)
    made = make(draw)
    decoder = made.decoder()
    prompt = torch.randint(0, 77, (37,), generator=draw).tolist()
    lora = adapters(made.config, draw, [37], [5])
    whole = Paged.empty(made.config, draw, kv)
    wanted = decoder.step(whole.batch({0: prompt}, lora=lora))
    parts = Paged.empty(made.config, draw, kv)
    got: list[torch.Tensor] = []
    for begin, end in ((0, 1), (1, 10), (10, 27), (27, 37)):
        share = replace(lora, indptr=int32([0, end - begin]))
        got.append(decoder.step(parts.batch({0: prompt[begin:end]}, lora=share)))
    assert error(torch.cat(got), wanted) < 1e-4


def test_company_changes_nothing() -> None:
    draw = drawn(2)
    made = make(draw, qk_norm=True)
    decoder = made.decoder()
    together = Paged.empty(made.config, draw)
    lora = adapters(made.config, draw, [7, 1, 5, 3], [8, 2, 0, 5])
    wanted = decoder.step(together.batch(PROMPTS, lora=lora))
    begin = 0
    for sequence, prompt in PROMPTS.items():
        ranks = slice(*lora.rank_indptr[sequence : sequence + 2].tolist())
        own = LoraBatch(
            int32([0, len(prompt)]), int32([0, ranks.stop - ranks.start]),
            lora.scales[sequence : sequence + 1], lora.pool,
            [{name: (a[ranks], b[ranks]) for name, (a, b) in one.items()} for one in lora.pages],
        )  # fmt: skip
        alone = Paged.empty(made.config, draw)
        got = decoder.step(alone.batch({0: prompt}, lora=own))
        assert error(got, wanted[begin : begin + len(prompt)]) < 1e-5
        begin += len(prompt)


@pytest.mark.parametrize("kind", ["int4", "atom", "bf16"])
def test_threads_change_nothing(kind: Format) -> None:
    draw = drawn(3)
    made = make(draw, kind)
    decoder = made.decoder()
    prompt = torch.randint(0, 77, (33,), generator=draw).tolist()
    logits: list[torch.Tensor] = []
    for threads in (1, 2, 3):
        cpu.set_num_threads(threads)
        paged = Paged.empty(made.config, drawn(4))
        for tokens, segments in (({0: prompt, 1: [3] * 9}, [30, 12]), ({1: [5], 0: [6]}, [1, 1])):
            lora = adapters(made.config, drawn(5), segments, [9, 16], dtype=torch.bfloat16)
            logits.append(decoder.step(paged.batch(tokens, lora=lora)))
    for i in (0, 1):
        assert error(logits[2 + i], logits[i]) < 1e-5
        assert error(logits[4 + i], logits[i]) < 1e-5


@pytest.mark.parametrize("level", cpu.available_isas())
def test_threads_share_adapters_of_targets_of_different_widths(level: str) -> None:
    """Queries of 576 columns are three parts, keys and values of 192 one each."""
    cpu.select_isa(level)
    draw = drawn(15)
    made = make(draw, heads=18, kv_heads=6)
    decoder = made.decoder()
    segments, ranks = [1, 2, 1, 3, 1, 4], [5, 16, 1, 8, 33, 2]
    batch = Paged.empty(made.config, draw).batch(
        {number: [5 + number] * count for number, count in enumerate(segments)},
        lora=adapters(made.config, draw, segments, ranks),
    )
    cpu.set_num_threads(1)
    alone = decoder.step(with_own_caches(batch))
    assert error(alone, reference_step(made, with_own_caches(batch))) < 0.03
    for threads in (2, 3, 4):
        cpu.set_num_threads(threads)
        for _ in range(5):
            assert torch.equal(decoder.step(with_own_caches(batch)), alone)


def test_adapters_touch_their_rows_and_targets_only() -> None:
    draw = drawn(6)
    made = make(draw)
    decoder = made.decoder()
    paged = Paged.empty(made.config, draw)
    batch = paged.batch(PROMPTS)
    plain = decoder.step(batch)
    adapted = replace(batch, lora=adapters(made.config, draw, [5], [4], first=8, targets=("down",)))
    got = decoder.step(adapted)
    assert torch.equal(got[:8], plain[:8])
    assert torch.equal(got[13:], plain[13:])
    assert (got[8:13] != plain[8:13]).any(dim=1).all()
    assert error(got, reference_step(made, with_own_caches(adapted))) < 0.03
    nothing = replace(batch, lora=adapters(made.config, draw, [16], [3], targets=()))
    assert torch.equal(decoder.step(nothing), plain)


def test_tables_may_be_columns_of_wider_ones() -> None:
    draw = drawn(7)
    made = make(draw)
    decoder = made.decoder()
    batch = Paged.empty(made.config, draw).batch(PROMPTS)
    lora = adapters(made.config, draw, [7, 9], [4, 3])
    pages: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
    for layer in lora.pages:
        wide = torch.cat([part for pair in layer.values() for part in pair], dim=1)
        parts = iter(wide.split([part.shape[1] for pair in layer.values() for part in pair], dim=1))
        pages.append({name: (next(parts), next(parts)) for name in layer})
    wanted = decoder.step(replace(batch, lora=lora))
    assert torch.equal(decoder.step(replace(batch, lora=replace(lora, pages=pages))), wanted)


def test_rows_that_are_asked_for() -> None:
    draw = drawn(8)
    made = make(draw)
    decoder = made.decoder()
    batch = Paged.empty(made.config, draw).batch(PROMPTS)
    every = decoder.step(batch)
    chosen = int32([15, 0, 0, 7, *range(16)])
    assert torch.equal(decoder.step(replace(batch, rows=chosen)), every[chosen.long()])
    assert decoder.step(replace(batch, rows=int32([]))).shape == (0, 77)


def test_nothing_to_do() -> None:
    made = make(drawn(9))
    decoder = made.decoder()
    batch = Paged.empty(made.config, drawn(9)).batch({})
    assert decoder.step(batch).shape == (0, 77)


def test_tokens_without_slots_leave_the_cache_alone() -> None:
    made = make(drawn(10))
    decoder = made.decoder()
    paged = Paged.empty(made.config, drawn(10))
    batch = paged.batch(PROMPTS)
    before = [cache.keys.clone() for cache in paged.kv]
    decoder.step(replace(batch, slots=batch.slots * 0 - 1))
    for cache, keys in zip(paged.kv, before, strict=True):
        assert torch.equal(cache.keys.view(torch.int16), keys.view(torch.int16))


def test_not_a_number_stays_in_its_row() -> None:
    draw = drawn(11)
    made = make(draw)
    table = made.embedding
    assert isinstance(table, torch.Tensor)
    table[6] = float("nan")
    logits = made.decoder().step(Paged.empty(made.config, draw).batch(PROMPTS))
    assert logits[7].isnan().all()
    assert logits[:7].isfinite().all()
    assert logits[8:].isfinite().all()


def test_caches_may_be_exchanged() -> None:
    draw = drawn(12)
    made = make(draw)
    decoder = made.decoder()
    first, second = (Paged.empty(made.config, drawn(12)) for _ in range(2))
    for tokens in ({0: [1, 2, 3]}, {0: [4]}):
        assert torch.equal(decoder.step(first.batch(tokens)), decoder.step(second.batch(tokens)))


def test_times_are_booked_when_asked() -> None:
    made = make(drawn(13))
    decoder = made.decoder()
    paged = Paged.empty(made.config, drawn(13))
    decoder.step(paged.batch(PROMPTS))
    assert sum(decoder.times().values()) == 0
    decoder.set_timing(True)
    decoder.step(paged.batch({0: [1]}, lora=adapters(made.config, drawn(13), [1], [4])))
    times = decoder.times()
    assert {"qkv", "attention", "lora", "head"} <= set(times)
    assert all(time > 0 for time in times.values())
    decoder.set_timing(False)
    assert sum(decoder.times().values()) == 0


def wrong_batches() -> dict[str, tuple[dict[str, Any], str]]:
    return {
        "id": ({"ids": int32([77, 0, 0])}, "token id 77"),
        "negative id": ({"ids": int32([0, -1, 0])}, "token id -1"),
        "position": ({"positions": int32([0, 1, 64])}, "position 64"),
        "slot": ({"slots": torch.tensor([0, 1, 160])}, "slot 160"),
        "row": ({"rows": int32([3])}, "row 3"),
        "negative row": ({"rows": int32([-1])}, "row -1"),
        "block": ({"block_tables": int32([[40], [0]])}, "block 40"),
        "negative block": ({"block_tables": int32([[-1], [0]])}, "block -1"),
        "short table": ({"context_lens": int32([5, 1])}, "1 blocks of 4 tokens"),
        "short context": ({"context_lens": int32([1, 1])}, "of 1 positions"),
        "falling bounds": ({"query_indptr": int32([0, -1, 3])}, "-1 tokens"),
        "late bounds": ({"query_indptr": int32([1, 2, 3])}, "query_indptr"),
        "short bounds": ({"query_indptr": int32([0, 1, 2])}, "query_indptr"),
        "more tokens": ({"positions": int32([0, 1, 0, 1])}, "positions must be"),
        "one cache": ({"kv": 1}, "caches of 1 layers"),
    }


@pytest.mark.parametrize("name", wrong_batches())
def test_wrong_batches(name: str) -> None:
    made = make(drawn(14))
    decoder = made.decoder()
    paged = Paged.empty(made.config, drawn(14))
    batch = replace(
        paged.batch({0: [1, 2], 1: [3]}),
        block_tables=int32([[3], [5]]),
        slots=torch.tensor([12, 13, 20]),
    )
    decoder.step(batch)
    change, message = wrong_batches()[name]
    if "kv" in change:
        change = {"kv": paged.kv[:1]}
    before = [cache.keys.clone() for cache in paged.kv]
    # Other tokens than those in the cache: whether something was written would show.
    other = replace(batch, ids=batch.ids + 1)
    with pytest.raises(ValueError, match=message):
        decoder.step(replace(other, **change))
    for cache, keys in zip(paged.kv, before, strict=True):
        assert torch.equal(cache.keys.view(torch.int16), keys.view(torch.int16))


def test_wrong_types() -> None:
    made = make(drawn(15))
    decoder = made.decoder()
    batch = Paged.empty(made.config, drawn(15)).batch({0: [1, 2]})
    with pytest.raises(TypeError, match="ids must be"):
        decoder.step(replace(batch, ids=batch.ids.long()))
    with pytest.raises(TypeError, match="slots must be"):
        decoder.step(replace(batch, slots=batch.slots.int()))
    with pytest.raises(ValueError, match="contiguous"):
        decoder.step(replace(batch, ids=int32([1, 0, 2])[::2]))


def test_wrong_adapters() -> None:
    draw = drawn(16)
    made = make(draw)
    decoder = made.decoder()
    batch = Paged.empty(made.config, draw).batch({0: [1, 2, 3]})
    good = adapters(made.config, draw, [1, 2], [4, 3])
    decoder.step(replace(batch, lora=good))

    def moved(page: int) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        pages = [dict(one) for one in good.pages]
        a, b = pages[1]["down"]
        pages[1]["down"] = (a, b.clone())
        pages[1]["down"][1][6, 1] = page
        return pages

    renamed = [{"gates": one["gate"]} for one in good.pages]
    shorter = [{name: (a[:6], b[:6]) for name, (a, b) in one.items()} for one in good.pages]
    narrow = [{name: (a[:, 1:], b) for name, (a, b) in one.items()} for one in good.pages]
    for change, message in (
        ({"pages": moved(good.pool.shape[0])}, "a page that the pool does not have"),
        ({"pages": moved(-1)}, "a page that the pool does not have"),
        ({"pages": good.pages[:1]}, "page tables of 1 layers"),
        ({"pages": renamed}, "'gates'"),
        ({"pages": shorter}, "7 rank rows"),
        ({"pages": narrow}, "at least"),
        ({"indptr": int32([0, 1, 4])}, "beyond the rows"),
        ({"indptr": int32([0, 2, 1])}, "must not fall"),
        ({"indptr": int32([0, 1])}, "2 segments"),
        ({"rank_indptr": int32([1, 4, 7])}, "from 0"),
        ({"rank_indptr": int32([0, 8, 7])}, "must not fall"),
        ({"pool": good.pool[:, :40].contiguous()}, "multiple of 16"),
    ):
        with pytest.raises(ValueError, match=message):
            decoder.step(replace(batch, lora=replace(good, **change)))
    with pytest.raises(TypeError, match="scales"):
        decoder.step(replace(batch, lora=replace(good, scales=good.scales.double())))


def test_wrong_weights() -> None:
    made = make(drawn(17))
    weights = made.packed()
    layer = weights.layers[0]
    for change, message in (
        ({"final_norm": torch.ones(95)}, "final_norm must be"),
        ({"lm_head": layer.o}, r"lm_head must be \[77, 96\]"),
        ({"layers": weights.layers[:1]}, "1 layers given"),
        ({"layers": [layer, replace(layer, down=layer.o)]}, r"layers\[1\].down must be"),
        ({"layers": [layer, replace(layer, q_norm=torch.ones(32))]}, "q_norm must not be given"),
        ({"layers": [replace(layer, qkv_bias=torch.ones(9)), layer]}, "qkv_bias must not be given"),
        ({"sin": made.sin[:9]}, "sin must be"),
    ):
        with pytest.raises(ValueError, match=message):
            Decoder(made.config, replace(weights, **change))
    with pytest.raises(ValueError, match="qkv_bias must be given"):
        Decoder(replace(made.config, qkv_bias=True), weights)
    with pytest.raises(ValueError, match="activation_bits"):
        Decoder(made.config, weights, 4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="do not divide"):
        DecoderConfig(64, 1, 3, 2, 32, 64, 64, 1e-6)
    with pytest.raises(ValueError, match="head_dim"):
        DecoderConfig(64, 1, 3, 1, 33, 64, 64, 1e-6)


def test_wrong_caches() -> None:
    made = make(drawn(18))
    decoder = made.decoder()
    paged = Paged.empty(made.config, drawn(18))
    batch = paged.batch({0: [1, 2]})
    other = Paged.empty(replace(made.config, kv_heads=3), drawn(18))
    fewer = Paged.empty(made.config, drawn(18), blocks=20)
    for kv, message in (
        (other.kv, "a cache of 3 heads"),
        ([paged.kv[0], fewer.kv[1]], "equal blocks"),
        ([paged.kv[0], replace(paged.kv[1], keys=paged.kv[1].keys.mT.contiguous().mT)], "contig"),
    ):
        with pytest.raises(ValueError, match=message):
            decoder.step(replace(batch, kv=kv))
