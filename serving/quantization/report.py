"""What a quantization has to say when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.quantization.settings import QuantizeSettings


@dataclass(frozen=True)
class LayerReport:
    """One decoder layer.

    Attributes:
        name: ``model.layers.3``.
        weight_error: Squared change of all its weights relative to their squares, but for what
            was only scaled up here and down there.
        output_error: Squared change of what the layer adds to the hidden states, relative to the
            square of that, on some calibration rows; None without calibration.
        choices: What the method chose, by the names of the linear maps (``q k v``).
        seconds: Spent on it.
    """

    name: str
    weight_error: float
    output_error: float | None
    choices: Mapping[str, str]
    seconds: float

    def to_text(self) -> str:
        """As kept in the workspace."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> LayerReport:
        """The inverse of `to_text`."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Report:
    """A quantized model.

    Attributes:
        folder: Of the checkpoint.
        settings: How it was made.
        layers: One report per decoder layer.
        bits_per_weight: Over all matrices with embedding and head, scales and zero points
            included.
        layer_bits_per_weight: Over the decoder layers' matrices alone.
        bytes: Size of the weights' file.
        calibration_tokens: How many were used.
        seconds: In all attempts together, ends and writing not included for earlier ones.
    """

    folder: Path
    settings: QuantizeSettings
    layers: tuple[LayerReport, ...]
    bits_per_weight: float
    layer_bits_per_weight: float
    bytes: int
    calibration_tokens: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "folder": str(self.folder),
            "settings": self.settings.to_json(),
            "layers": [asdict(layer) for layer in self.layers],
            "bits_per_weight": self.bits_per_weight,
            "layer_bits_per_weight": self.layer_bits_per_weight,
            "bytes": self.bytes,
            "calibration_tokens": self.calibration_tokens,
            "seconds": self.seconds,
        }
