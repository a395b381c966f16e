"""Rows and files of a fake run, in the shapes of the real ones."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pipeline.evaluation import Judged, summarize

MODEL = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Row:
    """An answer with its verdict."""

    id: str
    item: Judged
    origin: str
    seed: int = 0
    parent: str | None = None

    def answer(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "task": self.item.task.id,
            "split": self.item.task.split,
            "origin": self.origin,
            "parent": self.parent,
            "sample": int(self.id.rsplit("-", 1)[-1]),
            "text": self.item.text,
            "tokens": tokens(self.item.text),
            "finish": "stop",
            "model": MODEL,
            "sampling": {"temperature": 0.5, "top_p": 1.0, "max_new_tokens": 120, "seed": 0},
        }

    def verdict(self) -> dict[str, Any]:
        return {"answer": self.id, "task": self.item.task.id, **self.item.to_json()}


def side(row: Row) -> dict[str, Any]:
    return {
        "answer": row.id,
        "origin": row.origin,
        "text": row.item.text,
        "controller": row.item.road.controller_hash,
        "verdicts": row.item.to_json()["road"],
    }


def summary_of(rows: Sequence[Row]) -> dict[str, Any]:
    return summarize([r.item for r in rows], [tokens(r.item.text) for r in rows]).to_json()


def tokens(text: str) -> int:
    return max(1, round(len(text) / 4.2))


def count(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def json_text(data: Any) -> str:
    return json.dumps(data, indent=1) + "\n"


def json_lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def training_rows(random: Random, number: int) -> list[dict[str, Any]]:
    """Invented curves of a round."""
    steps = 70
    rows: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        done = 1 - math.exp(-step / 20)
        noise = lambda scale: random.gauss(0, scale)  # noqa: E731
        preference = 0.69 - 0.55 * done / (1 + 0.3 * (number - 1)) + noise(0.03)
        sft = 0.9 / number - 0.4 * done / number + noise(0.02)
        rows.append(
            {
                "step": step,
                "epoch": 2 * step / steps,
                "loss": preference + 0.5 * sft,
                "preference_loss": preference,
                "sft_loss": sft,
                "accuracy": min(1.0, 0.5 + 0.47 * done + noise(0.03)),
                "reward_accuracy": min(1.0, 0.55 + 0.44 * done + noise(0.02)),
                "margin": 9 * done + noise(0.5),
                "chosen_drift": 2.5 * done + noise(0.4),
                "rejected_drift": -6.5 * done + noise(0.4),
                "kl": None if step % 5 else 0.1 * done * number**0.5 + abs(noise(0.004)),
                "chosen_length": 41 + 3 * done + noise(1),
                "rejected_length": 48 + noise(1),
                "length_drift": 2.5 * done + noise(0.6),
                "learning_rate": 1e-4 * (1 - step / steps),
            }
        )
    return rows
