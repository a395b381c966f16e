"""A whole model, quantized layer by layer.

Layers are quantized in the order of their use. What calibrates a layer are the hidden states that
come out of the quantized layers before it. Beside the model there are in memory: one layer in
float32, and the hidden states of the calibration rows. Each finished layer is on disk before the
next one starts (`serving.quantization.workspace`), so that a killed attempt goes on there and ends
with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from serving.architecture import EMBEDDING, HEAD, Architecture
from serving.checkpoint import (
    QuantizedModel,
    Weight,
    describe,
    flattened,
    gathered,
    save_checkpoint,
)
from serving.errors import ServingError
from serving.folders import WEIGHTS
from serving.quantization import atom
from serving.quantization.calibration import Calibration, read_calibration
from serving.quantization.ends import embedded, quantize_ends
from serving.quantization.grid import check_group
from serving.quantization.report import LayerReport, Report
from serving.quantization.settings import CALIBRATED, QuantizeSettings
from serving.quantization.source import DenseModel, content_hash, open_dense
from serving.quantization.walk import LayerResult, quantize_layer
from serving.quantization.workspace import Workspace, workspace

VERSION = "1"
"""Changes when the same input gives other bytes: finished parts of before are not used then."""
SAMPLE_TOKENS = 4096
"""Calibration tokens, about, on which blocks and layers are compared."""

Progress = Callable[[int, int], None]
"""Called with the number of finished parts and of all."""


def quantize_model(
    model_folder: Path,
    out_folder: Path,
    settings: QuantizeSettings,
    calibration: Sequence[Sequence[int]] = (),
    progress: Progress = lambda _done, _total: None,
    *,
    overwrite: bool = False,
) -> Report:
    """Quantize a model and write a checkpoint; an interrupted attempt is continued.

    Args:
        model_folder: Hugging Face folder: config.json, *.safetensors, tokenizer.
        out_folder: Where the checkpoint appears when it is complete; must not exist or be empty.
        settings: How.
        calibration: Rows of token ids; ``rtn`` and ``exact`` need none.
        progress: The parts are the embedding with the head, and the layers.
        overwrite: Replace a model that is there.

    Raises:
        ServingError: An unsupported architecture, a model that is quantized already, a group that
            does not divide a layer's columns, weights or activations that are not finite, or a
            place that cannot be written to.
    """
    began = time.perf_counter()
    model = open_dense(model_folder)
    check_groups(model.architecture, settings)
    if not overwrite and out_folder.exists() and any(out_folder.iterdir()):
        raise ServingError(f"{out_folder} is not empty", remedy="choose another place or remove it")
    rows = read_calibration(calibration, model.architecture)
    if settings.method in CALIBRATED and not rows.rows:
        raise ServingError(
            f"the method {settings.method} needs calibration rows", remedy="give at least one"
        )
    settings = replace(settings, base_hash=settings.base_hash or content_hash(model))
    with torch.inference_mode(), workspace(out_folder, _key(model, settings, rows)) as space:
        job = _Job(model, settings, rows, space)
        reports = job.run(progress)
        tensors = job.finished()
        notes = atom.NOTES if settings.method == "atom" else {}
        header = describe(settings.method, tensors, settings.base, settings.base_hash, **notes)
        result = QuantizedModel(dict(model.config), tensors, header, model_folder)
        save_checkpoint(out_folder, result, companions=model_folder, overwrite=overwrite)
    return Report(
        folder=out_folder,
        settings=settings,
        layers=tuple(reports),
        bits_per_weight=_bits(list(tensors.values())),
        layer_bits_per_weight=_bits(
            [w for name, w in tensors.items() if not name.startswith((EMBEDDING, HEAD))]
        ),
        bytes=(out_folder / WEIGHTS).stat().st_size,
        calibration_tokens=rows.tokens,
        seconds=time.perf_counter() - began,
    )


def check_groups(architecture: Architecture, settings: QuantizeSettings) -> None:
    """Whether groups divide the columns of every matrix.

    Raises:
        ServingError: They do not; the message names the layer and groups that would.
    """
    for layer, (_, columns) in architecture.matrix_shapes().items():
        if layer in (EMBEDDING, HEAD):
            if settings.head_bits != 16:
                check_group(layer, columns, settings.head_grid(columns).group)
        elif settings.method == "atom":
            atom.kept_columns(columns, settings.grid(columns).group, layer)
        else:
            check_group(layer, columns, settings.grid(columns).group)


@dataclass(frozen=True)
class _Job:
    """The parts of a model, each made once and kept in a workspace."""

    model: DenseModel
    settings: QuantizeSettings
    rows: Calibration
    space: Workspace

    @property
    def layers(self) -> int:
        return self.model.architecture.layers

    def run(self, progress: Progress) -> list[LayerReport]:
        """Make what is not there yet."""
        total = self.layers + 1
        reports, done = self._kept()
        ends = self.space.load(_ENDS)
        if ends is None:
            reports, done = [], 0
            tensors = quantize_ends(self.model, self.settings, self.rows)
            self.space.save(_ENDS, dict(flattened(tensors)))
        else:
            tensors = gathered(ends[0])
        progress(done + 1, total)
        if done == self.layers:
            return reports
        hidden = self._hidden(done) if done else embedded(tensors, self.rows)
        sample = self.rows.spread(SAMPLE_TOKENS)
        for number in range(done, self.layers):
            place = f"model.layers.{number}"
            dense = self.model.layer(number)
            result = quantize_layer(place, dense, hidden, sample, self.settings)
            self._keep(number, result)
            hidden = result.hidden
            reports.append(result.report)
            progress(number + 2, total)
        return reports

    def finished(self) -> dict[str, Weight]:
        """All tensors of the checkpoint."""
        tensors: dict[str, Weight] = {}
        for name in (_ENDS, *(_part(number) for number in range(self.layers))):
            part = self.space.load(name)
            if part is None:
                raise ServingError(f"{self.space.folder} was changed", remedy="try again")
            tensors |= gathered(part[0])
        return tensors

    def _kept(self) -> tuple[list[LayerReport], int]:
        """Reports of the layers that are finished, and after how many of them work goes on.

        Hidden states are written after the layer that they come out of; a layer without them is
        done again.
        """
        reports: list[LayerReport] = []
        for number in range(self.layers):
            part = self.space.load(_part(number))
            if part is None:
                break
            reports.append(LayerReport.from_text(part[1]["report"]))
        if self.rows.rows and len(reports) < self.layers:
            states = self.space.load(_HIDDEN)
            after = int(states[1]["layers"]) if states is not None else 0
            reports = reports[:after] if after <= len(reports) else []
        return reports, len(reports)

    def _keep(self, number: int, result: LayerResult) -> None:
        place = f"model.layers.{number}."
        tensors: dict[str, Weight] = {place + name: w for name, w in result.weights.items()}
        tensors |= {place + name: vector for name, vector in result.vectors.items()}
        self.space.save(_part(number), dict(flattened(tensors)), report=result.report.to_text())
        if self.rows.rows:
            states = torch.cat(result.hidden)
            self.space.save(_HIDDEN, {"hidden": states}, layers=str(number + 1))

    def _hidden(self, layers: int) -> list[torch.Tensor]:
        if not self.rows.rows:
            return []
        states = self.space.load(_HIDDEN)
        if states is None or int(states[1]["layers"]) != layers:
            raise ServingError(f"{self.space.folder} was changed", remedy="try again")
        return list(states[0]["hidden"].split([len(row) for row in self.rows.rows]))


_ENDS, _HIDDEN = "ends.safetensors", "hidden.safetensors"


def _part(number: int) -> str:
    return f"layer-{number:03}.safetensors"


def _key(model: DenseModel, settings: QuantizeSettings, rows: Calibration) -> str:
    config = json.dumps(dict(model.config), sort_keys=True)
    parts = [VERSION, settings.key(), config, rows.key(), torch.__version__]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _bits(weights: Sequence[Weight]) -> float:
    """Bits per weight over matrices."""
    bits = count = 0.0
    for weight in weights:
        if isinstance(weight, torch.Tensor):
            if weight.dim() == 2:
                bits += 8 * weight.element_size() * weight.numel()
                count += weight.numel()
        else:
            rows, columns = weight.shape
            bits += weight.bits_per_weight * rows * columns
            count += rows * columns
    return bits / count if count else 0.0
