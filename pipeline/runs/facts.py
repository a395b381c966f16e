"""What a finished stage has yielded, in a few words: for the terminal and for ``runs show``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.files import read_rows
from pipeline.quantized.size import size_of
from pipeline.runs.plan import Step
from verifier.errors import InputError
from worlds.statistics import Rate

PREFERRED_SPLITS = ("test", "validation", "train")
"""Where there is room for one split: the first of these that was evaluated."""


def fact(step: Step, folder: Path) -> str:
    """The result of a finished step ('' if there is nothing to say)."""
    reader = _FACTS.get(step.stage)
    try:
        return reader(folder) if reader else ""
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""  # decoration must not stop anything


def percent(value: float | None) -> str:
    """'12.5 %'."""
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """'0:03', '12:45' or '1:02:33'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, thing: str) -> str:
    """'1 pair', '2 pairs'."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def model_name(champion: str) -> str:
    """'round 1' for ``round-01``, 'base' for ``round-00``."""
    number = int(champion.removeprefix("round-"))
    return "base" if number == 0 else f"round {number}"


def _generate(folder: Path) -> str:
    rows = read_rows(folder / "answers.jsonl")
    tasks = counted(len({row["task"] for row in rows}), "task")
    within = sum(row["origin"] == "constrained" for row in rows)
    return f"{counted(len(rows), 'answer')} to {tasks}, {within} within the grammar"


def _verify(folder: Path) -> str:
    rows = read_rows(folder / "verdicts.jsonl")
    if not rows:
        return "no answers"
    parsed = sum(row["parsed"] for row in rows) / len(rows)
    strict = sum(row["strict_success"] for row in rows) / len(rows)
    solved = len({row["task"] for row in rows if row["strict_success"]})
    tasks = counted(len({row["task"] for row in rows}), "task")
    return f"{percent(parsed)} readable, {percent(strict)} correct, {solved} of {tasks} solved"


def _repair(folder: Path) -> str:
    verdicts = read_rows(folder / "verdicts.jsonl")
    if not verdicts:
        return "nothing repaired"
    origins = Counter(row["origin"] for row in read_rows(folder / "answers.jsonl"))
    correct = sum(row["strict_success"] for row in verdicts)
    ways = {"symbolic_repair": "by edits", "model_repair": "by the model"}
    how = " and ".join(
        f"{origins[origin]} {words}" for origin, words in ways.items() if origins[origin]
    )
    return f"{counted(len(verdicts), 'answer')} repaired ({how}), {correct} of them correct"


def _rank(folder: Path) -> str:
    summary = _json(folder / "summary.json")
    share = summary["successful"] / summary["pairs"]
    pairs, tasks = counted(summary["pairs"], "pair"), counted(summary["tasks"], "task")
    return f"{pairs} of {tasks}, {100 * share:.0f} % chosen succeed"


def _train(folder: Path) -> str:
    summary = _json(folder / "summary.json")
    final = summary.get("final") or {}
    parts = [counted(summary["steps"], "step")]
    if (loss := final.get("loss")) is not None:
        parts.append(f"loss {loss:.3f}")
    if (accuracy := final.get("accuracy")) is not None:
        parts.append(f"prefers the better answer in {percent(accuracy)}")
    return ", ".join(parts)


def _evaluate(folder: Path) -> str:
    splits = _json(folder / "summary.json")["splits"]
    split = next(name for name in PREFERRED_SPLITS if name in splits)
    strict = Rate(**splits[split]["strict_success"]).percent()
    return f"{strict} correct, {percent(splits[split]['parse_rate']['value'])} readable ({split})"


def _select(folder: Path) -> str:
    found = _json(folder / "selection.json")
    passed = "passed" if found["gate"]["passed"] else "not passed"
    return f"{model_name(found['champion'])} is the champion, gate {passed}"


def _quantize(folder: Path) -> str:
    found = _json(folder / "summary.json")
    models, kept = found["models"], found["kept"]
    before, after = (models[name]["all"]["strict_success"]["value"] for name in ("bf16", kept))
    passed = "passed" if found["gate"]["passed"] else "not passed"
    bits = f"{size_of(found, kept)[1]:.2f} bits per weight"
    return f"{bits}, {percent(before)} → {percent(after)} correct, gate {passed}"


_FACTS: dict[str, Callable[[Path], str]] = {
    "generate": _generate,
    "verify": _verify,
    "repair": _repair,
    "rank": _rank,
    "train": _train,
    "evaluate": _evaluate,
    "select": _select,
    "quantize": _quantize,
}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
