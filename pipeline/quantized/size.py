"""How large a champion is before and after quantization, the adapter beside it included."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.adapters import WEIGHTS as ADAPTER_WEIGHTS
from pipeline.adapters import tensor_shapes

BEFORE, AFTER, RECOVERED = "bf16", "quantized", "recovered"
"""What the models of the stage ``quantize`` are called."""

_WEIGHTS = "model.safetensors"
_BYTES = 2
"""Of a number in 16 bits: in dense weights, and in adapters when they are served."""


def sizes(dense: Path, checkpoint: Path, adapter: Path | None) -> dict[str, int]:
    """``weights`` of the model, ``bytes_bf16``, ``bytes`` quantized, ``adapter_bytes``.

    Everything counts: scales, embedding and head, norms.

    Args:
        dense: Folder of the weights that were quantized.
        checkpoint: What they became.
        adapter: What runs beside the quantized weights, if anything does.
    """
    weights = sum(_numbers(file) for file in dense.glob("*.safetensors"))
    beside = _numbers(adapter / ADAPTER_WEIGHTS) if adapter is not None else 0
    return {
        "weights": weights,
        "bytes_bf16": _BYTES * weights,
        "bytes": (checkpoint / _WEIGHTS).stat().st_size,
        "adapter_bytes": _BYTES * beside,
    }


def size_of(summary: Mapping[str, Any], name: str) -> tuple[int, float]:
    """Bytes and bits per weight of one model of the stage's summary, its adapter included.

    Args:
        summary: ``quantize/summary.json``.
        name: ``bf16``, ``quantized`` or ``recovered``.
    """
    size = summary["size"]
    total = size["bytes_bf16"] if name == BEFORE else size["bytes"]
    if summary["base"] == "separate" or name == RECOVERED:
        total += size.get("adapter_bytes", 0)
    return total, 8 * total / size["weights"]


def _numbers(file: Path) -> int:
    return sum(math.prod(shape) for shape in tensor_shapes(file).values())
