"""The quantized champion beside the champion: scores, size, and what the difference amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.quantized.size import size_of
from pipeline.run_report.reading import Run
from pipeline.run_report.wording import points
from verifier.errors import InputError
from worlds.statistics import Rate

METHODS = {
    "rtn": "round to nearest",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "awq-gptq": "AWQ and GPTQ",
    "atom": "Atom",
    "exact": "taken over exactly",
}
_LABELS = {"bf16": "16 bits", "recovered": "with an adapter trained on it"}


@dataclass(frozen=True)
class Weights:
    """One row: the champion with these weights.

    Attributes:
        label: "16 bits", "4 bits", ...
        kept: Whether this is what the run hands on.
        strict: Strict success on all answers.
        paper: Paper score.
        parse: Parse rate.
        perplexity: Of neutral text.
        megabytes: Of the weights and the adapter beside them.
        bits: Per weight, everything counted.
    """

    label: str
    kept: bool
    strict: Rate
    paper: Rate
    parse: Rate
    perplexity: float | None
    megabytes: float
    bits: float


@dataclass(frozen=True)
class Change:
    """What a row changes, in comparison with the champion.

    Attributes:
        label: Of the row.
        strict: Change of strict success in points.
        interval: Its 95 % interval for independent answers.
        by_task: The one that takes answers to one task for alike.
        lost: Answers that succeed no more.
        gained: Answers that succeed only now.
        drift: Mean divergence of the next token's distribution, in nats.
        same_choice: Share of tokens that both find most probable.
    """

    label: str
    strict: str
    interval: str
    by_task: str
    lost: int
    gained: int
    drift: float
    same_choice: float | None


@dataclass(frozen=True)
class Quantized:
    """What the page shows of the quantized champion.

    Attributes:
        method: In words.
        separate: Whether the champion's adapter stays beside the quantized base.
        answers: Asked of each.
        splits: Of the tasks.
        rows: The champion first.
        changes: One for every other row.
        gate: As stored.
    """

    method: str
    separate: bool
    answers: int
    splits: tuple[str, ...]
    rows: tuple[Weights, ...]
    changes: tuple[Change, ...]
    gate: Mapping[str, Any]


def quantized(run: Run) -> Quantized | None:
    """The quantized champion; None if the run has none.

    Raises:
        InputError: Its summary lacks something.
    """
    said = run.quantized
    if not said:
        return None
    try:
        rows = tuple(_row(name, said) for name in said["models"])
        first = next(iter(said["models"].values()))
        return Quantized(
            method=_method(said),
            separate=said["base"] == "separate",
            answers=first["all"]["answers"],
            splits=tuple(first["splits"]),
            rows=rows,
            changes=tuple(_change(name, said) for name in said["compared"]),
            gate=said["gate"],
        )
    except (KeyError, TypeError, StopIteration) as error:
        raise InputError(
            f"cannot be read: {error!r}",
            file=run.folder / "quantize" / "summary.json",
            remedy="make it again: specdrive stage quantize --force",
        ) from None


def _method(said: Mapping[str, Any]) -> str:
    kind = "symmetric" if said["symmetric"] else "asymmetric"
    method = METHODS.get(said["method"], said["method"])
    return f"{method}, {said['bits']} bits, {kind}, groups of {said['group']}"


def _label(name: str, said: Mapping[str, Any]) -> str:
    return _LABELS.get(name, f"{said['bits']} bits")


def _row(name: str, said: Mapping[str, Any]) -> Weights:
    one = said["models"][name]
    size, bits = size_of(said, name)
    return Weights(
        label=_label(name, said),
        kept=name == said["kept"],
        strict=Rate(**one["all"]["strict_success"]),
        paper=Rate(**one["all"]["paper_score"]),
        parse=Rate(**one["all"]["parse_rate"]),
        perplexity=one["perplexity"]["neutral"],
        megabytes=size / 1e6,
        bits=bits,
    )


def _change(name: str, said: Mapping[str, Any]) -> Change:
    one = said["compared"][name]
    strict, by_task, drift = one["strict_success"], one["by_task"], one["drift"]
    return Change(
        label=_label(name, said),
        strict=points(strict["value"]),
        interval=_span(strict),
        by_task=_span(by_task),
        lost=strict["lost"],
        gained=strict["gained"],
        drift=drift["per_token"],
        same_choice=drift["same_choice"],
    )


def _span(interval: Mapping[str, float]) -> str:
    return f"{points(interval['low'])} to {points(interval['high'])}"
