"""What the kernels' measurements amount to: headline rows, and a table per kernel."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.kernels_attention import KINDS, TORCH, AttentionCase, ours
from benchmarks.kernels_linear import (
    ALL,
    BF16,
    FP32,
    GROUP,
    INT8,
    OURS_8,
    OURS_16,
    PACKED,
    SEVEN,
    SMOLLM2,
    WEIGHT_ONLY,
    LinearCase,
)
from benchmarks.kernels_lora import BASE, LOOPS, OURS, PADDEDS, LoraCase, named
from benchmarks.kernels_timing import compared
from benchmarks.learning.page import Table
from benchmarks.paired import Comparison
from benchmarks.results import Row, at_least

LEAST_RATE, LEAST_SHARE = 25.0, 0.8
"""GB/s of weights with one row, or else this share of the memory's reading speed."""
WITHIN = 1.3
"""Many adapters take at most so many times what one takes."""

_MICRO = 1e6
_COLD_NOTE = (
    "Weights come from memory: copies of more than three times the last cache are taken in turns, "
    "for everybody alike. Both sides are called from Python: ours through the C interface that the "
    "decoder's step uses, with float32 activations."
)
_READ_NOTE = (
    "Bytes of weights, scales and zero points per second, beside reading memory in the same blocks "
    "(the ratio is the share of it). The target is met by either."
)


def linear_rows(cases: Sequence[LinearCase]) -> list[Row]:
    """Speed of reading weights with one row; the least lead over torch's best for each M."""
    rows: list[Row] = []
    single = [case for case in cases if case.rows == 1]
    for model in (SMOLLM2, SEVEN):
        if found := [case for case in single if case.shape.model == model]:
            rows += [_weights_row(found, name, f"{model}'s layers") for name in (OURS_16, OURS_8)]
    if single:
        slowest = min(single, key=lambda case: case.times.rate(OURS_16, case.size))
        rows.append(_weights_row([slowest], OURS_16, f"the slowest, {slowest.shape.name}"))
    for name, rivals in ((OURS_16, WEIGHT_ONLY), (OURS_8, ALL)):
        for count in sorted({case.rows for case in cases}):
            rows.append(_least_lead([c for c in cases if c.rows == count], name, rivals))
    if at_32 := [case for case in cases if case.rows == 32]:
        rows.append(_least_lead(at_32, OURS_8, (INT8,)))
    return rows


def _weights_row(cases: Sequence[LinearCase], name: str, of: str) -> Row:
    """Bytes of all the cases' weights by the time that all take."""
    size = sum(case.size * case.shape.count for case in cases)
    blocks = range(len(cases[0].times.read))
    spent = [sum(c.times.seconds[name][b] * c.shape.count for c in cases) for b in blocks]
    ideal = [
        sum(case.size * case.shape.count / case.times.read[b] / 1e9 for case in cases)
        for b in blocks
    ]
    share = compared(spent, ideal)
    rate = size / statistics.median(spent) / 1e9
    return Row(
        f"int4_linear, M = 1, {name.removeprefix('ours, ')}, {of}: weights read",
        rate,
        "GB/s",
        "reading memory",
        size / statistics.median(ideal) / 1e9,
        share.ratio,
        share.spread,
        f"≥ {LEAST_RATE:g} GB/s or ≥ {LEAST_SHARE:g}×",
        rate >= LEAST_RATE or share.ratio >= LEAST_SHARE,
        f"{_READ_NOTE} {_COLD_NOTE}",
    )


