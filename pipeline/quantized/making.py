"""Dense weights to quantize, quantized ones, and how large both are."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.adapters import tensor_shapes
from pipeline.config import QuantizeConfig
from pipeline.models import LanguageModel, quiet
from pipeline.native import serving_errors

_WEIGHTS = "model.safetensors"
_COMPANIONS = ("*.json", "*.jinja", "*.model", "*.txt")
_OWN = ("config.json", "model.safetensors.index.json")


def merged(model: LanguageModel, folder: Path) -> Path:
    """Write a model with its adapter merged into the weights; the folder of the dense model.

    A folder that is there already is left as it is.

    Args:
        model: Of the engine transformers, with an adapter.
        folder: Where to write; it appears when it is complete.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    from transformers import GenerationConfig

    network = model.model
    # Those of some published models are refused when they are saved; they are copied instead.
    network.generation_config = GenerationConfig()
    with quiet():
        network.save_pretrained(str(beside))
    (beside / "generation_config.json").unlink(missing_ok=True)
    for file in {file for pattern in _COMPANIONS for file in model.folder.glob(pattern)}:
        if file.name not in _OWN:
            shutil.copyfile(file, beside / file.name)
    beside.rename(folder)
    return folder


def quantized(
    dense: Path,
    folder: Path,
    settings: QuantizeConfig,
    calibration: Callable[[], Sequence[Sequence[int]]],
    base: str,
    report: Callable[[str, int, int], None],
) -> Path:
    """Quantize a dense model, or go on with an interrupted attempt; the checkpoint's folder.

    A folder that is there already is left as it is.

    Args:
        dense: Folder of the model.
        folder: Where to write; it appears when it is complete.
        settings: How.
        calibration: Makes the rows of token ids to calibrate with, where the method needs some.
        base: What the checkpoint says that it was made from.
        report: Progress.

    Raises:
        InputError: An unsupported architecture, a group size that does not divide, numbers that
            are not finite.
    """
    if folder.is_dir():
        return folder
    with serving_errors():
        from serving.quantization import QuantizeSettings, quantize_model

        quantize_model(
            dense,
            folder,
            QuantizeSettings(
                method=settings.method,
                bits=settings.bits,
                group=settings.group,
                symmetric=settings.symmetric,
                head_bits=settings.head_bits,
                base=base,
            ),
            calibration() if settings.method != "rtn" else [],
            lambda done, total: report("quantizing", done, total),
        )
    return folder


def sizes(dense: Path, checkpoint: Path) -> dict[str, Any]:
    """Bytes of both models' weights, the dense ones in 16 bits, and bits per weight.

    Everything counts: scales, embedding and head, norms.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(dense.glob("*.safetensors")):
        shapes |= tensor_shapes(file)
    weights = sum(math.prod(shape) for shape in shapes.values())
    size = (checkpoint / _WEIGHTS).stat().st_size
    return {
        "weights": weights,
        "bytes_bf16": 2 * weights,
        "bytes": size,
        "bits_per_weight": 8 * size / weights,
    }


def copied(source: Path, target: Path) -> None:
    """A folder a second time, sharing the files' content with the first where that is possible."""

    def link(file: str, place: str) -> None:
        try:
            Path(place).hardlink_to(file)
        except OSError:
            shutil.copy2(file, place)

    shutil.copytree(source, target, copy_function=link)
