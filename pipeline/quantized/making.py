"""Dense weights to quantize, and quantized ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import QuantizeConfig
from pipeline.models import LanguageModel, quiet
from pipeline.native import serving_errors
from verifier.errors import InputError

if TYPE_CHECKING:
    from serving.quantization.settings import QuantizeSettings

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
        from serving.quantization.model import quantize_model
        from serving.quantization.settings import CALIBRATED

        quantize_model(
            dense,
            folder,
            quantizer_settings(settings, base),
            calibration() if settings.method in CALIBRATED else (),
            lambda done, total: report("quantizing", done, total),
        )
    return folder


def quantizer_settings(settings: QuantizeConfig, base: str = "") -> QuantizeSettings:
    """A run's settings as the quantizer takes them.

    Raises:
        ServingError: They do not go together.
    """
    from serving.quantization.settings import QuantizeSettings

    return QuantizeSettings(
        method=settings.method,
        bits=settings.bits,
        group=settings.group,
        symmetric=settings.symmetric,
        head_bits=settings.head_bits,
        base=base,
    )


def check_quantizable(model: LanguageModel, settings: QuantizeConfig) -> None:
    """See from a model's configuration whether it can be quantized as asked.

    Raises:
        InputError: It is quantized already, its architecture is not supported, or a group does
            not divide a layer's columns.
    """
    if model.quantized:
        raise InputError(
            "the run's model is quantized already",
            file=model.identifier,
            remedy="set quantize.enabled=false",
        )
    with serving_errors():
        from serving.architecture import read_architecture
        from serving.folders import read_json
        from serving.quantization.model import check_groups

        architecture = read_architecture(read_json(model.folder / "config.json"))
        check_groups(architecture, quantizer_settings(settings))


def copied(source: Path, target: Path) -> None:
    """A folder a second time, sharing the files' content with the first where that is possible."""

    def link(file: str, place: str) -> None:
        try:
            Path(place).hardlink_to(file)
        except OSError:
            shutil.copy2(file, place)

    shutil.copytree(source, target, copy_function=link)