def _least_lead(cases: Sequence[LinearCase], name: str, rivals: Sequence[str]) -> Row:
    """The shape at which the fastest of the rivals comes closest."""

    def lead(case: LinearCase) -> Comparison:
        return case.times.against(name, case.times.best(rivals))

    worst = min(cases, key=lambda case: lead(case).ratio)
    best, found = worst.times.best(rivals), lead(worst)
    ratios = [lead(case).ratio for case in cases]
    if rivals == ALL:
        among = "Against the fastest of torch's INT4, _int_mm, bf16 and fp32."
    elif rivals == WEIGHT_ONLY:
        among = "Against the fastest of torch's that keep activations: INT4, bf16 and fp32."
    else:
        among = "Against _int_mm alone."
    row = Row(
        f"int4_linear, M = {worst.rows}, {name.removeprefix('ours, ')}, least lead of "
        f"{len(cases)} shapes: {worst.shape.name}",
        worst.times[name] * _MICRO,
        "µs",
        best,
        worst.times[best] * _MICRO,
        found.ratio,
        found.spread,
        note=f"{among} _int_mm only multiplies: quantizing activations and scaling sums, which "
        f"ours do, are not in its time. {_COLD_NOTE}",
    )
    middle = statistics.geometric_mean(ratios)
    return replace(at_least(row, 1.0), what=f"{row.what} (mean lead {middle:.3g}×)")


def linear_table(cases: Sequence[LinearCase]) -> Table:
    """Every shape and number of rows."""
    return Table(
        "int4_linear",
        "Microseconds per call, M rows of activations times a weight [outputs × inputs], groups "
        f"of {GROUP} with zero points. GB/s and its share of the memory's reading speed are of our "
        "weights with 16-bit activations; × is our lead over the fastest of torch's (16 bits: "
        "INT4, bf16, fp32; 8 bits: _int_mm as well).",
        {
            "weight": "text",
            "M": "count",
            "ours, 16 bits": "number",
            "GB/s": "number",
            "of reading": "share",
            "ours, 8 bits": "number",
            "torch INT4": "number",
            "bf16": "number",
            "fp32": "number",
            "_int_mm": "number",
            "×, 16 bits": "number",
            "×, 8 bits": "number",
        },
        [
            {
                "weight": f"{case.shape.model} {case.shape.layer}, {case.shape.name}",
                "M": case.rows,
                "ours, 16 bits": case.times[OURS_16] * _MICRO,
                "GB/s": case.times.rate(OURS_16, case.size),
                "of reading": case.times.share(OURS_16, case.size).ratio,
                "ours, 8 bits": case.times[OURS_8] * _MICRO,
                "torch INT4": case.times[PACKED] * _MICRO,
                "bf16": case.times[BF16] * _MICRO,
                "fp32": case.times[FP32] * _MICRO,
                "_int_mm": case.times[INT8] * _MICRO,
                "×, 16 bits": case.times.against(OURS_16, case.times.best(WEIGHT_ONLY)).ratio,
                "×, 8 bits": case.times.against(OURS_8, case.times.best(ALL)).ratio,
            }
            for case in cases
        ],
    )


def lora_rows(cases: Sequence[LoraCase]) -> list[Row]:
    """Many adapters against one, with and without the layer; against torch's ways."""
    rows: list[Row] = []
    for case in cases:
        few, many = min(case.sizes), max(case.sizes)
        what = f"lora_sgmv, {case.shape.model} {case.shape.name}, {_where(case)}, {many} adapters"
        one, all_ = (case.times.seconds[named(OURS, count)] for count in (few, many))
        base = case.times.seconds[BASE]
        both = [b + a for b, a in zip(base, all_, strict=True)]
        shared = [b + a for b, a in zip(base, one, strict=True)]
        rows.append(_within(what, compared(one, all_)))
        if len(case.ranks) == 1:
            rows.append(_within(f"{what}, with the layer", compared(shared, both)))
    for case in (case for case in cases if case.cold and len(case.ranks) == 1):
        many = max(case.sizes)
        for rivals, word in ((LOOPS, "loop over adapters"), (PADDEDS, "padded bmm")):
            own = named(OURS, many)
            best = case.times.best([named(rival, many) for rival in rivals])
            found = case.times.against(own, best)
            rows.append(
                Row(
                    f"lora_sgmv, {case.shape.model} {case.shape.name}, {_where(case)}, "
                    f"{many} adapters",
                    case.times[own] * _MICRO,
                    "µs",
                    f"{word} in torch",
                    case.times[best] * _MICRO,
                    found.ratio,
                    found.spread,
                    note="The peer is the faster of bfloat16 and float32, its adapters in one "
                    "piece and filled up before they are timed; ours keeps adapters in float16 in "
                    "pages anywhere, and activations in float32.",
                )
            )
    return rows


