"""What the engines' rates amount to: headline rows, and a table of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.kernels_timing import compared
from benchmarks.learning.page import Table
from benchmarks.model_step_work import MIDDLE, Adapters
from benchmarks.paired import Comparison
from benchmarks.results import Row, at_least

OURS_8, OURS_16 = "ours, Q4_0, 8-bit activations", "ours, Q4_0, 16-bit activations"
GROUPS_8 = "ours, INT4 in groups of 64, 8-bit activations"
LLAMA_0, LLAMA_1 = "llama.cpp, Q4_0", "llama.cpp, Q4_1"
TRANSFORMERS = "transformers, bf16"

FASTER, KEPT, MANY_FASTER = 1.5, 0.8, 8.0
"""Targets: of llama.cpp's rate at batch 1; of our own rate without adapters; of llama.cpp's with
as many adapters as sequences."""

_WORDS: Mapping[Adapters, str] = {
    "none": "no adapters",
    "shared": "one shared adapter",
    "distinct": "an adapter each",
}
_NOTE = (
    f"SmolLM2-135M, sequences of about {MIDDLE} tokens, logits of every sequence in every step. "
    "Ours and llama.cpp's Q4_0 are the same file: 4-bit layers in blocks of 32, head in Q8_0. "
    "llama.cpp rounds activations to 8 bits in blocks of 32, as ours with 8-bit activations does; "
    "with 16-bit ones ours hardly rounds. Adapters have rank 16 on all seven linear maps of every "
    "layer."
)
_DISTINCT = "llama.cpp computes sequences with different adapters one after the other."


@dataclass(frozen=True)
class Case:
    """What is decoded: so many sequences with so many adapters; or a prompt is read.

    Attributes:
        batch: Sequences; of a prompt 1.
        adapters: How they use them.
        prompt: Its length if a prompt is read.
    """

    batch: int
    adapters: Adapters
    prompt: int | None = None

    @property
    def words(self) -> str:
        """For tables."""
        if self.prompt is not None:
            return f"reading a prompt of {self.prompt} tokens"
        return f"decoding, batch {self.batch}, {_WORDS[self.adapters]}"


@dataclass(frozen=True)
class Measured:
    """Rates in tokens per second by engine and case, round by round.

    Attributes:
        rates: As above; engines that are not installed have none.
        read: GB/s of reading memory in each round.
        bytes: Of the matrices that a token needs, by engine.
        missing: Why an engine has no rates.
    """

    rates: Mapping[str, Mapping[Case, Sequence[float]]]
    read: Sequence[float]
    bytes: Mapping[str, int]
    missing: Mapping[str, str]

    def rate(self, engine: str, case: Case) -> float | None:
        """Median."""
        found = self.rates.get(engine, {}).get(case)
        return statistics.median(found) if found else None

    def against(self, ours: tuple[str, Case], peer: tuple[str, Case]) -> Comparison | None:
        """How many times faster the first is, round by round."""
        mine, theirs = (self.rates.get(engine, {}).get(case) for engine, case in (ours, peer))
        if not mine or not theirs:
            return None
        return compared([1 / rate for rate in mine], [1 / rate for rate in theirs])


def step_rows(found: Measured, batches: Sequence[int], prompt: int) -> list[Row]:
    """Batch 1, larger ones, adapters, prompts, and the share of the memory's speed."""
    largest = max(batches)
    rows = [
        _against(found, ours, Case(1, "none"), LLAMA_0, FASTER)
        for ours in (OURS_8, OURS_16, GROUPS_8)
    ]
    rows += [_weights(found, ours) for ours in (OURS_8, OURS_16, GROUPS_8)]
    rows += [_against(found, OURS_8, Case(b, "none"), LLAMA_0) for b in batches if b > 1]
    rows += [_against(found, OURS_8, Case(b, "shared"), LLAMA_0) for b in batches]
    rows += [
        _against(found, OURS_8, Case(b, "distinct"), LLAMA_0, MANY_FASTER if b == largest else None)
        for b in batches
        if b > 1
    ]
    rows += [_kept(found, ours, largest) for ours in (OURS_8, OURS_16)]
    rows += [_against(found, OURS_8, Case(b, "none"), LLAMA_1) for b in (1, largest)]
    rows += [_against(found, OURS_8, Case(b, "none"), TRANSFORMERS) for b in batches]
    reading = Case(1, "none", prompt)
    rows += [
        _against(found, ours, reading, peer)
        for ours in (OURS_8, OURS_16)
        for peer in (LLAMA_0, TRANSFORMERS)
    ]
    return rows


def _against(found: Measured, ours: str, case: Case, peer: str, target: float | None = None) -> Row:
    value = found.rate(ours, case)
    assert value is not None
    missing = found.missing.get(peer)
    note = f"{_NOTE} {_DISTINCT}" if case.adapters == "distinct" else _NOTE
    row = Row(
        f"{case.words} ({ours.removeprefix('ours, ')})",
        value,
        "tokens / s",
        f"{peer}: peer not installed" if missing else peer,
        found.rate(peer, case),
        note=note,
    )
    spent = found.against((ours, case), (peer, case))
    if spent is not None:
        row = replace(row, ratio=spent.ratio, spread=spent.spread)
    if target is None:
        return row
    row = at_least(row, target)
    return row if spent is not None else replace(row, met=None)


def _kept(found: Measured, ours: str, batch: int) -> Row:
    """With an adapter each, of the rate without any."""
    with_, without = Case(batch, "distinct"), Case(batch, "none")
    spent = found.against((ours, with_), (ours, without))
    value = found.rate(ours, with_)
    assert spent is not None
    assert value is not None
    row = Row(
        f"{with_.words} ({ours.removeprefix('ours, ')})",
        value,
        "tokens / s",
        "ours, no adapters",
        found.rate(ours, without),
        spent.ratio,
        spent.spread,
        note=_NOTE,
    )
    return at_least(row, KEPT)


def _weights(found: Measured, ours: str) -> Row:
    """What batch 1 reads of the weights, beside the memory's speed."""
    rates = found.rates[ours][Case(1, "none")]
    size = found.bytes[ours]
    share = compared([1 / rate for rate in rates], [size / read / 1e9 for read in found.read])
    return Row(
        f"{Case(1, 'none').words}: weights read ({ours.removeprefix('ours, ')})",
        size * statistics.median(rates) / 1e9,
        "GB/s",
        "reading memory",
        statistics.median(found.read),
        share.ratio,
        share.spread,
        note="Bytes of all layers' weights and of the head per step; the ratio is the share of "
        "what reading memory takes in the same rounds. A part of the weights may still be in the "
        "last cache.",
    )


def step_table(found: Measured, cases: Sequence[Case], engines: Sequence[str]) -> Table:
    """All rates."""
    present = [engine for engine in engines if found.rates.get(engine)]
    return Table(
        "All rates",
        "Tokens per second, median of the rounds. Megabytes of weights per token: "
        + ", ".join(f"{engine} {found.bytes[engine] / 1e6:.1f}" for engine in present)
        + ".",
        {"": "text", **dict.fromkeys(present, "number")},
        [
            {"": case.words, **{engine: found.rate(engine, case) for engine in present}}
            for case in cases
        ],
    )
