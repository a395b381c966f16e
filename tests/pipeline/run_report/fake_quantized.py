"""The stage ``quantize`` as a run would leave it, its numbers counted from the run's own answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.quantized.paired import Paired
from worlds.statistics import wilson

ANSWERS = 40


def scores(right: int, answers: int = ANSWERS) -> dict[str, Any]:
    """A summary with so many correct answers."""
    return {
        "answers": answers,
        "distinct_controllers": 9,
        "distinct_correct": 7,
        "strict_success": wilson(right, answers).to_json(),
        "paper_score": wilson(0.9 * answers, answers).to_json(),
        "parse_rate": wilson(answers, answers).to_json(),
        "rules": {},
    }


def compared(before: int, after: int) -> dict[str, Any]:
    lost, gained = max(0, before - after), max(0, after - before)
    pairs = Paired(min(before, after), lost, gained, ANSWERS - max(before, after))
    low, high = pairs.interval()
    return {
        "strict_success": pairs.to_json(),
        "by_task": {"value": pairs.difference, "low": low - 0.01, "high": high + 0.01},
        "paper_score": {"value": 0.0, "low": -0.01, "high": 0.01},
        "same_text": 0.7,
        "splits": {},
        "perplexity": 0.4,
        "drift": {
            "per_token": 0.0123,
            "per_answer": 0.9,
            "same_choice": 0.97,
            "answers": 20,
            "tokens": 1400,
        },
    }


def add_quantized(
    run: Path, after: int = 38, recovered: int | None = None, *, separate: bool = False
) -> Path:
    """Add the stage to a run; of 40 answers the champion gets 38 right. The stage's folder."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["quantize"] = {"enabled": True}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    stage = run / "quantize"
    right = {"bf16": 38, "quantized": after}
    kept = "quantized"
    if recovered is not None:
        right["recovered"] = recovered
        kept = "recovered" if recovered > after else kept
    drop = (38 - right[kept]) / ANSWERS
    passed = drop <= 0.01
    reason = f"strict success went from 95.0 % to {100 * right[kept] / ANSWERS:.1f} %, a drop of more than 1 points"  # fmt: skip
    summary = {
        "champion": json.loads((run / "select" / "selection.json").read_text())["champion"],
        "name": "SmolLM2-135M-Instruct",
        "base": "separate" if separate else "merged",
        "method": "awq",
        "bits": 4,
        "group": 64,
        "symmetric": False,
        "head_bits": 8,
        "activation_bits": 16,
        "kv": "bf16",
        "adapter": None,
        "size": {"weights": 1_000_000, "bytes_bf16": 2_000_000, "bytes": 580_000, "adapter_bytes": 30_000},
        "samples": 2,
        "seeds": [0],
        "temperature": 0.2,
        "models": {
            name: {
                "model": "sha256:" + "ab" * 32,
                "all": scores(count),
                "splits": {"validation": scores(count // 2, 20), "test": scores(count - count // 2, 20)},
                "perplexity": {"neutral": 20.5 + 0.4 * i, "tokens": 4000, "text": "sha256:x"},
            }
            for i, (name, count) in enumerate(right.items())
        },
        "compared": {name: compared(38, count) for name, count in right.items() if name != "bf16"},
        "training": {"steps": 5} if recovered is not None else None,
        "kept": kept,
        "gate": {
            "passed": passed,
            "reasons": [] if passed else [reason],
            "drop": drop,
            "max_drop": 0.01,
        },
    }  # fmt: skip
    files = {
        "summary.json": json.dumps(summary),
        "answers.jsonl": (run / summary["champion"] / "evaluate" / "answers.jsonl").read_text(),
        "quantized/model.safetensors": "codes",
        "quantized/config.json": json.dumps({"quantization_config": {"quant_method": "specdrive"}}),
    }
    if separate or kept == "recovered":
        files["adapter/adapter_model.safetensors"] = "weights"
    for name, text in files.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text(text)
    manifest = json.loads((run / "select" / "manifest.json").read_text()) | {
        "stage": "quantize",
        "outputs": {name: hashlib.sha256(t.encode()).hexdigest() for name, t in files.items()},
        "seconds": 77.0,
    }
    (stage / "manifest.json").write_text(json.dumps(manifest))
    return stage