def _within(what: str, times: Comparison) -> Row:
    """How many times longer, ``times.ratio``, many adapters take."""
    return Row(
        what,
        times.ratio,
        "× one adapter's time",
        spread=times.spread,
        target=f"≤ {WITHIN:g}",
        met=times.ratio <= WITHIN,
        note="32 rows (decoding), each with an adapter of its own or all with the same one. "
        "From memory: sets of adapters are taken in turns, so that every byte comes from memory, "
        "for one adapter too; from a cache: always the same ones. With the layer: 4-bit weights, "
        "8-bit activations, plus adapters.",
    )


def _where(case: LoraCase) -> str:
    ranks = "–".join(str(rank) for rank in sorted({min(case.ranks), max(case.ranks)}))
    return f"rank {ranks}, from {'memory' if case.cold else 'a cache'}"


def lora_table(cases: Sequence[LoraCase]) -> Table:
    """Every shape, kind of ranks and number of adapters."""

    def line(case: LoraCase, count: int) -> dict[str, str | float]:
        times = case.times
        loop = times.best([named(name, count) for name in LOOPS])
        padded = times.best([named(name, count) for name in PADDEDS])
        own = named(OURS, count)
        return {
            "layer": f"{case.shape.model} {case.shape.layer}, {case.shape.name}",
            "ranks, place": _where(case),
            "adapters": count,
            "MB": case.sizes[count] / 1e6,
            "ours": times[own] * _MICRO,
            "GB/s": times.rate(own, case.sizes[count]),
            "of reading": times.share(own, case.sizes[count]).ratio,
            "layer alone": times[BASE] * _MICRO,
            "loop": times[loop] * _MICRO,
            "padded bmm": times[padded] * _MICRO,
        }

    return Table(
        "lora_sgmv",
        "Microseconds per call for 32 rows that share so many adapters evenly; torch's are the "
        "faster of bfloat16 and float32. A single adapter of a mixture has its mean rank.",
        {
            "layer": "text",
            "ranks, place": "text",
            "adapters": "count",
            "MB": "number",
            "ours": "number",
            "GB/s": "number",
            "of reading": "share",
            "layer alone": "number",
            "loop": "number",
            "padded bmm": "number",
        },
        [line(case, count) for case in cases for count in case.sizes],
    )


def attention_rows(cases: Sequence[AttentionCase]) -> list[Row]:
    """Each batch against torch's faster one."""
    return list(_attention_rows(cases))


def _attention_rows(cases: Sequence[AttentionCase]) -> Iterator[Row]:
    for case in cases:
        best = case.times.best(TORCH)
        found = case.times.against(ours("bf16"), best)
        yield Row(
            f"paged_attention, {_batch(case)}",
            case.times[ours("bf16")] * _MICRO,
            "µs",
            best,
            case.times[best] * _MICRO,
            found.ratio,
            found.spread,
            note="One new token per sequence; ours over blocks of 16 tokens anywhere in a cache in "
            "bfloat16, torch's over contexts in one piece, in bfloat16 or float32. Keys and values "
            "come from memory.",
        )


def _batch(case: AttentionCase) -> str:
    heads, contexts = case.heads, case.contexts
    return (
        f"{heads.model}: {heads.queries} heads over {heads.keys} of {heads.width}, "
        f"{contexts.sequences} × {contexts.length} tokens"
    )


def attention_table(cases: Sequence[AttentionCase]) -> Table:
    """Every batch and kind of cache."""
    return Table(
        "paged_attention",
        "Microseconds per call, one new token per sequence, by the format of keys and values; MB "
        "and the share of the memory's reading speed are for bfloat16.",
        {
            "batch": "text",
            "MB": "number",
            **{f"ours, {kind}": "number" for kind in KINDS},
            "of reading": "share",
            **dict.fromkeys(TORCH, "number"),
        },
        [
            {
                "batch": _batch(case),
                "MB": case.size / 1e6,
                **{ours(kind): case.times[ours(kind)] * _MICRO for kind in KINDS},
                "of reading": case.times.share(ours("bf16"), case.size).ratio,
                **{name: case.times[name] * _MICRO for name in TORCH},
            }
            for case in cases
        ],
    )
